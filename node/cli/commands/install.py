"""`install`: a systemd unit that starts this host's node, written and enabled."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from node.cli.errors import CliError, program
from node.cli.lazy import Command
from node.config import DATA_DIR

UNIT = Path("/etc/systemd/system/corral.service")
SYSTEMD = Path("/run/systemd/system")
"""Exists exactly where systemd runs (sd_booted(3))."""


@click.command("install", cls=Command, examples=("node install", "node install --print"))
@click.option("--print", "only_print", is_flag=True, help="Print the unit, and change nothing.")
@click.option("--now", is_flag=True, help="Start it at once, too.")
def command(only_print: bool, now: bool) -> None:
    """Have systemd start this host's node whenever the host starts."""
    unit = render_unit(program_line())
    if only_print:
        click.echo(unit, nl=False)
        return
    if not SYSTEMD.is_dir():
        why = f"{SYSTEMD} does not exist"
        raise CliError("systemd does not run here", why, "`node install --print`, and start it from what does run here")
    if os.geteuid() != 0:
        raise CliError("only root may install a unit", f"started by user {os.geteuid()}", f"`sudo {program()} install`")
    UNIT.write_text(unit)
    UNIT.chmod(0o644)
    _systemctl("daemon-reload")
    _systemctl("enable", *(["--now"] if now else []), UNIT.name)
    click.echo(f"wrote {UNIT} and enabled it{', and started it' if now else '; start it: systemctl start corral'}")
    if not (DATA_DIR / "identity").exists():
        click.echo(
            "this host is in no cluster yet, and the unit waits for that: `node start` or `node join` first", err=True
        )


def program_line() -> tuple[str, ...]:
    """Return how this very program is called, by absolute paths."""
    typed = shutil.which(sys.argv[0])
    if typed is not None and os.path.basename(typed) != "__main__.py":
        return (os.path.abspath(typed),)
    return (sys.executable, "-m", "node")


def _quoted(word: str) -> str:
    """Quote a word for ExecStart= (systemd.service(5)): % and $ mean something there."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if any(character.isspace() for character in word) else word


def render_unit(program_words: tuple[str, ...]) -> str:
    """Return the unit.  Only the daemon is stopped by it: DNS server and tunnel outlive their daemon."""
    command_line = " ".join(map(_quoted, (*program_words, "start")))
    return f"""\
[Unit]
Description=Corral node
After=network-online.target docker.service
Wants=network-online.target docker.service
# A host that has left its cluster must not found a new one at the next boot.
ConditionPathExists={DATA_DIR}/identity

[Service]
ExecStart={command_line}
KillMode=process
Restart=on-failure
RestartSec=2
TimeoutStopSec=20
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def _systemctl(*words: str) -> None:
    try:
        subprocess.run(["systemctl", *words], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise CliError(
            "there is no systemctl", "systemd runs here, its command is missing", "install systemd whole"
        ) from None
    except subprocess.CalledProcessError as error:
        why = (error.stderr or "").strip()
        raise CliError(f"systemctl {' '.join(words)} failed", why, "mend that, and run this again") from None
