"""HTML written so that nothing can slip in unescaped: text becomes markup only through `tag`.

Pure.
"""

from html import escape
from typing import Final


class Markup(str):
    """Text that is HTML already; only `tag` and `join` make it."""

    __slots__ = ()


Child = str | Markup | None
EMPTY: Final = Markup("")
_VOID = frozenset({"input", "link", "meta", "br", "hr"})


def tag(element: str, /, *children: Child, **attributes: str | bool | None) -> Markup:
    """Return an element; children and values that are no Markup are escaped.

    An attribute that is None or False is left out, True has no value; `class_` and `data_x` stand for class and data-x.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    if element in _VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(*children)}</{element}>")


def join(*children: Child) -> Markup:
    """Return children one after the other, escaped where they are no Markup."""
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child))


def _attribute(key: str, value: str | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value), quote=True)}"'
