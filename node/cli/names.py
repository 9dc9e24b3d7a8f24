"""Which row a person means by a name, an id, or the beginning of either; says what was near when none fits.

Pure.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from node.cli.errors import CliError

Json = dict[str, Any]

GONE = frozenset({"removed", "purged", "purging"})
MAX_LISTED = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row with the names it answers to, the one to show first."""

    row: Json
    names: tuple[str, ...]

    @property
    def id(self) -> str:
        """Return its id."""
        return str(self.row["id"])


def candidates_of(rows: Iterable[Json]) -> list[Candidate]:
    """Return rows that have one name each, the removed ones left out."""
    return [Candidate(row, (str(row.get("name") or row["id"]),)) for row in rows if row.get("state") not in GONE]


def service_candidates(services: Iterable[Json], stacks: Iterable[Json]) -> list[Candidate]:
    """Return services by `stack/service`, `service.stack`, and the service's name alone."""
    names = {stack["id"]: str(stack.get("name")) for stack in stacks}
    found = []
    for row in services:
        if row.get("state") not in GONE:
            stack = names.get(row.get("environmentId"), "?")
            found.append(Candidate(row, (f"{stack}/{row['name']}", f"{row['name']}.{stack}", str(row["name"]))))
    return found


class NoSuch(CliError):
    """Nothing answers to that name."""


def pick(candidates: Sequence[Candidate], text: str, noun: str, where: str = "") -> Candidate:
    """Return the one that is meant: an id or name first, then the only one that begins so."""
    steps = (
        [each for each in candidates if each.id == text],
        [each for each in candidates if text in each.names],
        [each for each in candidates if each.id.startswith(text) or any(n.startswith(text) for n in each.names)],
    )
    for found in steps if text else ():
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{each.names[0]} ({each.id})" for each in found[:MAX_LISTED])
            more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
            raise CliError(f"{text!r} fits {len(found)} {noun}s", f"{listed}{more}", "write more of it, or the id")
    raise _not_found(candidates, text, noun, where)


def _not_found(candidates: Sequence[Candidate], text: str, noun: str, where: str) -> NoSuch:
    shown = {name: each.names[0] for each in candidates for name in each.names}
    near = list(dict.fromkeys(shown[name] for name in difflib.get_close_matches(text, shown, n=3)))
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = f"see `node {noun} ls`" if noun != "environment" else "see `node env ls`"
    known = ", ".join(each.names[0] for each in candidates[:MAX_LISTED])
    why = f"there are: {known}{', …' if len(candidates) > MAX_LISTED else ''}" if known else f"there is no {noun} yet"
    return NoSuch(f"no {noun} {text[:100]!r}{where}", why, hint)
