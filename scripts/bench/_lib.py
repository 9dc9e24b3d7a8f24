"""What the benchmarks share: the right interpreter, the tools they need, and the line they end with."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def use_venv() -> None:
    """Go on in the repository's venv where there is one; else this interpreter has to have what is needed."""
    sys.path.insert(0, str(ROOT))
    python = ROOT / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix) != ROOT / ".venv":
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


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def finish(name: str, figure: str, goal: str, holds: bool) -> None:
    """Print the line that a benchmark ends with, and end with its exit status."""
    sys.stdout.write(f"{name}: {figure}, goal {goal}: {'holds' if holds else 'falls short'}\n")
    sys.exit(0 if holds else 1)
