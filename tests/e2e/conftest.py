"""One lab and one cluster for all end-to-end tests: h1 and h2 in dev, h3 in test, h4 a host that belongs to nobody."""

from collections.abc import Generator, Iterator

import pytest

from scripts.demolib.cluster import Cluster, check_program
from scripts.lablib import Lab, LabError
from tests.e2e.day import Day, live_through

LAB = "e2e"
LOG_LINES = 40


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every daemon's log with a failure: the lab is gone afterwards."""
    report = yield
    if report.failed and "e2e" in item.keywords:
        for log in sorted(Lab(LAB).layout.folder.glob("h*/log/node.log")):
            tail = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            report.sections.append((f"{log.parts[-3]}: the end of its daemon's log", "\n".join(tail)))
    return report
