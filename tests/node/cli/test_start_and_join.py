"""Starting and joining as far as they go before the daemon: every refusal names its reason and writes nothing."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
import pytest

from node.cli.commands.install import SYSTEMD, render_unit
from node.cli.commands.join import read_token
from node.cli.errors import CliError
from node.cli.hosting import Place, daemon_argv, daemon_variables, held_folder
from node.cli.welcome import FoundedCluster, api_url, render_founded, render_joined
from node.config import Folders
from node.founding import Founding, found_cluster
from node.model import HostFacts
from node.store.identity import DataFolder
from protocol.tokens import new_join_token, render_token
from tests.node.cli.conftest import Typed
from tests.node.cli.served import Served

TOKEN = render_token(new_join_token("1a5", bytes(32), Random(5)))
HERE = ["--engine", "memory", "--advertise", "127.0.0.1", "--bind", "127.0.0.1"]


@pytest.fixture
def taken() -> Iterator[int]:
    """A TCP port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def member(folder: Path) -> DataFolder:
    """The data folder of a cluster's only host, h1."""
    data = DataFolder(folder)
    data.acquire()
    founding = Founding(
        name="h1",
        address="127.0.0.1",
        api_port=8080,
        peer_port=8090,
        overlay_port=51820,
        overlay_network="10.42.0.0/16",
        overlay_mode="wireguard",
        overlay_subnet_bits=24,
        open_access=False,
        labels={},
        facts=HostFacts(),
    )
    found_cluster(data, founding, time.time())
    data.release()
    return data


def test_start_with_a_port_in_use_prints_the_finding_and_writes_nothing(
    away: Typed, tmp_path: Path, taken: int
) -> None:
    folder = tmp_path / "data"
    result = away("start", *HERE, "--data-dir", str(folder), "--api-port", str(taken))
    assert (result.code, result.out) == (1, "")
    assert f"FAIL  API port TCP {taken}: in use on this host" in result.err
    assert "--api-port" in result.err
    assert "nothing was written" in result.err
    assert not folder.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--name", "not a name"),
        ("--overlay-network", "10.42.0.0"),
        ("--overlay-network", "10.42.0.0/24"),
        ("--overlay-network", "8.8.0.0/16"),
        ("--api-port", "0"),
        ("--label", "novalue"),
        ("--overlay", "ipsec"),
        ("--access-control", "local"),
    ],
)
def test_start_with_a_setting_that_cannot_be_is_a_usage_error(
    away: Typed, tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = tmp_path / "data"
    assert away("start", *HERE, "--data-dir", str(folder), *words).code == 2
    assert not folder.exists()


def test_start_with_an_unknown_interface_lists_those_there_are(away: Typed, tmp_path: Path) -> None:
    result = away("start", "--engine", "memory", "--advertise", "nosuch0", "--data-dir", str(tmp_path / "data"))
    assert result.code == 1
    assert "neither an IP address nor an interface" in result.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--overlay", "vxlan"), "--overlay can be chosen only when a cluster is made"),
        (("--access-control", "none", "--overlay-network", "10.9.0.0/16"), "--overlay-network, --access-control"),
        (("--name", "h9"), "--name is h1 here"),
        (("--peer-port", "9"), "--peer-port is 8090 here"),
        (("--label", "a=b"), "node host label"),
    ],
)
def test_start_on_a_member_refuses_what_contradicts_it_by_name(
    away: Typed, tmp_path: Path, words: tuple[str, ...], named: str
) -> None:
    member(tmp_path / "data")
    result = away("start", "--engine", "memory", "--data-dir", str(tmp_path / "data"), *words)
    assert result.code == 1
    assert "this host is h1 of cluster" in result.err
    assert named in result.err


def test_start_beside_a_running_daemon_is_refused(away: Typed, tmp_path: Path) -> None:
    data = member(tmp_path / "data")
    data.acquire()
    try:
        result = away("start", "--engine", "memory", "--data-dir", str(data.path))
    finally:
        data.release()
    assert result.code == 1
    assert "runs on this folder already" in result.err


def test_start_on_a_damaged_identity_says_which_file(away: Typed, tmp_path: Path) -> None:
    data = member(tmp_path / "data")
    data.identity_file.write_bytes(b"torn")
    result = away("start", "--engine", "memory", "--data-dir", str(data.path))
    assert result.code == 1
    assert str(data.identity_file) in result.err


def test_join_of_a_member_is_refused_and_says_of_which_cluster(away: Typed, tmp_path: Path) -> None:
    member(tmp_path / "data")
    result = away("join", "h1", "--token", TOKEN, "--data-dir", str(tmp_path / "data"))
    assert result.code == 1
    assert "is a member of a cluster already" in result.err
    assert "it is h1 of cluster" in result.err
    assert "`node leave`" in result.err


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("K10abc", "no join token"),
        (TOKEN[:-9], "cut short"),
        (TOKEN[:-1] + "x", "wrong character"),
        (f"{TOKEN}x", "too long"),
    ],
)
def test_join_with_a_malformed_token_tells_what_is_wrong_with_it(
    away: Typed, tmp_path: Path, token: str, why: str
) -> None:
    result = away("join", "http://127.0.0.1:1", *HERE, "--token", token, "--data-dir", str(tmp_path / "data"))
    assert result.code == 1
    assert why in result.err
    assert "node token create" in result.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nosuch.invalid", "cannot find nosuch.invalid"),
        ("http://127.0.0.1:1", "cannot reach http://127.0.0.1:1"),
        ("ftp://h1", "is no URL of an API"),
        ("http://", "is no URL of an API"),
    ],
)
def test_join_of_a_url_that_does_not_answer_tells_why_and_leaves_no_folder(
    away: Typed, tmp_path: Path, url: str, what: str
) -> None:
    result = away("join", url, *HERE, "--token", TOKEN, "--data-dir", str(tmp_path / "data"))
    assert (result.code, result.out) == (1, "")
    assert what in result.err
    assert not (tmp_path / "data").exists()


