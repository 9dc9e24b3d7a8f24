"""docs/schema-differences.md: where the generated schemas differ from the captured ones of Rancher 1.0, and why."""

from node.api.definitions import BY_ID
from tests.node.api.differences import CAPTURED, DIFFERENCES

_HEAD = """# Differences from Rancher 1.0's schemas

The schemas of every type are generated from `node/api/definitions`. A test compares them with two captured documents
of Rancher 1.0 (an administrator's and an environment key's), where they are at hand, and fails on every difference in
fields, flags, options, limits, defaults, links, actions with input and output, methods and filters that no row below
covers, and on every row that covers nothing. `scripts/docs` writes this page.

A thing that is *missing* is in the captured document and not here, an *extra* one the other way round;
`field x.y` means that attribute y of field x differs.

## Differences of types that are served

| difference (a regular expression) | why |
|---|---|
"""


def render_differences() -> str:
    """Return the whole page."""
    rows = [f"| `{_cell(pattern)}` | {reason} |" for pattern, reason in DIFFERENCES]
    types = [
        f"| {name} | {_place(name, why)} |" for name, why in sorted(CAPTURED.items(), key=lambda item: item[0].lower())
    ]
    return (
        _HEAD
        + "\n".join(rows)
        + "\n\n## Every type of the captured documents\n\n| type | here |\n|---|---|\n"
        + "\n".join(types)
        + "\n"
    )


def _place(name: str, why: str | None) -> str:
    if name not in BY_ID:
        return f"not here: {why}"
    later = BY_ID[name].later
    return (
        "described" if BY_ID[name].rows is None else "served" if later is None else f"served; none can be made: {later}"
    )


def _cell(pattern: str) -> str:
    return pattern.replace("|", "\\|")
