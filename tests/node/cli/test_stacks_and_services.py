"""Stacks, services and containers by typing, against the real API on a replica in memory."""

import signal
import subprocess
import sys

import pytest

from node.cli import waiting
from tests.node.cli.conftest import Typed
from tests.node.cli.served import Served


def test_service_is_created_with_its_stack_and_waited_for(typed: Typed) -> None:
    result = typed("service", "create", "web/nginx", "nginx:1.8-alpine", "--create-stack", "--scale", "2")
    assert (result.code, result.out.split()) == (0, ["1s1", "web/nginx"])
    assert "made stack web (1e1)" in result.err
    assert "service web/nginx: active, 2 of 2 containers run" in result.err


def test_service_list_shows_what_runs_of_what_is_wanted(typed: Typed) -> None:
    typed("service", "create", "web/nginx", "nginx:1.8-alpine", "--create-stack", "--scale", "2", "--port", "10086:80")
    lines = typed("service", "ls").out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "SCALE", "IMAGE", "ENDPOINTS", "AGE"]
    assert lines[1].split()[:5] == ["1s1", "web/nginx", "active", "2/2", "nginx:1.8-alpine"]
    assert ":10086" in lines[1]


def test_service_is_made_as_the_flags_say(typed: Typed) -> None:
    typed("stack", "create", "web")
    words = ["--env", "A=b=c", "--label", "tier=front", "--command", "sh -c 'sleep 1d'", "--port", "53:53/udp"]
    assert typed("service", "create", "web/box", "alpine:3", *words).code == 0
    config = typed("service", "inspect", "web/box").json["launchConfig"]
    assert config["imageUuid"] == "docker:alpine:3"
    assert config["environment"] == {"A": "b=c"}
    assert config["labels"] == {"tier": "front"}
    assert config["command"] == ["sh", "-c", "sleep 1d"]
    assert config["ports"] == ["53:53/udp"]


def test_service_scales_by_each_of_its_names(typed: Typed) -> None:
    typed("service", "create", "web/nginx", "nginx", "--create-stack")
    for name, scale in (("web/nginx", 3), ("nginx.web", 2), ("1s1", 4), ("nginx", 1), ("web/n", 2)):
        assert typed("service", "scale", f"{name}={scale}").code == 0, name
        assert typed("service", "inspect", "1s1", "--format", "{{.scale}}").out == f"{scale}\n"


def test_service_stops_and_starts_again(typed: Typed) -> None:
    typed("service", "create", "web/nginx", "nginx", "--create-stack")
    assert typed("service", "stop", "web/nginx").code == 0
    assert typed("service", "ls", "--format", "{{.state}}").out == "inactive\n"
    assert "nothing to do" in typed("service", "stop", "web/nginx").err
    assert typed("service", "start", "web/nginx").code == 0
    assert typed("service", "ls", "--format", "{{.state}}").out == "active\n"


def test_no_start_leaves_a_service_inactive(typed: Typed) -> None:
    assert typed("service", "create", "web/nginx", "nginx", "--create-stack", "--no-start").code == 0
    assert typed("service", "ls", "--format", "{{.state}}").out == "inactive\n"


def test_rm_removes_a_service_and_a_stack_and_lists_forget_them(typed: Typed) -> None:
    typed("service", "create", "web/nginx", "nginx", "--create-stack")
    assert typed("service", "rm", "web/nginx").out == "removed web/nginx\n"
    assert typed("stack", "rm", "web").out == "removed web\n"
    assert typed("stack", "ls", "-q").out == typed("service", "ls", "-q").out == ""


def test_container_is_created_stopped_started_restarted_and_removed(typed: Typed) -> None:
    assert typed("container", "create", "my_box", "alpine:3", "--host", "h2", "--command", "sleep 1d").code == 0
    assert typed("container", "ls").out.splitlines()[1].split()[:5] == ["1i1", "my_box", "running", "alpine:3", "h2"]
    assert typed("container", "restart", "my_box", "--no-wait").out == "restarted my_box\n"
    for action in ("stop", "start", "rm"):
        assert typed("container", action, "my_box", "--no-wait").code == 0, action
    assert typed("container", "ls", "-q").out == ""


def test_container_list_of_a_service_has_its_containers_only(typed: Typed) -> None:
    typed("service", "create", "web/nginx", "nginx", "--create-stack", "--scale", "2")
    typed("container", "create", "box", "alpine")
    assert typed("container", "ls", "--service", "web/nginx", "--format", "{{.name}}").out.split() == [
        "web_nginx_1",
        "web_nginx_2",
    ]


