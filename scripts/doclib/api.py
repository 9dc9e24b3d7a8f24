"""docs/api.md: the prose of api.template.md, and every type as its definition has it."""

from collections.abc import Iterable
from pathlib import Path

from node.api.definition import Action, Definition, Field
from node.api.definitions import DEFINITIONS
from node.api.definitions.common import common_fields

TEMPLATE = Path(__file__).with_name("api.template.md")
COMMON = common_fields(())
METHODS = {"c": "POST", "r": "GET", "u": "PUT", "d": "DELETE"}


def render_api() -> str:
    """Return the whole page."""
    listed = [one for one in DEFINITIONS if (one.rows is not None and one.later is None) or one.find is not None]
    absent = [one for one in DEFINITIONS if one.rows is not None and one not in listed]
    parts = [one for one in DEFINITIONS if one not in listed and one not in absent]
    text = TEMPLATE.read_text()
    text = text.replace("{{summary}}", "\n".join(_summary(one) for one in listed))
    text = text.replace("{{absent}}", "\n".join(f"| `{one.id}` | {one.later or ''} |" for one in absent))
    text = text.replace("{{types}}", "\n".join(_type(one) for one in listed))
    return text.replace("{{parts}}", "\n".join(_type(one) for one in parts))


def _summary(definition: Definition) -> str:
    actions = ", ".join(sorted(action.name for action in definition.actions if action.later is None))
    return f"| `{definition.id}` | {_rights(definition)} | {actions} |"


def _rights(definition: Definition) -> str:
    """The methods that everybody has, then those of single roles."""
    letters = {role: set(text) for role, text in definition.acl.items()}
    shared = set.intersection(*letters.values()) if letters else set()
    said = [_methods(shared)] if shared else []
    roles = {role: mine - shared for role, mine in letters.items() if mine - shared}
    said += [f"{role}: {_methods(mine)}" for role, mine in sorted(roles.items())]
    if len(letters) == 1:
        said.append(f"({next(iter(letters))} only)")
    return "; ".join(said).replace("; (", " (")


def _methods(letters: Iterable[str]) -> str:
    return " ".join(METHODS[letter] for letter in METHODS if letter in letters)


def _type(definition: Definition) -> str:
    lines = [f"### {definition.id}", ""]
    if definition.rows is not None:
        lines += [f"`/v1/{definition.plural.lower()}`: {_rights(definition)}.", ""]
    if definition.later is not None:
        lines += [f"None can be made: {definition.later}.", ""]
    if definition.links:
        links = (
            f"{link.name}{' (many)' if link.many else ''}"
            for link in sorted(definition.links, key=lambda link: link.name)
        )
        lines += [f"Links: {', '.join(links)}.", ""]
    fields = {name: spec for name, spec in sorted(definition.fields.items()) if COMMON.get(name) != spec}
    fields.pop("state", None)
    if fields:
        lines += ["| field | type | flags | notes |", "|---|---|---|---|"]
        lines += [f"| {name} | {_cell(spec.type)} | {_flags(spec)} | {_notes(spec)} |" for name, spec in fields.items()]
        lines.append("")
    lines += _actions(definition.actions)
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _flags(spec: Field) -> str:
    letters = (
        ("c", spec.create),
        ("u", spec.update),
        ("N", spec.nullable),
        ("R", spec.required),
        ("U", spec.unique),
    )
    return "".join(letter for letter, is_set in letters if is_set)


def _notes(spec: Field) -> str:
    limits = (
        ("default", spec.default),
        ("min", spec.min),
        ("max", spec.max),
        ("minLength", spec.min_length),
        ("maxLength", spec.max_length),
        ("validChars", spec.valid_chars),
    )
    notes = [
        f"{name} {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in limits
        if value is not None
    ]
    if spec.options:
        notes.append(f"one of {', '.join(spec.options)}")
    notes += ["shown once"] * spec.is_once + ["administrators only"] * spec.admin_only
    notes += ["set by administrators only"] * spec.admin_create
    notes += [spec.description] if spec.description else []
    notes += [f"only at its default: {spec.later}"] if spec.later else []
    return _cell("; ".join(notes))


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _actions(actions: Iterable[Action]) -> list[str]:
    built = sorted((action for action in actions if action.later is None), key=lambda action: action.name)
    refused: dict[str, list[str]] = {}
    for action in sorted(actions, key=lambda action: action.name):
        if action.later is not None:
            refused.setdefault(action.later, []).append(action.name)
    lines = []
    if built:
        lines += ["| action | input | output | in states |", "|---|---|---|---|"]
        lines += [_action(action) for action in built]
        lines.append("")
    lines += [f"- not offered: {', '.join(names)} ({reason})" for reason, names in refused.items()]
    return [*lines, ""] if refused else lines


def _action(action: Action) -> str:
    where = " (unix socket only)" if action.local_only else ""
    states = ", ".join(sorted(action.states)) or "all"
    return f"| {action.name}{where} | {action.input or ''} | {action.output or ''} | {states} |"
