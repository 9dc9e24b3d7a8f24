"""Whatever is asked, nothing is a 500: requests drawn from the API's own schemas, bent in every field."""

from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings, strategies as st

from node.api.definitions import DEFINITIONS
from tests.fakes.replica import FakeReplica
from tests.node.api.client import Client, make_service, make_stack
from tests.node.api.test_resources import add_container, admit, report

LAUNCH = {"ports": ["10086:80"], "dataVolumes": ["/srv:/srv:ro", "/cache"], "labels": {"tier": "front"}}
PLURALS = [definition.plural for definition in DEFINITIONS]
FIELDS = sorted({name for definition in DEFINITIONS for name in definition.fields})
LINKS = sorted({link.name for definition in DEFINITIONS for link in definition.links})
ACTIONS = sorted({action.name for definition in DEFINITIONS for action in definition.actions})
IDS = [
    "1a5",
    "1e1",
    "1s1",
    "1i1",
    "1h1",
    "1c1",
    "1sem1",
    "cluster",
    "v1",
    "1",
    "1s99999999999999",
    "%00",
    "é",
    "..",
    "",
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["docker:nginx", "10086:80", "1e1", "1h1", "x" * 5000, "\0", "managed", "http://a"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=10,
)
bodies = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6).map(msgspec.json.encode) | st.binary(max_size=40)
params = st.lists(
    st.tuples(
        st.sampled_from([*FIELDS, "limit", "marker", "sort", "order", "include", "action", "_method", "projectId"])
        | st.sampled_from(FIELDS).map(lambda name: f"{name}_like"),
        st.sampled_from([*ACTIONS, *LINKS, "1a5", "name", "m1", "-1", "%25", "2016-04-12T06:00:00Z", "9" * 30, "é"]),
    ),
    max_size=3,
)
paths = st.builds(
    lambda scope, parts: "/".join([scope, *parts]),
    st.sampled_from(["/v1", "/v1/projects/1a5", "", "/v2"]),
    st.tuples() | st.tuples(st.sampled_from(PLURALS)) | st.tuples(st.sampled_from(PLURALS), st.sampled_from(IDS))
    | st.tuples(st.sampled_from(PLURALS), st.sampled_from(IDS), st.sampled_from([*LINKS, "nonsense"])),
)  # fmt: skip
headers = st.dictionaries(
    st.sampled_from(["content-type", "x-api-project-id", "x-forwarded-host", "x-forwarded-port", "authorization"]),
    st.sampled_from(["application/x-www-form-urlencoded", "1a5", "h:80", "443", "Basic eDp5", "Basic ===", "é"]),
    max_size=2,
)


async def filled() -> tuple[FakeReplica, Client]:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    host = admit(replica)
    await make_service(client, await make_stack(client), startOnCreate=True, launchConfig=LAUNCH)
    report(replica, add_container(replica, 1, host), status="running", starts=1)
    await client.make("/v1/apikeys", {"name": "k"})
    await client.make("/v1/registrationtokens", {})
    return replica, client


def strict(body: bytes) -> Any:
    return msgspec.json.decode(body)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), paths, params, headers, bodies),
        min_size=1,
        max_size=4,
    )
)
def test_no_request_ends_in_a_500(
    requests: list[tuple[str, str, list[tuple[str, str]], dict[str, str], bytes]],
) -> None:
    async def play() -> None:
        _, client = await filled()
        for method, path, query, sent, body in requests:
            text = "&".join(f"{name}={value}" for name, value in query)
            response = await client.raw(method, f"{path}?{text}", b"" if method == "GET" else body, sent)
            assert 200 <= response.status < 500, (method, path, text, response.body)
            assert strict(response.body)["type"]

    trio.run(play)


@pytest.mark.parametrize("definition", [one for one in DEFINITIONS if one.rows is not None], ids=lambda one: one.id)
async def test_every_row_has_exactly_the_fields_of_its_schema(definition: Any) -> None:
    _, client = await filled()
    schemas = {schema["id"]: schema for schema in (await client.get("/v1/schemas")).body["data"]}
    for row in (await client.get(f"/v1/{definition.plural}")).data:
        fields = schemas[row["type"]]["resourceFields"]
        dates = {f"{name}TS" for name, spec in fields.items() if spec["type"] == "date"}
        assert row.keys() == {"id", "type", "links", "actions", *fields, *dates}
        for name, spec in fields.items():
            if spec["type"] == "enum" and row[name] is not None:
                assert row[name] in spec["options"], (name, row[name])
