"""The command line of `scripts/lab`: reads arguments, calls `Lab`, prints, and chooses the exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage; `exec` passes on the exit code of its command.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.lablib import ground, procs
from scripts.lablib.errors import LabError
from scripts.lablib.lab import HostStatus, Lab

_EXAMPLES = """\
examples:
  scripts/lab check                        what is missing on this machine, line by line
  scripts/lab up 3                         three hosts h1 h2 h3, each with a real Docker engine
  scripts/lab exec h1 docker ps            a command on a host; its exit code is passed on
  scripts/lab exec -d h1 node start        the same in the background; then: scripts/lab logs h1 node
  scripts/lab exec h1 bash                 a shell on a host
  scripts/lab cut h2                       pull h2's cable
  scripts/lab cut h1 --from h2             h1 and h2 do not reach each other, h3 reaches both
  scripts/lab lose h3 10                   drop 10 % of h3's packets, each way
  scripts/lab heal                         end all network faults
  scripts/lab kill h2; scripts/lab start h2    power loss and boot: disks stay, all else is gone
  scripts/lab pause h1; scripts/lab resume h1  freeze Corral's daemon on h1, and let it go on
  scripts/lab down                         leave nothing behind
  scripts/lab --name other up 2            a second lab that shares nothing with the first

The images in every engine (busybox, nginx, redis, memcached, corral-test/*) are stand-ins made from Debian packages.
Environment: LAB_PATH goes in front of PATH on hosts (default: the repository's .venv/bin), CORRAL_LAB_ROOT is the
folder of all labs (/var/tmp/corral-lab), CORRAL_LAB_CACHE that of the built images (/var/cache/corral-lab).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    arguments = _parser().parse_args(argv)
    run: Callable[[Lab, argparse.Namespace], int] = arguments.run
    try:
        return run(Lab(arguments.name, say=_say), arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.code
    except PermissionError as error:
        print(f"lab: {error}: run it as root", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; the same command goes on from here, scripts/lab down cleans up", file=sys.stderr)
        return 130


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/lab",
        description="Several real Docker hosts on one machine, each in namespaces of its own.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", default="lab", help="name of the lab (default: lab)")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[Lab, argparse.Namespace], int], text: str, *positional: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        for word in positional:
            command.add_argument(word, metavar=word.upper())
        return command

    add("check", _check, "say what this machine lacks; exit 1 if hosts cannot be made here")
    add("up", _up, "make hosts h1 … hN run; repeated, it mends what is missing").add_argument("count", type=int)
    add("down", _down, "remove the lab and every trace of it")
    add("status", _status, "show what every host is doing").add_argument("--json", action="store_true")
    command = add("exec", _exec, "run a command on a host")
    command.add_argument("-d", "--detach", action="store_true", help="in the background; prints its PID on the host")
    command.add_argument("--log", type=Path, help="with --detach: where its output goes (default: `lab logs`)")
    command.add_argument("host", metavar="HOST")
    command.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER)
    command = add("cut", _cut, "pull a host's cable, or keep two hosts apart", "host")
    command.add_argument("--from", dest="other", metavar="OTHER", help="only from this host")
    command.add_argument("--one-way", action="store_true", help="with --from: only packets from HOST to OTHER are lost")
    add("heal", _heal, "end network faults, all or one host's").add_argument("host", metavar="HOST", nargs="?")
    command = add("lose", _lose, "drop a share of a host's packets; 0 ends it", "host")
    command.add_argument("percent", metavar="PERCENT", type=float)
    command = add("kill", _kill, "power loss: daemon, engine and containers at once", "host")
    command.add_argument("--daemon", action="store_true", help="only Corral's daemon (SIGKILL)")
    add("start", _start, "boot a host after kill, or start its engine after stop", "host")
    add("stop", _stop, "stop a host's engine in the orderly way", "host")
    add("pause", _pause, "freeze Corral's daemon on a host", "host")
    add("resume", _resume, "let a frozen daemon go on", "host")
    command = add("logs", _logs, "print a program's log: node, docker or another name", "host")
    command.add_argument("what", metavar="PROGRAM", nargs="?", default="node")
    command.add_argument("-f", "--follow", action="store_true", help="go on printing what is added")
    return parser


def _check(lab: Lab, arguments: argparse.Namespace) -> int:
    del lab, arguments
    found = ground.findings()
    for fine, line in found:
        print(f"{'ok     ' if fine else 'MISSING'}  {line}")
    return 0 if all(fine for fine, _ in found) else 1


def _up(lab: Lab, arguments: argparse.Namespace) -> int:
    started_at = time.monotonic()
    lab.up(arguments.count)
    _say(f"lab {lab.layout.name} is up after {time.monotonic() - started_at:.1f} s")
    _say("images are stand-ins made from Debian packages, loaded under the public names")
    return _print_table(lab.status())


def _down(lab: Lab, arguments: argparse.Namespace) -> int:
    del arguments
    started_at = time.monotonic()
    lab.down()
    _say(f"lab {lab.layout.name} is gone after {time.monotonic() - started_at:.1f} s")
    return 0


def _status(lab: Lab, arguments: argparse.Namespace) -> int:
    found = lab.status()
    if arguments.json:
        print(json.dumps({"name": lab.layout.name, "hosts": [dataclasses.asdict(one) for one in found]}, indent=2))
        return 0
    if not found:
        others = sorted(procs.labs())
        print(f"lab {lab.layout.name} is not up" + (f"; up: {', '.join(others)}" if others else ""))
        return 0
    return _print_table(found)


def _print_table(found: Sequence[HostStatus]) -> int:
    rows = [("HOST", "ADDRESS", "POWER", "ENGINE", "CONTAINERS", "DAEMON", "FAULTS")]
    for one in found:
        daemon = ("paused" if one.paused else "running") if one.daemons else "-"
        power, engine = "on" if one.powered else "off", "up" if one.engine else "down"
        faults = ", ".join(one.faults) or "-"
        rows.append((one.host, one.address, power, engine, str(one.containers), daemon, faults))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _exec(lab: Lab, arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise LabError("exec: say which command to run, as in: scripts/lab exec h1 docker ps", code=2)
    if arguments.detach:
        log = None if arguments.log is None else arguments.log.resolve()
        print(lab.detach(arguments.host, command, log))
        return 0
    argv, environment = lab.enter(arguments.host, command, cwd=os.getcwd())
    sys.stdout.flush()
    # The terminal, the signals and the exit code are then the command's own.
    return os.execvpe(argv[0], argv, environment)


def _cut(lab: Lab, arguments: argparse.Namespace) -> int:
    if arguments.one_way and not arguments.other:
        raise LabError("cut --one-way needs --from OTHER", code=2)
    lab.cut(arguments.host, arguments.other, one_way=arguments.one_way)
    return 0


def _heal(lab: Lab, arguments: argparse.Namespace) -> int:
    for ended in lab.heal(arguments.host):
        print(f"ended: {ended}")
    return 0


def _lose(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.lose(arguments.host, arguments.percent)
    return 0


def _kill(lab: Lab, arguments: argparse.Namespace) -> int:
    if arguments.daemon:
        found = lab.signal_daemon(arguments.host, signal.SIGKILL)
        if not found:
            raise LabError(f"{arguments.host}: Corral's daemon does not run there")
    else:
        lab.kill(arguments.host)
    return 0


def _start(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.start(arguments.host)
    return 0


def _stop(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.stop_engine(arguments.host)
    return 0


def _pause(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.pause(arguments.host)
    return 0


def _resume(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.resume(arguments.host)
    return 0


def _logs(lab: Lab, arguments: argparse.Namespace) -> int:
    path = lab.log_path(arguments.host, arguments.what)
    if not path.exists():
        there = sorted(log.stem for log in path.parent.glob("*.log"))
        raise LabError(f"no {path}; logs there: {', '.join(there) or 'none'}")
    if arguments.follow:
        return os.execvp("tail", ["tail", "-n", "+1", "-f", str(path)])
    sys.stdout.write(path.read_text(errors="replace"))
    return 0