def test_unknown_stack_is_an_error_that_names_the_near_one_and_changes_nothing(typed: Typed, served: Served) -> None:
    typed("stack", "create", "shop")
    count = len(served.replica.submitted)
    result = typed("service", "create", "shpo/web", "nginx")
    assert (result.code, result.out) == (1, "")
    assert "no stack 'shpo' in environment Default" in result.err
    assert "did you mean shop?" in result.err
    assert "--create-stack" in result.err
    assert len(served.replica.submitted) == count


def test_unknown_service_is_an_error_that_names_the_near_one(typed: Typed) -> None:
    typed("service", "create", "web/nginx", "nginx", "--create-stack")
    result = typed("service", "scale", "web/ngnix=2")
    assert result.code == 1
    assert "no service 'web/ngnix'" in result.err
    assert "did you mean web/nginx?" in result.err


def test_name_that_fits_several_lists_them(typed: Typed) -> None:
    for stack in ("web", "shop"):
        typed("service", "create", f"{stack}/nginx", "nginx", "--create-stack")
    result = typed("service", "inspect", "nginx")
    assert result.code == 1
    assert "web/nginx (1s1), shop/nginx (1s2)" in result.err


@pytest.mark.parametrize("name", ["web/-a", "web/a_b", "web/a.b", "web/" + "a" * 64, "web/", "nostack", "/a", "w/ä"])
def test_invalid_service_name_is_refused_before_anything_is_asked(typed: Typed, served: Served, name: str) -> None:
    assert typed("service", "create", name, "nginx", "--create-stack").code == 2
    assert served.replica.submitted == []


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "80:99999"), ("--port", "x"), ("--port", "1:2:3"), ("--env", "nameonly"), ("--label", "=x"),
        ("--command", "'open"), ("--scale", "-1"),
    ],
)  # fmt: skip
def test_bad_flag_is_a_usage_error_that_names_it(typed: Typed, served: Served, words: tuple[str, ...]) -> None:
    result = typed("service", "create", "web/nginx", "nginx", "--create-stack", *words)
    assert result.code == 2
    assert words[0] in result.err
    assert served.replica.submitted == []


def test_not_converged_in_time_exits_3_with_the_reason(typed: Typed, served: Served) -> None:
    served.replica.settles = False
    words = ["service", "create", "web/nginx", "nginx", "--create-stack", "--wait-timeout", "0"]
    result = typed(*words)
    assert result.code == 3
    assert "accepted, but not there yet" in result.err
    assert "web/nginx is activating, 0 of 1 containers run" in result.err


def test_no_wait_returns_once_accepted(typed: Typed, served: Served) -> None:
    served.replica.settles = False
    assert typed("service", "create", "web/nginx", "nginx", "--create-stack", "--no-wait").code == 0


def test_ctrl_c_while_waiting_says_what_was_accepted_and_exits_130(typed: Typed, served: Served) -> None:
    served.replica.settles = False
    words = [sys.executable, "-m", "node", "service", "create", "web/nginx", "nginx", "--create-stack"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stderr is not None
        seen = ""
        while "activating" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "the change of web/nginx was accepted and goes on" in err
    assert "node service ls`" in err
    assert "Traceback" not in err
    assert out == ""
    assert len(served.replica.state.services) == 1


def test_quiet_prints_the_id_alone(typed: Typed) -> None:
    result = typed("stack", "create", "web", "-q")
    assert (result.out, result.err) == ("1e1\n", "")


def test_json_is_all_that_standard_output_has(typed: Typed) -> None:
    assert typed("stack", "create", "web", "--json").json["name"] == "web"
    assert [row["name"] for row in typed("stack", "ls", "--json").json] == ["web"]


def test_refusal_of_the_cluster_is_told_with_its_reason(typed: Typed) -> None:
    typed("stack", "create", "web")
    result = typed("stack", "create", "web")
    assert result.code == 1
    assert "refused: NotUnique (name)" in result.err
    assert "why:" in result.err


def test_terminal_display_rewrites_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    display = waiting.TerminalDisplay()
    display.show(["a: activating"])
    display.show(["a: active"])
    assert capsys.readouterr().err == "\r\x1b[2Ka: activating\n\x1b[1A\r\x1b[2Ka: active\n"


def test_plain_display_prints_news_only(capsys: pytest.CaptureFixture[str]) -> None:
    display = waiting.PlainDisplay()
    for line in ("a: activating", "a: activating", "a: active"):
        display.show([line])
    assert capsys.readouterr().err == "a: activating\na: active\n"
