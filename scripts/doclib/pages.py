"""Which pages are generated, and by what."""

from collections.abc import Callable
from pathlib import Path

from scripts.doclib.api import render_api
from scripts.doclib.differences import render_differences
from scripts.doclib.processes import render_processes

ROOT = Path(__file__).resolve().parents[2]

PAGES: dict[str, Callable[[], str]] = {
    "docs/api.md": render_api,
    "docs/processes.md": render_processes,
    "docs/schema-differences.md": render_differences,
}