def test_join_of_what_is_not_ours_says_so(typed: Typed, served: Served, tmp_path: Path) -> None:
    result = typed("join", served.url, *HERE, "--token", TOKEN, "--data-dir", str(tmp_path / "data"))
    assert result.code == 1
    assert "not a Corral node's" in result.err
    assert not (tmp_path / "data").exists()


def test_join_without_a_token_is_a_usage_error(away: Typed, tmp_path: Path) -> None:
    assert away("join", "h1", "--data-dir", str(tmp_path / "data")).code == 2


def test_token_is_read_from_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert read_token(None, file) == TOKEN
    monkeypatch.setenv("CORRAL_TOKEN", TOKEN)
    assert read_token(None, None) == TOKEN
    with pytest.raises(click.UsageError):
        read_token(TOKEN, file)
    with pytest.raises(CliError):
        read_token(None, tmp_path / "nosuch")


def place(folder: Path, **more: object) -> Place:
    """A place in a folder."""
    settings = {"engine": "memory", "bind": None, "dns_listen": (), "log_format": "text", "log_level": "info", **more}
    return Place(Folders(folder / "data", folder / "run"), **settings)  # type: ignore[arg-type]


def test_folder_that_was_held_for_nothing_goes_again(tmp_path: Path) -> None:
    where = place(tmp_path)
    with held_folder(where):
        assert where.folders.data.exists()
    assert not where.folders.data.exists()


def test_folder_that_was_there_stays(tmp_path: Path) -> None:
    where = place(tmp_path)
    where.folders.data.mkdir()
    with held_folder(where):
        pass
    assert where.folders.data.exists()


def test_daemon_is_told_everything_but_the_secrets(tmp_path: Path) -> None:
    argv = daemon_argv(place(tmp_path, bind="127.0.0.2", dns_listen=("127.0.0.2:53",)), 7)
    assert argv[:4] == [sys.executable, "-P", "-m", "node.daemon"]
    assert argv[4:8] == ["--data-dir", str(tmp_path / "data"), "--run-dir", str(tmp_path / "run")]
    assert argv[-6:] == ["--bind", "127.0.0.2", "--dns-listen", "127.0.0.2:53", "--welcome-fd", "7"]


def test_daemon_finds_the_code_that_started_it_and_no_other(tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    assert daemon_variables({"A": "1"}, [root])["PYTHONPATH"] == root
    assert daemon_variables({"PYTHONPATH": "/p"}, [root])["PYTHONPATH"] == f"{root}{os.pathsep}/p"
    assert daemon_variables({"A": "1"}, ["/usr/bin"]) == {"A": "1"}


def test_welcome_tells_where_to_go_how_to_sign_in_and_how_others_join() -> None:
    cluster = FoundedCluster("h1", "http://192.0.2.1:8080", TOKEN, "ACCESS", "S3CRET", is_open=False)
    text = render_founded(cluster, program="corral", colour=False)
    assert "http://192.0.2.1:8080" in text
    assert "ACCESS" in text
    assert "S3CRET" in text
    assert f"corral join http://192.0.2.1:8080 --token {TOKEN}\n" in text
    assert "ACCESS CONTROL IS OFF" not in text
    assert "S3CRET" not in repr(cluster)


def test_welcome_warns_in_red_of_open_access() -> None:
    cluster = FoundedCluster("h1", "http://192.0.2.1:8080", TOKEN, "A", "S", is_open=True)
    assert "\x1b[1;31mACCESS CONTROL IS OFF" in render_founded(cluster, program="node", colour=True)
    assert "!! ACCESS CONTROL IS OFF" in render_founded(cluster, program="node", colour=False)


def test_joined_host_reads_what_it_is_part_of() -> None:
    text = render_joined(
        name="h2", host_id="1h2", cluster_id="c" * 32, environment="dev", url=api_url("2001:db8::2", 8080)
    )
    assert "h2 has joined cluster cccccccccccc, in environment dev, as host 1h2" in text
    assert "http://[2001:db8::2]:8080" in text


def test_unit_stops_the_daemon_only_and_quotes_its_program() -> None:
    unit = render_unit(("/opt/my tools/100%/node",))
    assert 'ExecStart="/opt/my tools/100%%/node" start\n' in unit
    assert "KillMode=process\n" in unit
    assert "Restart=on-failure\n" in unit


def test_install_prints_the_unit_and_refuses_where_systemd_does_not_run(away: Typed) -> None:
    assert "[Service]" in away("install", "--print").out
    if not SYSTEMD.is_dir():
        result = away("install")
        assert result.code == 1
        assert "systemd does not run here" in result.err
