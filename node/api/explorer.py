"""The API as pages for a browser: what an answer says, with links to follow and forms made from the schemas.

Pure: it is handed the JSON of an answer and a way to look up the caller's schemas, and decides nothing.  Reading
works without a script; static/explorer.js sends the forms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from node.api import forms
from node.api.http import Response
from node.api.markup import EMPTY, Markup, join, tag

Json = Mapping[str, Any]

MAX_COLUMNS = 10
_FIRST = ("id", "name", "state")
_HIDDEN = frozenset({"links", "actions", "type", "uuid", "kind", "transitioning", "removed", "removedTS"})

HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("Vary", "Accept, User-Agent"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer, and what surrounds it."""

    base: str
    """`http://h1:8080`."""
    url: str
    """As asked, query included, without the base."""
    body: Json
    find_schema: Callable[[str], Json | None]
    """The caller's schema of a type, None where it has none."""
    warning: str | None = None


def render_page(page: Page, status: int, headers: Sequence[tuple[str, str]]) -> Response:
    """Return the page; headers of the JSON answer are kept but for its type."""
    kept = tuple((name, value) for name, value in headers if name.lower() != "content-type")
    return Response(status, _document(page).encode(), (*HEADERS, *kept))


def _document(page: Page) -> str:
    title = _title(page.body)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} · Corral API"),
        tag("link", rel="stylesheet", href="/static/explorer.css"),
        tag("script", src="/static/explorer.js", defer=True),
    )
    body = tag(
        "body",
        tag("header", tag("a", "Corral API", href=f"{page.base}/v1", class_="home"), _trail(page), _as_json(page)),
        tag("p", page.warning, class_="warning", role="alert") if page.warning else EMPTY,
        tag("main", tag("h1", title), _content(page)),
        data_type=str(page.body.get("type")),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _title(body: Json) -> str:
    match body.get("type"):
        case "collection":
            return f"{body.get('resourceType')} list"
        case "error":
            return f"{body.get('status')} {body.get('code')}"
        case kind:
            return f"{kind} {body.get('name') or body.get('id') or ''}".strip()


def _trail(page: Page) -> Markup:
    """The path, each piece of it a link."""
    path, place, links = page.url.partition("?")[0], page.base, []
    for piece in path.strip("/").split("/")[:8]:
        place = f"{place}/{piece}"
        links += [tag("a", piece, href=place), "/"]
    return tag("nav", *links[:-1], aria_label="path")


def _as_json(page: Page) -> Markup:
    path, mark, query = page.url.partition("?")
    kept = "&".join(part for part in query.split("&") if mark and part and not part.startswith("_format="))
    return tag("a", "JSON", href=f"{page.base}{path}?{kept}{'&' if kept else ''}_format=json", class_="json")


def _content(page: Page) -> Markup:
    match page.body.get("type"):
        case "collection":
            return _collection(page)
        case "error":
            return join(tag("p", str(page.body.get("detail") or page.body.get("message") or "")), _fields(page.body))
        case _:
            return _resource(page)


def _collection(page: Page) -> Markup:
    body = page.body
    schema = page.find_schema(str(body.get("resourceType")))
    rows = body.get("data") or []
    columns = _columns(rows)
    return join(
        forms.filter_form(page.url, body, schema),
        tag("p", "There are none.") if not rows else _table(columns, rows, body),
        _pages(body.get("pagination")),
        forms.create_form(body, schema, page.find_schema),
    )


def _columns(rows: Sequence[Json]) -> list[str]:
    """Id, name and state, then as many plain fields as fit of which any row has one."""
    told = {name: None for row in rows for name, value in row.items() if _is_plain(value)}
    first = [name for name in _FIRST if name in told]
    rest = [name for name in told if name not in first and name not in _HIDDEN and not name.endswith("TS")]
    return [*first, *rest][:MAX_COLUMNS]


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, dict | list) and value != ""


def _table(columns: Sequence[str], rows: Sequence[Json], body: Json) -> Markup:
    heads = [tag("th", _sort_link(name, body), scope="col") for name in columns]
    lines = [
        tag("tr", *(tag("td", _link_to(row) if name == "id" else _value(row.get(name))) for name in columns))
        for row in rows
    ]
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines)), class_="wide")


def _sort_link(name: str, body: Json) -> str | Markup:
    url = (body.get("sortLinks") or {}).get(name)
    if url is None:
        return name
    sort = body.get("sort") or {}
    if sort.get("name") != name:
        return tag("a", name, href=url)
    is_up = sort.get("order") != "desc"
    return tag("a", f"{name} {'▲' if is_up else '▼'}", href=f"{url}&order={'desc' if is_up else 'asc'}")


def _link_to(row: Json) -> str | Markup:
    url, text = (row.get("links") or {}).get("self"), str(row.get("id") or "")
    return tag("a", text, href=url) if url else text


def _pages(pagination: Json | None) -> Markup:
    names = [name for name in ("first", "previous", "next") if (pagination or {}).get(name)]
    if not names or pagination is None:
        return EMPTY
    return tag("nav", *(tag("a", name, href=pagination[name], rel=name) for name in names), class_="pages")


def _resource(page: Page) -> Markup:
    body = page.body
    schema = page.find_schema(str(body.get("type")))
    return join(
        _fields(body),
        _links(body.get("links") or {}),
        forms.action_forms(body, schema, page.find_schema),
        forms.edit_form(body, schema, page.find_schema),
        forms.delete_form(body, schema),
    )


def _fields(body: Json) -> Markup:
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", _value(value)))
        for name, value in body.items()
        if name not in ("links", "actions")
    ]
    return tag("div", tag("table", *rows, class_="fields"), class_="wide")


def _links(links: Json) -> Markup:
    items = [tag("li", tag("a", name, href=str(url))) for name, url in links.items() if url]
    return join(tag("h2", "Links"), tag("ul", *items, class_="links")) if items else EMPTY


def _value(value: Any) -> str | Markup:
    if value is None:
        return tag("span", "null", class_="null")
    if isinstance(value, dict | list):
        return tag("pre", msgspec.json.format(msgspec.json.encode(value)).decode()) if value else str(value)
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
