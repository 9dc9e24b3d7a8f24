"""The table of commands, and what happens around every one of them: interrupts, broken pipes, exit codes.

Imports no command; node.cli.lazy does when one is called.
"""

import contextlib
import os
import sys
from typing import NoReturn

import click

from node.cli.errors import DONE, FAILED, INTERRUPTED, CliError, Interrupted, program
from node.cli.lazy import Entry, LazyGroup
from node.cli.options import reach_options


def _entry(module: str, help_: str) -> Entry:
    return Entry(help_, f"node.cli.commands.{module}")


ENTRIES = {
    "start": _entry("start", "Start this host's node; on a fresh host, make a cluster."),
    "join": _entry("join", "Make this host a member of a cluster, and start its node."),
    "leave": _entry("leave", "Take this host out of its cluster."),
    "status": _entry("status", "Show this node, its cluster and the cluster's members."),
    "cluster": _entry("clusters", "Show the group that decides, have another host lead, choose who votes."),
    "doctor": _entry("doctor", "Check this node and its paths to the others."),
    "token": _entry("tokens", "Make, list and rotate the tokens that hosts join with."),
    "env": _entry("envs", "List, make, choose and remove environments, and choose their members."),
    "host": _entry("hosts", "List, label, deactivate and remove hosts."),
    "stack": _entry("stacks", "List, make and remove stacks."),
    "service": _entry("services", "List, make, scale, start, stop and remove services."),
    "container": _entry("containers", "List, make, start, stop and remove containers."),
    "logs": _entry("logs", "Print what containers and services wrote, and go on with it."),
    "exec": _entry("execs", "Run a command in a container."),
    "stats": _entry("stats", "Show what containers and services use."),
    "events": _entry("events", "Print what changes in an environment."),
    "apikey": _entry("apikeys", "Make, list and remove API keys."),
    "access-control": _entry("access_control", "Show, turn on or turn off the logins and keys that the API asks for."),
    "account": _entry("accounts", "List, make, deactivate and remove accounts, and set passwords."),
    "login": _entry("login", "Log in to the chosen context's cluster."),
    "logout": _entry("logout", "End the session of the chosen context, and forget it."),
    "setting": _entry("settings", "List, show and set the cluster's settings."),
    "api": _entry("api", "Send a request to the API, as an authenticated curl would."),
    "ctx": _entry("ctx", "Save and choose clusters to talk to."),
    "install": _entry("install", "Have systemd start this host's node."),
    "completion": _entry("completion", "Print completion for bash, zsh or fish."),
    "version": _entry("version", "Show the version of this program and of every node."),
    "help": _entry("helps", "Help on a command, or on exit-codes and environment."),
}


@click.group(
    "node",
    cls=LazyGroup,
    entries=ENTRIES,
    examples=(
        "node start",
        "node join http://h1:8080 --token corral1_…",
        "node service create web/nginx nginx:1.8-alpine --create-stack --scale 2 --port 10086:80",
    ),
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 accepted but not converged in time, 130 interrupted.",
)
@reach_options()
def cli() -> None:
    """Run containers on many Docker hosts, without a server.

    On a host of the cluster root needs no key.  Elsewhere give --url with a key, or save them with `ctx add`.
    """


def run(args: list[str] | None = None) -> NoReturn:
    """Run what was typed and exit; no failure of a kind that we know ends in a traceback."""
    sys.exit(run_args(args))


def run_args(args: list[str] | None) -> int:
    """Run what was typed and return the exit code."""
    try:
        code = cli.main(args=args, standalone_mode=False, prog_name=program())
    except (click.Abort, KeyboardInterrupt):
        Interrupted("nothing was asked of the cluster, or it was not yet answered").show()
        return INTERRUPTED
    except click.ClickException as error:
        with contextlib.suppress(BrokenPipeError):
            error.show()
        return error.exit_code
    except BrokenPipeError:
        # Python flushes once more at exit; what is left has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        CliError(f"{error.strerror or error}", f"{error.filename}" if error.filename else None).show()
        return FAILED
    # What a command left by `Exit`, such as --help, comes back as its code.
    return code if isinstance(code, int) else DONE
