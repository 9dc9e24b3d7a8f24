"""What people type and programs send: an answer that says what is wrong, an exit code, and nothing changed."""

import json

import pytest

from scripts.lightlib.cluster import LightCluster, LightNode, Ran, run_node
from tests.light.conftest import says, unchanged

STACKS = "/v1/projects/1a5/environments"
SERVICES = "/v1/projects/1a5/services"


@pytest.fixture(scope="module")
def node(cluster: LightCluster) -> LightNode:
    node = cluster.nodes[0]
    assert node.ask("POST", STACKS, {"name": "web"}).status == 201
    return node


def cli(node: LightNode, *words: str) -> Ran:
    return run_node(*words, "--socket", str(node.run / "api.sock"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stack", "inspect", "wbe"), "wbe"),
        (("stack", "rm", "nothing"), "nothing"),
        (("service", "create", "wbe/nginx", "nginx"), "--create-stack"),
        (("service", "inspect", "web/ngnix"), "ngnix"),
        (("service", "scale", "web/nothing=3"), "nothing"),
        (("service", "rm", "web/nothing"), "nothing"),
        (("container", "inspect", "nothing"), "nothing"),
        (("host", "inspect", "h9"), "h9"),
        (("host", "deactivate", "h9"), "h9"),
        (("token", "create", "--environment", "nowhere"), "nowhere"),
        (("service", "ls", "--environment", "nowhere"), "nowhere"),
    ],
)
def test_name_that_nothing_has_is_named_with_what_to_try(node: LightNode, words: tuple[str, ...], said: str) -> None:
    with unchanged(node):
        says(cli(node, *words), 1, said, "error:", "try:")


@pytest.mark.parametrize(
    "words",
    [
        ("stack", "create", "my_stack"),
        ("stack", "create", "-"),
        ("stack", "create", "x" * 64),
        ("stack", "create", "höh"),
        ("stack", "create", "a b"),
        ("stack", "create", ""),
        ("service", "create", "web/a_b", "nginx"),
        ("service", "create", "web", "nginx"),
        ("service", "create", "web/", "nginx"),
        ("service", "create", "web/ok", ""),
        ("service", "create", "web/ok", "nginx", "--scale", "-1"),
        ("service", "create", "web/ok", "nginx", "--port", "99999:80"),
        ("service", "create", "web/ok", "nginx", "--port", "eighty"),
        ("service", "scale", "web/nginx=many"),
        ("service", "scale", "web/nginx"),
        ("env", "create", "x" * 300),
    ],
)
def test_word_that_cannot_be_is_refused(node: LightNode, words: tuple[str, ...]) -> None:
    with unchanged(node):
        ran = cli(node, *words)
        assert ran.code in (1, 2), ran
        says(ran, ran.code)
        assert ran.err.strip()


BROKEN = {
    "empty": (b"", 400),
    "cut": (b'{"name": "x', 400),
    "no object": (b"[1, 2]", 400),
    "a number": (b"12", 400),
    "twice": (b'{"name": "x"}{"name": "y"}', 400),
    "no UTF-8": (b'{"name": "\xff\xfe"}', 400),
    "half a surrogate": (b'{"name": "\\ud800"}', 400),
    "a null": (b'{"name": "a\\u0000b"}', 422),
    "too deep": (b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deep objects": (b'{"name":' * 50_000 + b"1" + b"}" * 50_000, 400),
    "not a number": (b'{"name": "x", "x": NaN}', 400),
    "too large": (b'{"name": "' + b"x" * (2 * 1024 * 1024) + b'"}', 413),
    "a long number": (b'{"name": ' + b"9" * 10_000 + b"}", 400),
    "a name of another type": (b'{"name": {"a": 1}}', 422),
    "no name": (b"{}", 422),
    "a bad name": (b'{"name": "a_b"}', 422),
    "an empty name": (b'{"name": ""}', 422),
}


@pytest.mark.parametrize("what", BROKEN)
def test_body_that_cannot_be_read_is_refused_in_the_api_s_own_words(node: LightNode, what: str) -> None:
    body, status = BROKEN[what]
    with unchanged(node):
        try:
            answer = node.ask("POST", STACKS, body)
        except OSError:
            # Of what is too large the rest need not be read; the answer may be lost to a client that goes on writing.
            assert what == "too large"
            return
    assert answer.status == status or (400 <= answer.status < 500 and status == 400), answer
    assert answer.body["type"] == "error"
    assert answer.body["code"]
    assert answer.body["status"] == answer.status


def test_service_with_impossible_fields_is_refused_by_the_field(node: LightNode) -> None:
    stack = node.ask("GET", f"{STACKS}?name=web").body["data"][0]["id"]
    launch = {"imageUuid": "docker:nginx"}
    bad: list[tuple[dict[str, object], str]] = [
        ({"scale": -1}, "scale"),
        ({"scale": "three"}, "scale"),
        ({"scale": 10**12}, "scale"),
        ({"environmentId": "1e99999"}, "environmentId"),
        ({"environmentId": "nonsense"}, "environmentId"),
        ({"launchConfig": "x"}, "launchConfig"),
        ({"name": "UPPER_case!"}, "name"),
    ]
    for change, field in bad:
        with unchanged(node):
            body: dict[str, object] = {"name": "svc", "environmentId": stack, "launchConfig": launch, **change}
            answer = node.ask("POST", SERVICES, json.dumps(body).encode())
            assert answer.status == 422, (change, answer)
            assert answer.body["fieldName"] == field, (change, answer)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/projects/1a5/nothing", "/v1/services/1s999", "/v1/projects/1a99"])
def test_path_that_is_none_is_not_found(node: LightNode, path: str) -> None:
    answer = node.ask("GET", path)
    assert answer.status == 404
    assert answer.body["type"] == "error"
