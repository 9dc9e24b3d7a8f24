"""One lab and one cluster for all end-to-end tests: h1 and h2 in dev, h3 in test, h4 a host that belongs to nobody."""

from collections.abc import Iterator

import pytest

from scripts.demolib.cluster import Cluster, check_program
from scripts.lablib import Lab, LabError
from tests.e2e.day import Day, live_through

LAB = "e2e"


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    made = Lab(LAB)
    try:
        made.down()
        made.up(4)
    except LabError as error:
        pytest.fail(f"no lab: {error}")
    check_program(made, "h1")
    yield made
    made.down()


@pytest.fixture(scope="package")
def day(lab: Lab) -> Day:
    return live_through(lab)


@pytest.fixture
def cluster(day: Day) -> Cluster:
    return day.cluster
