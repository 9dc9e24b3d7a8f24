"""Which removed rows have been shown for long enough, children before what they refer to."""

from node.commands import PurgeRows
from node.plan.draft import Draft
from node.state.purge import CHILDREN_FIRST, referred_to

SHOWN_MS = 300_000
"""How long a removed row stays listed."""
MAX_ROWS = 500
"""Rows of one purge; the rest goes with the next."""


def plan_purge(draft: Draft) -> None:
    """Drop rows removed longer ago than SHOWN_MS that no row refers to any more."""
    before = draft.now - SHOWN_MS
    rows: list[tuple[str, int]] = []
    for table in CHILDREN_FIRST:
        old = [
            row.id for row in getattr(draft.state, table).values() if row.removed is not None and row.removed < before
        ]
        if old:
            used = referred_to(draft.state, table)
            rows += [(table, row_id) for row_id in old if row_id not in used]
    if rows:
        draft.emit(PurgeRows(rows=tuple(rows[:MAX_ROWS])))
