"""`GET scripts/TOKEN` (API.md 8): who gets the script, what it does on a host, and that its token stays out of logs."""

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from node.api.http import Request, Response
from node.api.registering import redact, render_script
from node.api.server import ConnectionPool
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client
from tests.node.api.test_conventions import FIREFOX, header
from tests.node.api.test_server import SMALL, receive

TOKEN = "corral1_1a5_" + "a" * 32


async def made_token(replica: FakeReplica, **more: Any) -> Any:
    return await Client(replica, is_local=True).make("/v1/projects/1a5/registrationtokens", more)


async def fetch(replica: FakeReplica, token: str, path: str = "/v1/scripts/", **headers: str) -> Response:
    return await Client(replica).raw("GET", path + token, headers=headers)


@pytest.mark.parametrize("path", ["/v1/scripts/", "/v1/projects/1a5/scripts/"])
async def test_token_gets_the_script_without_a_key(path: str) -> None:
    replica = FakeReplica()
    made = await made_token(replica)
    response = await fetch(replica, made["token"], path)
    assert response.status == 200
    assert header(response, "Content-Type") == "text/x-sh; charset=utf-8"
    text = response.body.decode()
    assert text.startswith("#!/bin/sh\n")
    for line in (
        "export CATTLE_REGISTRATION_ACCESS_KEY='registrationToken'",
        f"export CATTLE_REGISTRATION_SECRET_KEY='{made['token']}'",
        f"export CATTLE_URL='{BASE}/v1'",
        "export DETECTED_CATTLE_AGENT_IP='192.0.2.9'",
    ):
        assert line in text.splitlines()
    browser = await fetch(replica, made["token"], path, **FIREFOX)
    assert (header(browser, "Content-Type") or "").startswith("text/x-sh")


async def test_token_that_is_not_good_is_not_found() -> None:
    replica = FakeReplica()
    admin = Client(replica, is_local=True)
    made = await made_token(replica)
    ending = await made_token(replica, expires=replica.now + 1000)
    other_secret = made["token"][:-8] + ("b" if made["token"][-8] != "b" else "c") + made["token"][-7:]
    for wrong in (
        "",
        "x",
        "corral1_",
        other_secret,
        made["token"] + "a",
        made["token"].upper(),
        "ABCDEF:1460440800000:s",
    ):
        response = await fetch(replica, wrong)
        assert response.status in (401, 404) if not wrong else response.status == 404, wrong
        assert not wrong or wrong not in response.body.decode()
    replica.now += 2000
    assert (await fetch(replica, ending["token"])).status == 404
    await admin.post(f"/v1/registrationtokens/{made['id']}/?action=deactivate")
    assert (await fetch(replica, made["token"])).status == 404


def test_script_takes_no_word_that_a_shell_would_read() -> None:
    for word in ("'", "$(x)", "a b", "`x`", "\n", ";"):
        with pytest.raises(ValueError, match="does not belong"):
            render_script(f"http://h{word}", TOKEN, "192.0.2.9")
        with pytest.raises(ValueError, match="does not belong"):
            render_script("http://h", TOKEN, word)


def test_script_is_clean_for_shellcheck(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    script = tmp_path / "join.sh"
    script.write_text(render_script(BASE, TOKEN, "192.0.2.9"))
    done = subprocess.run(["shellcheck", "-s", "sh", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def run_script(tmp_path: Path, stubs: Mapping[str, str], **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the script with nothing on PATH but the given programs and a few of the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "grep", "printf", "env"):
        (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    for name, text in stubs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    script = render_script(BASE, TOKEN, "192.0.2.9")
    return subprocess.run(
        ["/bin/sh"], input=script, env={"PATH": str(folder), **variables}, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


ROOT = {"id": "echo 0"}
DOCKER = {"docker": "exit 0"}
CORRAL = {"corral": 'echo "arguments: $*"; echo "token: $CORRAL_TOKEN"; env'}


def test_script_joins_with_the_token_in_the_environment_only(tmp_path: Path) -> None:
    done = run_script(tmp_path, {**ROOT, **DOCKER, **CORRAL})
    assert done.returncode == 0, done.stderr
    assert f"arguments: join {BASE}\n" in done.stdout
    assert f"token: {TOKEN}\n" in done.stdout
    assert "CATTLE_REGISTRATION_SECRET_KEY" not in done.stdout


def test_script_passes_on_what_the_agent_was_told(tmp_path: Path) -> None:
    told = {"CATTLE_AGENT_IP": "10.0.0.7", "CATTLE_HOST_LABELS": "a=b&c=d e"}
    done = run_script(tmp_path, {**ROOT, **DOCKER, **CORRAL}, **told)
    assert f"arguments: join {BASE} --advertise 10.0.0.7 --label a=b --label c=d e\n" in done.stdout


@pytest.mark.parametrize(
    ("stubs", "why"),
    [
        ({"id": "echo 1000", **DOCKER, **CORRAL}, "only root"),
        ({**ROOT, "docker": "exit 1", **CORRAL}, "no Docker engine answers"),
        ({**ROOT, **CORRAL}, "no Docker engine answers"),
        ({**ROOT, **DOCKER}, "it needs Python 3.11"),
        ({**ROOT, **DOCKER, "python3": "exit 0"}, "Corral is not installed here"),
        ({**ROOT, **DOCKER, "python3": "exit 0", "node": "echo v18.2.0"}, "Corral is not installed here"),
    ],
)
def test_script_says_what_is_missing_and_changes_nothing(tmp_path: Path, stubs: dict[str, str], why: str) -> None:
    if os.path.exists("/opt/corral/bin/corral"):
        pytest.skip("Corral is installed on this host")
    done = run_script(tmp_path, stubs)
    assert done.returncode == 1
    assert why in done.stderr
    assert "try:" in done.stderr
    assert TOKEN not in done.stderr + done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"bin"}


def test_script_tells_our_node_from_the_other_program_of_that_name(tmp_path: Path) -> None:
    ours = 'if [ "$1" = version ]; then echo "Corral 0.1.0"; else echo "ours: $*"; fi'
    done = run_script(tmp_path, {**ROOT, **DOCKER, "node": ours})
    assert f"ours: join {BASE}\n" in done.stdout


@pytest.mark.parametrize(
    "path", ["/v1/scripts/{}", "/v1/projects/1a5/scripts/{}", "/V1/SCRIPTS/{}", "/v1/scripts/{}/x"]
)
def test_path_is_logged_without_the_token(path: str) -> None:
    assert TOKEN not in redact(path.format(TOKEN))


async def test_failing_handler_logs_no_token(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: Request) -> Response:
        raise RuntimeError("a bug")

    ours, theirs = memory_stream_pair()
    with caplog.at_level(logging.DEBUG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ConnectionPool(fail, SMALL).run, theirs)
            await ours.send_all(f"GET /v1/scripts/{TOKEN} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert (await receive(ours)).startswith("HTTP/1.1 500")
            nursery.cancel_scope.cancel()
    assert "/v1/scripts/…" in caplog.text
    assert TOKEN not in caplog.text
