"""Clusters of daemons; tests share one where they leave it as they found it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.lightlib.cluster import LightCluster, LightNode, Ran


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this folder: real processes take longer than a minute."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.light)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightCluster]:
    """A cluster of one running host."""
    with LightCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.make(1)
        yield cluster


@pytest.fixture
def light(tmp_path: Path) -> Iterator[LightCluster]:
    """A cluster that the test makes and may break."""
    with LightCluster(tmp_path) as cluster:
        yield cluster


def picture(node: LightNode) -> dict[str, Any]:
    """Return what a person would look at to see whether anything changed."""
    kinds = ("hosts", "registrationtokens", "environments", "services", "containers", "apikeys")
    return {
        kind: [(row["id"], row["name"], row["state"]) for row in node.ask("GET", f"/v1/{kind}?limit=-1").body["data"]]
        for kind in kinds
    }


@contextmanager
def unchanged(node: LightNode, newcomer: LightNode | None = None) -> Iterator[None]:
    """Check that the cluster is the same afterwards, and that nothing was written for the newcomer."""
    before = picture(node)
    yield
    assert picture(node) == before
    if newcomer is not None:
        assert not newcomer.data.exists()
        assert not newcomer.run.exists()


def says(ran: Ran, code: int, *words: str) -> None:
    """Check how a command ended and that it says what was wrong and what to do, without a traceback."""
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    for each in words:
        assert each in ran.err, ran.err
