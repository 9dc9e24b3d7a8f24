"""Which row is meant by a name, an id or the beginning of one."""

import pytest

from node.cli.errors import CliError
from node.cli.names import NoSuch, candidates_of, pick, service_candidates

STACKS = [{"id": "1e1", "name": "web"}, {"id": "1e2", "name": "shop"}]
SERVICES = [
    {"id": "1s1", "name": "nginx", "environmentId": "1e1"},
    {"id": "1s2", "name": "redis", "environmentId": "1e2"},
    {"id": "1s10", "name": "nginx", "environmentId": "1e2"},
    {"id": "1s3", "name": "old", "environmentId": "1e2", "state": "removed"},
]
FOUND = service_candidates(SERVICES, STACKS)


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("1s1", "1s1"), ("web/nginx", "1s1"), ("nginx.web", "1s1"), ("redis", "1s2"), ("red", "1s2"),
        ("shop/n", "1s10"), ("nginx.s", "1s10"), ("1s10", "1s10"),
    ],
)  # fmt: skip
def test_service_answers_to_its_names_its_id_and_their_beginnings(text: str, id_: str) -> None:
    assert pick(FOUND, text, "service").id == id_


@pytest.mark.parametrize("text", ["nginx", "n", "1s", "shop/"])
def test_text_that_fits_several_lists_them_and_picks_none(text: str) -> None:
    with pytest.raises(CliError) as caught:
        pick(FOUND, text, "service")
    assert "fits" in caught.value.message
    assert "shop/nginx (1s10)" in (caught.value.why or "")


def test_id_goes_before_a_name_that_looks_like_one() -> None:
    rows = candidates_of([{"id": "1e1", "name": "1e2"}, {"id": "1e2", "name": "other"}])
    assert pick(rows, "1e2", "stack").id == "1e2"


def test_removed_rows_answer_to_nothing() -> None:
    with pytest.raises(NoSuch):
        pick(FOUND, "shop/old", "service")


@pytest.mark.parametrize("text", ["", "nothing-like-it"])
def test_unknown_name_tells_what_there_is(text: str) -> None:
    with pytest.raises(NoSuch) as caught:
        pick(FOUND, text, "service", " in environment dev")
    assert "in environment dev" in caught.value.message
    assert "web/nginx, shop/redis" in (caught.value.why or "")


def test_unknown_name_among_none_says_that_there_is_none() -> None:
    with pytest.raises(NoSuch) as caught:
        pick([], "web", "stack")
    assert caught.value.why == "there is no stack yet"
