"""What every command promises: help with examples, suggestions, and a start that imports next to nothing."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import ShellComplete

from node.cli.lazy import Command, Group
from node.cli.root import ENTRIES, cli
from tests.node.cli.conftest import Typed

HEAVY = ("trio", "cryptography", "httpx", "rich", "docker", "pyroute2", "msgspec", "ssl")


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below a group, groups themselves included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


COMMANDS = dict(every_command(cli))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_two_examples_that_call_it(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert isinstance(command, Command | Group)
    assert command.help
    assert len(command.examples) >= 2
    if path != ("help",) and path != ("completion",):
        assert all(example.startswith(f"node {' '.join(path)}") for example in command.examples)


def test_every_line_of_the_table_is_the_command_of_that_name() -> None:
    for name, entry in ENTRIES.items():
        assert COMMANDS[(name,)].name == name
        assert entry.help.endswith(".")


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [(("servce", "ls"), "service"), (("service", "crate"), "create"), (("service", "ls", "--jsn"), "--json")],
)
def test_typing_error_is_answered_by_what_was_meant(away: Typed, words: tuple[str, ...], suggestion: str) -> None:
    result = away(*words)
    assert (result.code, result.out) == (2, "")
    assert "Did you mean" in result.err
    assert suggestion in result.err


def test_help_explains_commands_and_exit_codes(away: Typed) -> None:
    assert "STACK/NAME" in away("help", "service", "create").out
    assert [line.split()[0] for line in away("help", "exit-codes").out.splitlines()] == ["0", "1", "2", "3", "130"]
    assert "CORRAL_URL" in away("help", "environment").out
    assert away("help", "nosuch").code == 2


def imported_by(*words: str) -> set[str]:
    """Top-level modules that a command leaves imported in a fresh interpreter."""
    program = (
        "import sys; from node.cli.root import run_args; code = run_args(sys.argv[1:]);"
        "print('\\n'.join(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words", [("--help",), ("service", "--help"), ("service", "create", "--help"), ("start", "--help")]
)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    assert imported_by(*words).isdisjoint(HEAVY)


def test_api_commands_import_neither_trio_nor_cryptography_nor_rich(tmp_path: object) -> None:
    imported = imported_by("service", "ls", "--socket", f"{tmp_path}/none.sock")
    assert imported.isdisjoint({"trio", "cryptography", "rich", "docker", "pyroute2"})
    assert "httpx" in imported


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(away: Typed, shell: str) -> None:
    result = away("completion", shell)
    assert result.code == 0
    assert "_NODE_COMPLETE" in result.out


def test_completion_lists_commands_without_importing_them() -> None:
    names = [item.value for item in ShellComplete(cli, {}, "node", "_NODE_COMPLETE").get_completions([], "st")]
    assert names == ["start", "status", "stack", "stats"]


def test_completion_knows_the_names_of_the_cluster(typed: Typed) -> None:
    typed("service", "create", "web/nginx", "nginx", "--create-stack")
    complete = ShellComplete(cli, {}, "node", "_NODE_COMPLETE")
    assert [item.value for item in complete.get_completions(["service", "rm"], "w")] == ["web/nginx"]
    assert [item.value for item in complete.get_completions(["host", "inspect"], "h")] == ["h1", "h2", "h3"]


def test_completion_is_silent_without_a_cluster(away: Typed) -> None:
    assert ShellComplete(cli, {}, "node", "_NODE_COMPLETE").get_completions(["host", "inspect"], "") == []


def test_messages_repeat_the_name_that_was_typed(away: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/corral"])
    assert "`corral start`" in away("stack", "ls").err
    assert "corral stack create web" in away("stack", "create", "--help").out
