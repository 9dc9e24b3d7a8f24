"""Pages for browsers (API.md 1.1): when they are given, what is on them, and that nothing hostile gets into them."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest

from node.api.explorer import Page, render_page
from node.api.http import Response
from node.api.markup import Markup, join, tag
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client, make_service, make_stack
from tests.node.api.test_conventions import FIREFOX, header, opened

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)> '&amp; javascript:alert(3)"


class Reader(HTMLParser):
    """Collects elements with their attributes, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attributes)))

    def handle_data(self, text: str) -> None:
        self.text += text

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == name]


async def page(client: Client, path: str, headers: Mapping[str, str] = FIREFOX) -> Reader:
    response = await client.raw("GET", path, headers=headers)
    assert header(response, "Content-Type") == "text/html; charset=utf-8", response
    return Reader(response.body.decode())


@pytest.mark.parametrize(
    ("query", "headers", "is_html"),
    [
        ("", FIREFOX, True),
        ("", {"User-Agent": "mozilla", "Accept": "*/*"}, True),
        ("", {"User-Agent": "Mozilla/5.0"}, True),
        ("", {"User-Agent": "Mozilla/5.0", "Accept": "application/json"}, False),
        ("", {"User-Agent": "Mozilla/5.0", "Accept": "application/json, text/plain, */*"}, False),
        ("", {"User-Agent": "curl/7.88", "Accept": "*/*"}, False),
        ("", {"User-Agent": "curl/7.88", "Accept": "text/html"}, False),
        ("?_format=json", FIREFOX, False),
        ("?_format=html", {"User-Agent": "curl/7.88"}, True),
        ("?_format=other", FIREFOX, True),
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1", "/v1/services", "/v1/services/1s404"])
async def test_browser_gets_a_page_and_others_get_json(
    path: str, query: str, headers: dict[str, str], is_html: bool
) -> None:
    response = await opened().raw("GET", path + query, headers=headers)
    kind = "text/html" if is_html else "application/json"
    assert (header(response, "Content-Type") or "").startswith(kind)
    assert header(response, "X-API-Schemas") == f"{BASE}/v1/schemas"


async def test_page_allows_scripts_of_ours_only() -> None:
    response = await opened().raw("GET", "/v1", headers=FIREFOX)
    policy = header(response, "Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    read = Reader(response.body.decode())
    assert [script.get("src") for script in read.all("script")] == ["/static/explorer.js"]
    assert not [name for name, attributes in read.found if name == "style" or "style" in attributes]
    assert not [key for _, attributes in read.found for key in attributes if key.startswith("on")]


@pytest.mark.parametrize(("name", "kind"), [("explorer.css", "text/css"), ("explorer.js", "text/javascript")])
async def test_style_and_script_are_served_to_anybody(name: str, kind: str) -> None:
    response = await Client(FakeReplica()).raw("GET", f"/static/{name}")
    assert response.status == 200
    assert (header(response, "Content-Type") or "").startswith(kind)
    assert b"http" not in response.body.replace(b"https://developer", b"")


@pytest.mark.parametrize("path", ["/static/", "/static/../api.py", "/static/%2e%2e/api.py", "/static/explorer.css/x"])
async def test_nothing_else_is_served_as_a_file(path: str) -> None:
    assert (await Client(FakeReplica(open_access=True)).raw("GET", path)).status == 404


async def test_collection_is_a_table_with_links_sorting_and_filters() -> None:
    client = opened()
    stack = await make_stack(client)
    read = await page(client, "/v1/environments?sort=name&name_like=&state=")
    links = [link["href"] for link in read.all("a")]
    assert stack["links"]["self"] in links
    assert any("sort=name&order=desc" in str(link) for link in links)
    assert "nginx-app-stack" in read.text
    filters = next(form for form in read.all("form") if form.get("method") == "get")
    assert filters["action"] == "/v1/environments"
    assert {"name_like", "state"} <= {one.get("name") for one in (*read.all("input"), *read.all("select"))}
    create = next(form for form in read.all("form") if form.get("data-method") == "POST")
    assert create["data-url"] == f"{BASE}/v1/environments"


async def test_pages_of_a_long_list_are_linked() -> None:
    client = opened()
    for number in range(3):
        await make_stack(client, f"s{number}")
    read = await page(client, "/v1/environments?limit=2")
    assert [link["href"] for link in read.all("a") if link.get("rel") == "next"] == [
        f"{BASE}/v1/environments?limit=2&marker=m2"
    ]


async def test_resource_shows_fields_links_and_a_form_for_each_action_it_offers() -> None:
    client = opened()
    service = await make_service(client, await make_stack(client))
    read = await page(client, f"/v1/services/{service['id']}")
    hrefs = {link.get("href") for link in read.all("a")}
    assert set(service["links"].values()) <= hrefs
    sent = {(form.get("data-method"), form.get("data-url")) for form in read.all("form")}
    assert {("POST", url) for url in service["actions"].values()} <= sent
    self_url = service["links"]["self"]
    assert {("PUT", self_url), ("DELETE", self_url)} <= sent
    assert "docker:nginx:1.8-alpine" in read.text


async def test_every_resource_type_and_the_root_have_a_page() -> None:
    client = opened()
    await make_service(client, await make_stack(client))
    for url in ("/", "/v1", "/v1/schemas/service", *(await client.get("/v1")).body["links"].values()):
        assert (await page(client, str(url))).all("h1"), url


async def test_error_is_a_page_that_says_what_was_wrong() -> None:
    read = await page(opened(), "/v1/services/1s404")
    assert "404 Not Found" in read.text
    assert "there is no service 1s404" in read.text
    refused = await Client(FakeReplica()).raw("GET", "/v1", headers=FIREFOX)
    assert refused.status == 401
    assert (header(refused, "WWW-Authenticate") or "").startswith("Basic")


async def test_open_mode_is_written_on_every_page() -> None:
    assert any(one.get("role") == "alert" for one in (await page(opened(), "/v1")).all("p"))
    closed = Client(FakeReplica(), is_local=True)
    assert not any(one.get("role") == "alert" for one in (await page(closed, "/v1")).all("p"))


def assert_harmless(text: str, hostile: bool = True) -> None:
    read = Reader(text)
    assert len(read.all("script")) == 1
    assert not read.all("img")
    assert not [key for _, attributes in read.found for key in attributes if key.startswith("on")]
    for link in read.all("a"):
        assert str(link["href"]).startswith(("http://", "https://")), link
    if hostile:
        assert "alert(1)" in read.text


async def test_hostile_names_do_not_become_markup() -> None:
    client = opened()
    stack = await make_stack(client)
    await client.put(f"/v1/environments/{stack['id']}", {"description": HOSTILE})
    launch = {"labels": {HOSTILE: HOSTILE}, "environment": {"A": HOSTILE}, "command": [HOSTILE]}
    service = await make_service(client, stack, description=HOSTILE, metadata={"x": HOSTILE}, launchConfig=launch)
    for path in ("/v1/environments", "/v1/services", f"/v1/services/{service['id']}"):
        response = await client.raw("GET", path, headers=FIREFOX)
        assert_harmless(response.body.decode())


@pytest.mark.parametrize(
    "path", ["/v1/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/v1/services?name_like=%22%3E%3Cscript%3Ealert(1)"]
)
async def test_hostile_urls_do_not_become_markup(path: str) -> None:
    response = await opened().raw("GET", path, headers={**FIREFOX, "X-Forwarded-Host": '"><script>'})
    assert_harmless(response.body.decode(), hostile=False)


@pytest.mark.parametrize("kind", ["collection", "error", "service", HOSTILE])
def test_every_text_of_a_body_is_escaped_wherever_it_stands(kind: str) -> None:
    row = {"id": HOSTILE, "type": HOSTILE, "name": HOSTILE, HOSTILE: HOSTILE, "list": [HOSTILE], "links": {}}
    body: dict[str, Any] = {
        **row, "type": kind, "resourceType": HOSTILE, "data": [row], "detail": HOSTILE, "status": 400, "code": HOSTILE,
        "links": {"self": f"http://h/{HOSTILE}", HOSTILE: f"http://h/{HOSTILE}"},
        "actions": {HOSTILE: f"http://h/{HOSTILE}"},
        "pagination": {"next": f"http://h/{HOSTILE}"}, "sortLinks": {"id": f"http://h/{HOSTILE}"},
        "filters": {HOSTILE: [{"value": HOSTILE, "modifier": "eq"}]},
    }  # fmt: skip
    field = {"type": HOSTILE, "create": True, "update": True, "default": HOSTILE, "options": [HOSTILE]}
    schema = {
        "id": HOSTILE, "resourceFields": {HOSTILE: field, "more": {**field, "options": None}},
        "collectionMethods": ["POST"], "resourceMethods": ["PUT", "DELETE"],
        "collectionFilters": {HOSTILE: {"modifiers": ["like"]}}, "resourceActions": {HOSTILE: {"input": HOSTILE}},
    }  # fmt: skip
    shown = Page("http://h", f"/v1/{HOSTILE}?{HOSTILE}", body, lambda name: schema, HOSTILE)
    assert_harmless(render_page(shown, 200, ()).body.decode())


def test_tag_escapes_what_is_no_markup() -> None:
    assert tag("a", "<b>", tag("i", "x"), href='"&') == '<a href="&quot;&amp;">&lt;b&gt;<i>x</i></a>'
    assert tag("input", value=None, disabled=True, data_x="1", class_="c") == '<input disabled data-x="1" class="c">'
    assert join(Markup("<b>") + "<i>") == "&lt;b&gt;&lt;i&gt;"


async def test_page_carries_no_answer_of_a_secret_in_its_url() -> None:
    response: Response = await opened().raw("GET", "/v1/apikeys", headers=FIREFOX)
    assert header(response, "Referrer-Policy") == "no-referrer"
    assert header(response, "Cache-Control") == "no-store"
    assert not re.search(r"token=", response.body.decode())
