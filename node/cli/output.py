"""How results are printed: tables for people, JSON, ids and templates for scripts.

Pure but for `Printer`, which writes to standard output.  Control characters of foreign text never reach a terminal.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from node.cli.errors import CliError

Json = dict[str, Any]

CELL = 40
"""Characters of a cell before it is shortened."""
_FIELD = re.compile(r"\{\{\s*(json\s+)?\.([A-Za-z0-9_./-]*)\s*\}\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COLOURS = {"good": "\x1b[32m", "moving": "\x1b[33m", "bad": "\x1b[31m", "alarm": "\x1b[1;31m"}
_RESET = "\x1b[0m"
_GOOD = frozenset({"active", "running", "alive", "ok", "upgraded"})
_BAD = frozenset({"error", "erroring", "dead", "FAIL", "fail", "reconnecting", "disconnected"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; `is_state` colours it on a terminal, `is_whole` never shortens it."""

    title: str
    value: Callable[[Json], object]
    is_state: bool = False
    is_whole: bool = False


def clean(text: str) -> str:
    """Return text without what could steer a terminal."""
    return _CONTROL.sub("\ufffd", text)


def paint(text: str, kind: str) -> str:
    """Colour text for a terminal."""
    return f"{_COLOURS[kind]}{text}{_RESET}"


def tone_of(state: str) -> str | None:
    """Return the colour of a state's word, if it has one."""
    if state in _GOOD:
        return "good"
    if state in _BAD:
        return "bad"
    return "moving" if state.endswith("ing") or state in ("requested", "suspect", "warn") else None


def render_table(columns: Sequence[Column], rows: Iterable[Json], *, colour: bool = False, trunc: bool = True) -> str:
    """Return upper-case headers over rows, in columns two spaces apart."""
    table = [[_cell(column.value(row), trunc and not column.is_whole) for column in columns] for row in rows]
    widths = [
        max(len(column.title), *(len(line[place]) for line in table)) if table else len(column.title)
        for place, column in enumerate(columns)
    ]
    lines = ["  ".join(column.title.ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip()]
    for line in table:
        cells = []
        for column, text, width in zip(columns, line, widths, strict=True):
            tone = tone_of(text) if colour and column.is_state else None
            padding = " " * (width - len(text))
            cells.append((paint(text, tone) if tone else text) + padding)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _cell(value: object, trunc: bool) -> str:
    text = "-" if value is None or value == "" else clean(str(value))
    return f"{text[: CELL - 1]}…" if trunc and len(text) > CELL else text


def render_age(created_ms: object, now: float) -> str:
    """Return how long ago that was, in the largest unit that fits."""
    if not isinstance(created_ms, int | float):
        return "-"
    return render_span(max(0.0, now - created_ms / 1000))


def render_span(seconds: float) -> str:
    """Return a span as `42s`, `5m`, `3h` or `12d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def parse_span(text: str) -> float:
    """Read `90`, `90s`, `15m`, `24h` or `7d` as seconds; CliError for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", text.strip())
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{text[:40]!r} is no span of time: write it as 30m, 24h or 7d")
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2]]


def pluck(row: Mapping[str, Any], path: str) -> Any:
    """Return what lies at a dotted path; keys with dots in them, such as labels, are found whole."""
    if not path:
        return row
    if path in row:
        return row[path]
    head, _, rest = path.partition(".")
    inner = row.get(head)
    if isinstance(inner, Mapping):
        return pluck(inner, rest)
    raise KeyError(path)


def render_template(template: str, row: Json) -> str:
    r"""Fill `{{.name}}` and `{{json .labels}}` from a row; `\t` and `\n` mean what they do in C."""

    def fill(match: re.Match[str]) -> str:
        try:
            value = pluck(row, match[2])
        except KeyError:
            known = ", ".join(sorted(row))
            raise CliError(f"there is no field {match[2]!r}", f"there are: {known}", "use --json to see all") from None
        if match[1] or isinstance(value, dict | list):
            return json.dumps(value)
        return "" if value is None else str(value).lower() if isinstance(value, bool) else clean(str(value))

    return _FIELD.sub(fill, template.replace("\\t", "\t").replace("\\n", "\n"))


def parse_filters(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Read `key=value` conditions."""
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--filter takes KEY=VALUE, such as state=active, not {text!r}")
        if key == "label":
            label, _, value = value.partition("=")
            key = f"labels.{label}"
        found.append((key, value))
    return tuple(found)


def matches(row: Json, filters: Iterable[tuple[str, str]]) -> bool:
    """Whether a row has these values; what it does not have it does not match."""
    return all(_matches(row, key, value) for key, value in filters)


def _matches(row: Json, key: str, value: str) -> bool:
    try:
        found = pluck(row, key)
    except KeyError:
        return False
    if isinstance(found, list):
        return value in map(str, found)
    return (str(found).lower() if isinstance(found, bool) else "" if found is None else str(found)) == value


@dataclass(frozen=True, slots=True)
class Printer:
    """Writes results in the form that was asked for."""

    json: bool = False
    quiet: bool = False
    template: str | None = None
    filters: tuple[tuple[str, str], ...] = ()
    trunc: bool = True
    colour: bool = False

    def rows(self, columns: Sequence[Column], rows: Sequence[Json]) -> None:
        """Print a list."""
        if rows and (unknown := [key for key, _ in self.filters if not _is_known(key, rows)]):
            known = ", ".join(sorted(rows[0]))
            raise CliError(f"there is no field {unknown[0]!r} to filter by", f"there are: {known}", "see --json")
        chosen = [row for row in rows if matches(row, self.filters)]
        if self.json:
            click.echo(json.dumps(chosen, indent=2))
        elif self.quiet:
            self._lines(str(row["id"]) for row in chosen)
        elif self.template is not None:
            template = self.template
            self._lines(render_template(template, row) for row in chosen)
        else:
            click.echo(render_table(columns, chosen, colour=self.colour, trunc=self.trunc), color=True)

    def one(self, row: Json, text: str | None = None) -> None:
        """Print one resource: JSON unless there is a text for people."""
        if self.template is not None:
            click.echo(render_template(self.template, row))
        elif self.json or text is None:
            click.echo(json.dumps(row, indent=2))
        else:
            click.echo(row["id"] if self.quiet else text, color=True)

    def _lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            click.echo(line)


def _is_known(key: str, rows: Iterable[Json]) -> bool:
    head = key.partition(".")[0]
    return any(head in row or key in row for row in rows)


def age_column() -> Column:
    """Return the AGE column."""
    now = time.time()
    return Column("AGE", lambda row: render_age(row.get("createdTS"), now))
