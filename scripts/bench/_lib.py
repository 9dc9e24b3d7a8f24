"""What the benchmarks share: the right interpreter, the tools they need, and the line they end with."""

import argparse
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent.parent
PRIORITY = -15


def use_venv() -> None:
    """Go on in the repository's venv, which is made or brought up to date first."""
    sys.path.insert(0, str(ROOT))
    if Path(sys.prefix) == ROOT / ".venv":
        return
    if subprocess.run(["bash", "-c", ". scripts/_venv"], check=False, cwd=ROOT, stdin=subprocess.DEVNULL).returncode:
        sys.exit("the venv with what Corral needs could not be made; see above")
    python = ROOT / ".venv" / "bin" / "python"
    os.execv(python, [str(python), *sys.argv])


def need_tools(packages: dict[str, str]) -> None:
    """Install the Debian packages (command -> package) whose command is missing, or end and say which."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = sorted({package for command, package in packages.items() if shutil.which(command) is None})
    if not missing:
        return
    wanted = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    sys.stdout.write(f"installing {', '.join(missing)}\n")
    sys.stdout.flush()
    subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=subprocess.DEVNULL)
    if subprocess.run(wanted, check=False, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"cannot install {', '.join(missing)}: run `{' '.join(wanted)}` as root")


def parse_options(description: str) -> argparse.Namespace:
    """Read the command line that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; ends within 60 s")
    return parser.parse_args()


def raise_priority() -> int:
    """Have this process, and all that it starts, go before the machine's other work, where that is permitted."""
    with suppress(OSError):  # Sessions come before processes where the kernel groups by them.
        Path("/proc/self/autogroup").write_text(str(PRIORITY))
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    return os.getpriority(os.PRIO_PROCESS, 0)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure beside its goal; its text is the line that a benchmark ends with."""

    name: str
    figure: str
    goal: str
    holds: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.figure}, goal {self.goal}: {_HOLDS if self.holds else _FALLS_SHORT}"


_HOLDS, _FALLS_SHORT = "holds", "falls short"


def is_verdict(line: str, script: str) -> bool:
    """Tell whether a line is one that this script ends with; one with several questions has a name for each."""
    name, _, rest = line.partition(": ")
    return name.split(" ")[0] == script and rest.endswith((f": {_HOLDS}", f": {_FALLS_SHORT}"))


def finish(*verdicts: Verdict) -> NoReturn:
    """Print the lines that a benchmark ends with, and end with its exit status: 0 where all of them hold."""
    sys.stdout.write("".join(f"{verdict}\n" for verdict in verdicts))
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)
