"""Paths, methods, parameters and bodies as requests bring them."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from node.api.errors import ApiError
from node.api.http import Request
from node.api.parse import Route, is_deeper, method_of, parse_body, parse_params, parse_route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", Route()),
        ("", Route()),
        ("/v1", Route("v1")),
        ("/v1/", Route("v1")),
        ("/v1/services", Route("v1", None, "services")),
        ("/v1/services/1s1/", Route("v1", None, "services", "1s1")),
        ("/v1/services/1s1/serviceexposemaps", Route("v1", None, "services", "1s1", "serviceexposemaps")),
        ("/v1/projects/1a5", Route("v1", None, "projects", "1a5")),
        ("/v1/projects/1a5/services", Route("v1", "1a5", "services")),
        ("/v1/projects/1a5/schemas", Route("v1", "1a5", "schemas")),
        ("/v1/projects/1a5/services/1s1/instances", Route("v1", "1a5", "services", "1s1", "instances")),
        ("/v1/projects/1a5/projectMembers", Route("v1", None, "projects", "1a5", "projectMembers")),
        ("/v1/projects/1a5/nonsense", Route("v1", None, "projects", "1a5", "nonsense")),
        ("/v1/services/%31s1", Route("v1", None, "services", "1s1")),
    ],
)
def test_path_is_taken_apart(path: str, route: Route) -> None:
    assert parse_route(path) == route


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2", "UnsupportedVersion"),
        ("/v2-beta/services", "UnsupportedVersion"),
        ("/x", "Not Found"),
        ("/v1//services", "Not Found"),
        ("/v1/a/b/c/d", "Not Found"),
    ],
)
def test_path_that_names_nothing_is_refused(path: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_route(path)
    assert caught.value.code == code
    assert caught.value.status == 404


def test_encoded_slashes_and_dots_stay_inside_their_segment() -> None:
    assert parse_route("/v1/services/..%2f..%2fetc").id == "../../etc"


def test_method_may_be_overridden_in_a_post_only() -> None:
    assert method_of(Request("POST", "/"), [("_method", "delete")]) == "DELETE"
    assert method_of(Request("GET", "/"), [("_method", "delete")]) == "GET"
    assert method_of(Request("HEAD", "/"), []) == "GET"
    with pytest.raises(ApiError) as caught:
        method_of(Request("PATCH", "/"), [])
    assert caught.value.status == 405


def test_body_wins_over_the_query() -> None:
    assert parse_body(Request("POST", "/", body=b'{"a":1}'), [("a", "2"), ("b", "3")]) == {"a": 1, "b": "3"}


def test_null_and_nothing_are_an_empty_object() -> None:
    assert parse_body(Request("POST", "/", body=b"null"), []) == {}
    assert parse_body(Request("POST", "/", body=b" \n"), []) == {}


def test_form_is_read_as_fields() -> None:
    headers = (("content-type", "application/x-www-form-urlencoded; charset=utf-8"),)
    json_body = Request("POST", "/", headers=headers, body=b' {"name":"a=b"}')
    assert parse_body(json_body, []) == {"name": "a=b"}
    body = Request("POST", "/", headers=headers, body=b"name=a+b&dns=1.1.1.1&dns=8.8.8.8")
    assert parse_body(body, []) == {"name": "a b", "dns": ["1.1.1.1", "8.8.8.8"]}


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"3", b'"x"', b"{'a':1}", b'{"a":"\xff"}', b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 100_000, b"\x00"],
)
def test_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(Request("POST", "/", body=body), [])
    assert (caught.value.status, caught.value.code) == (400, "InvalidBodyContent")


def test_query_has_a_bounded_number_of_parameters() -> None:
    with pytest.raises(ApiError):
        parse_params("&".join("a=1" for _ in range(300)))


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


nested = st.recursive(
    st.none() | st.text(alphabet='{}[]"\\a', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[}"', max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(nested, st.integers(min_value=0, max_value=6))
def test_depth_is_told_before_parsing_as_it_is(value: object, depth: int) -> None:
    assert is_deeper(json.dumps(value).encode(), depth) == (depth_of(value) > depth)
