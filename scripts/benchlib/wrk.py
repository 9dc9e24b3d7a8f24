"""wrk with one request of ours, and what it found: a rate, and how long answers took."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 60.0
_DONE = """
done = function(summary, latency, requests)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
  io.write(string.format("FOUND %f %d %f %f %f\\n", summary.requests / summary.duration * 1e6, bad,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
"""


class WrkError(Exception):
    """wrk did not run, or got answers that are none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, sent again and again."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What one round gave."""

    rate: float
    p50_ms: float
    p99_ms: float
    longest_ms: float


def script_of(asked: Asked, pause_ms: int = 0) -> str:
    """Return the Lua with which wrk sends that request, each connection pausing before every one."""
    lines = [f'wrk.method = "{asked.method}"', *(f'wrk.headers["{key}"] = "{value}"' for key, value in asked.headers)]
    lines += [f"wrk.body = [[{asked.body}]]"] if asked.body is not None else []
    lines += [f"delay = function() return {pause_ms} end"] if pause_ms else []
    return "\n".join(lines) + _DONE


def run_wrk(folder: Path, asked: Asked, *, connections: int, seconds: int, pause_ms: int = 0) -> Found:
    """Run wrk on one thread; WrkError unless all answers were good."""
    script = folder / "wrk.lua"
    script.write_text(script_of(asked, pause_ms))
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), asked.url]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds + PATIENCE)
    return read_found(done.stdout + done.stderr)


def read_found(text: str) -> Found:
    """Read what the script's last line says."""
    match = re.search(r"^FOUND ([\d.]+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)$", text, re.MULTILINE)
    if match is None:
        raise WrkError(f"wrk gave no figures:\n{text[-1000:]}")
    if int(match[2]):
        raise WrkError(f"{match[2]} requests failed:\n{text[-1000:]}")
    rate, p50, p99, longest = (float(match[place]) for place in (1, 3, 4, 5))
    return Found(rate, p50, p99, longest)
