"""Collections: filters with every modifier, order, pages, includes, and removed rows."""

import pytest

from node.api.listing import is_like
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client, make_service, make_stack


async def filled() -> Client:
    """Services web (scale 1), api (scale 2) and db (scale 3, described) in two stacks."""
    client = Client(FakeReplica(open_access=True))
    first, second = await make_stack(client, "one"), await make_stack(client, "two")
    await make_service(client, first, "web")
    await make_service(client, first, "api", scale=2)
    await make_service(client, second, "db", scale=3, description="Data_base 100%")
    return client


async def names(client: Client, query: str) -> list[str]:
    return [row["name"] for row in (await client.get(f"/v1/services?{query}")).data]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=web", ["web"]),
        ("name_eq=web", ["web"]),
        ("name_ne=web", ["api", "db"]),
        ("name_prefix=a", ["api"]),
        ("name_like=%25b%25", ["web", "db"]),
        ("name_notlike=%25b", ["api"]),
        ("description_null=%3Cnil%3E", ["web", "api"]),
        ("description_notnull=", ["db"]),
        ("id=1s2", ["api"]),
        ("id_gt=1s1", ["api", "db"]),
        ("id_gte=1s2", ["api", "db"]),
        ("id_lt=1s2", ["web"]),
        ("id_lte=1s2", ["web", "api"]),
        ("environmentId=1e1", ["web", "api"]),
        ("environmentId=1e2&name=web", []),
        ("environmentId=nonsense", []),
        ("environmentId=7", []),
        ("name_ne=web&name_ne=api", ["db"]),
        ("nonsense=1&name_wild=2", ["web", "api", "db"]),
        ("state=inactive", ["web", "api", "db"]),
        ("state=active", []),
        ("removed_null=%3Cnil%3E", ["web", "api", "db"]),
        ("created_gte=2016-04-12T06:00:00Z", ["web", "api", "db"]),
        ("created_lt=1460440800000", []),
        ("created_lt=nonsense", []),
        ("created_lt=0001-01-01T00:00:00", []),
        ("sort=name", ["api", "db", "web"]),
        ("sort=name&order=desc", ["web", "db", "api"]),
        ("sort=id&order=desc", ["db", "api", "web"]),
        ("sort=nonsense", ["web", "api", "db"]),
        ("limit=2", ["web", "api"]),
        ("limit=2&marker=m2", ["db"]),
        ("limit=0", ["web", "api", "db"]),
        ("limit=-1", ["web", "api", "db"]),
        ("limit=99999999", ["web", "api", "db"]),
        ("limit=x&marker=y", ["web", "api", "db"]),
        ("marker=m999", []),
    ],
)
async def test_query_chooses_rows(query: str, expected: list[str]) -> None:
    assert await names(await filled(), query) == expected


async def test_collection_tells_its_filters_sort_and_pages() -> None:
    client = await filled()
    body = (await client.get("/v1/services?name_prefix=&sort=name&limit=2")).body
    assert list(body) == [
        "type", "resourceType", "links", "createTypes", "actions", "data", "sortLinks", "pagination", "sort",
        "filters", "createDefaults",
    ]  # fmt: skip
    assert (body["resourceType"], body["links"]) == ("service", {"self": f"{BASE}/v1/services"})
    assert body["filters"]["name"] == [{"value": "", "modifier": "prefix"}]
    assert body["filters"]["state"] is None
    assert body["sortLinks"]["name"] == f"{BASE}/v1/services?sort=name"
    assert (body["sort"]["name"], body["sort"]["order"]) == ("name", "asc")
    assert "order=desc" in body["sort"]["reverse"]
    pages = body["pagination"]
    assert list(pages) == ["first", "previous", "next", "limit", "total", "partial"]
    assert (pages["first"], pages["previous"], pages["limit"], pages["total"], pages["partial"]) == (
        None, None, 2, None, True,
    )  # fmt: skip
    last = (await client.get(pages["next"])).body
    assert [row["name"] for row in last["data"]] == ["web"]
    assert last["pagination"]["next"] is None
    first = (await client.get(last["pagination"]["first"])).body
    assert [row["name"] for row in first["data"]] == ["api", "db"]


async def test_include_embeds_linked_resources() -> None:
    client = await filled()
    body = (await client.get("/v1/services/1s1?include=environment&include=instances&include=nonsense")).body
    assert body["environment"]["name"] == "one"
    assert body["instances"] == []
    [stack, _] = (await client.get("/v1/environments?include=services")).data
    assert [row["name"] for row in stack["services"]] == ["web", "api"]


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("abc", "%", True),
        ("abc", "a%", True),
        ("abc", "%c", True),
        ("abc", "a%c", True),
        ("abc", "ABC", True),
        ("abc", "a_c", True),
        ("abc", "a_", False),
        ("ab", "ab%ab", False),
        ("abab", "ab%ab", True),
        ("abxcdx", "%b%d%", True),
        ("abx", "%b%d%", False),
        ("", "%%", True),
        ("a.c", "abc", False),
    ],
)
def test_like_is_sqls(text: str, pattern: str, expected: bool) -> None:
    assert is_like(text, pattern) == expected


async def test_like_stays_fast_for_a_hostile_pattern() -> None:
    assert not is_like("a" * 1000, "%a" * 400 + "b")
