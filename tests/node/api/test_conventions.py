"""API.md 1.1, paragraph by paragraph: headers, URLs, spellings, browsers, overrides, bodies, CSRF."""

from typing import Any

import pytest

from node.api.http import Response
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client, make_service, make_stack

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SCRIPT = {"User-Agent": "Mozilla/5.0", "Accept": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def opened() -> Client:
    return Client(FakeReplica(open_access=True))


def header(response: Response, name: str) -> str | None:
    return dict(response.headers).get(name)


def cookie_in(response: Response) -> str:
    return (header(response, "Set-Cookie") or "").partition(";")[0].partition("=")[2]


# 1.1, first paragraph: what every response carries.


@pytest.mark.parametrize(
    ("path", "schemas"),
    [
        ("/", f"{BASE}/v1/schemas"),
        ("/v1", f"{BASE}/v1/schemas"),
        ("/v1/services", f"{BASE}/v1/schemas"),
        ("/v1/projects/1a5", f"{BASE}/v1/schemas"),
        ("/v1/projects/1a5/services", f"{BASE}/v1/projects/1a5/schemas"),
        ("/v1/projects/1a5/schemas", f"{BASE}/v1/projects/1a5/schemas"),
        ("/v1/services/1s404", f"{BASE}/v1/schemas"),
    ],
)
async def test_answer_carries_the_headers_of_1_1(path: str, schemas: str) -> None:
    response = await opened().raw("GET", path)
    assert header(response, "X-API-Schemas") == schemas
    assert header(response, "X-API-Account-Id") == ("1a5" if "/1a5/" in path else "1a1")
    assert header(response, "X-API-Client-IP") == "192.0.2.9"
    assert header(response, "Content-Type") == "application/json; charset=utf-8"


async def test_error_before_anybody_is_known_names_schemas_and_client_too() -> None:
    response = await Client(FakeReplica()).raw("GET", "/v1/services")
    assert response.status == 401
    assert header(response, "X-API-Schemas") == f"{BASE}/v1/schemas"
    assert header(response, "X-API-Client-IP") == "192.0.2.9"


# 1.1, second paragraph: the base of URLs.


@pytest.mark.parametrize(
    ("sent", "base"),
    [
        ({"X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "c.example:8443"}, "https://c.example:8443"),
        ({"X-Forwarded-Port": "0"}, BASE),
        ({"X-Forwarded-Port": "99999"}, BASE),
        ({"X-Forwarded-Port": "80\r\nX: y"}, BASE),
        ({"X-Forwarded-Host": "c.example:99999"}, BASE),
        ({"X-Forwarded-Host": "c.example\r\nSet-Cookie: a=b"}, BASE),
        ({"X-Forwarded-Host": "c.example/path"}, BASE),
        ({"X-Forwarded-Host": "user@c.example"}, BASE),
        ({"X-Forwarded-Host": "[2001:db8::1]:8080"}, "http://[2001:db8::1]:8080"),
        ({"X-Forwarded-Host": '"><script>'}, BASE),
        ({"Host": "ill host", "X-Forwarded-Host": "also ill"}, "http://localhost"),
    ],
)
async def test_url_base_is_as_forwarded_unless_that_makes_no_sense(sent: dict[str, str], base: str) -> None:
    client = opened()
    response = await client.raw("GET", "/v1", headers=sent)
    assert header(response, "X-API-Schemas") == f"{base}/v1/schemas"


# 1.1, third and fourth paragraph: spellings of paths, and the URLs of actions.


async def test_both_spellings_of_a_path_lead_to_the_same() -> None:
    client = opened()
    service = await make_service(client, await make_stack(client))
    link = service["links"]["serviceExposeMaps"]
    assert link == f"{BASE}/v1/services/{service['id']}/serviceexposemaps"
    assert (await client.get(f"/v1/services/{service['id']}/serviceExposeMaps")).body["links"]["self"] == link
    for spelling in ("serviceExposeMaps", "serviceexposemaps", "serviceExposeMap", "SERVICEEXPOSEMAPS"):
        assert (await client.get(f"/v1/{spelling}")).body["links"]["self"] == f"{BASE}/v1/serviceexposemaps"
    assert service["actions"]["activate"] == f"{service['links']['self']}/?action=activate"


# 1.1, sixth paragraph: formats, overrides, and what a body may be.


async def test_method_can_be_overridden_in_the_query_and_in_a_form() -> None:
    client = opened()
    stack = await make_stack(client)
    url = f"/v1/environments/{stack['id']}"
    put = await client.raw("POST", f"{url}?_method=PUT", b'{"description":"one"}')
    assert put.status == 200
    put = await client.raw("POST", url, b"_method=put&description=two", FORM)
    assert put.status == 200
    assert (await client.get(url)).body["description"] == "two"
    assert (await client.raw("POST", f"{url}?_method=DELETE")).status == 200


async def test_method_of_a_read_is_never_overridden() -> None:
    client = opened()
    stack = await make_stack(client)
    assert (await client.raw("GET", f"/v1/environments/{stack['id']}?_method=DELETE")).status == 200
    assert (await client.get(f"/v1/environments/{stack['id']}")).body["state"] == "active"


@pytest.mark.parametrize(
    ("query", "body", "headers", "name"),
    [
        ("?name=query", b"{}", {}, "query"),
        ("?name=query", b'{"name":"body"}', {}, "body"),
        ("?name=query", b"null", {}, "query"),
        ("?name=query", b"", {}, "query"),
        ("?name=query", b"null", FORM, "query"),
        ("?name=query", b"name=form", FORM, "form"),
        ("", b"name=form&description=a+b%21", FORM, "form"),
        ("", b'{"name":"json-sent-as-form"}', FORM, "json-sent-as-form"),
    ],
)
async def test_query_and_form_are_merged_into_the_body_which_wins(
    query: str, body: bytes, headers: dict[str, str], name: str
) -> None:
    response = await opened().raw("POST", f"/v1/environments{query}", body, headers)
    assert response.status == 201
    assert f'"name":"{name}"'.encode() in response.body


@pytest.mark.parametrize("body", [b"{", b'{"a":}', b"[1]", b'"text"', b"{}x", b"\xff\xfe", b"[" * 5000])
async def test_broken_json_is_invalid_body_content(body: bytes) -> None:
    response = await opened().raw("POST", "/v1/environments", body)
    assert response.status == 400
    assert b'"code":"InvalidBodyContent"' in response.body


# 1.1, last paragraph: CSRF.


async def changed(client: Client, headers: dict[str, str], method: str = "POST") -> Any:
    return await client.ask(method, "/v1/environments", {"name": "csrf"}, headers)


async def test_browser_gets_a_csrf_cookie_once() -> None:
    client = opened()
    first = await client.raw("GET", "/v1", headers=SCRIPT)
    assert len(cookie_in(first)) == 20
    assert "HttpOnly" not in (header(first, "Set-Cookie") or "")
    again = await client.raw("GET", "/v1", headers={**SCRIPT, "Cookie": f"a=b; CSRF={cookie_in(first)}"})
    assert header(again, "Set-Cookie") is None
    assert header(await client.raw("GET", "/v1"), "Set-Cookie") is None
    secure = await client.raw("GET", "/v1", headers={**SCRIPT, "X-Forwarded-Proto": "https"})
    assert "; Secure" in (header(secure, "Set-Cookie") or "")


async def test_change_with_the_cookie_needs_the_header() -> None:
    client = opened()
    for headers in ({}, {"X-API-CSRF": "other"}, {"X-API-CSRF": ""}):
        refused = await changed(client, {"Cookie": "CSRF=0123456789ABCDEF0123", **headers})
        assert (refused.status, refused.body["code"]) == (403, "InvalidCSRFToken")
    good = {"Cookie": "CSRF=0123456789ABCDEF0123", "X-API-CSRF": "0123456789ABCDEF0123"}
    assert (await changed(client, good)).status == 201
    assert (await client.ask("GET", "/v1/environments", None, {"Cookie": "CSRF=1"})).status == 200


async def test_overridden_method_is_a_change_for_csrf_too() -> None:
    refused = await opened().raw("POST", "/v1/environments?_method=GET", b"", {"Cookie": "CSRF=1"})
    assert refused.status == 403


async def test_change_that_another_site_asks_for_is_refused_without_a_cookie_as_well() -> None:
    client = opened()
    assert (await changed(client, {**SCRIPT, "Origin": "http://evil.example"})).body["code"] == "InvalidCSRFToken"
    assert (await changed(client, {**SCRIPT, "Origin": "null"})).status == 403
    assert (await changed(client, {**SCRIPT, "Sec-Fetch-Site": "cross-site"})).status == 403
    assert (await changed(client, {**SCRIPT, "Origin": "https://h1:8080"})).status == 201


async def test_plain_client_is_not_affected_by_csrf() -> None:
    assert (await changed(opened(), {"User-Agent": "curl/7.88"})).status == 201


@pytest.mark.parametrize("path", ["/v1/../v1", "/v1/services/../services", "/v1/services/1s1%2F..%2F..", "/v1/%2e%2e"])
async def test_path_tricks_find_nothing(path: str) -> None:
    response = await opened().raw("GET", path)
    assert response.status == 404


async def test_line_break_in_a_path_stays_inside_the_body() -> None:
    response = await opened().raw("GET", "/v1/services/%0d%0aX-Evil:%201")
    assert response.status == 404
    assert not any("\r" in value or "\n" in value for _, value in response.headers)
