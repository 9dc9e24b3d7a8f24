"""Which process a command is that Docker tells the number of: never one outside of its container."""

from pathlib import Path

import pytest

from node.engine.streaming import find_process

CONTAINER = "c" * 64


def add(proc: Path, number: int, numbers: str, *, container: str = CONTAINER) -> None:
    folder = proc / str(number)
    folder.mkdir()
    (folder / "cgroup").write_text(f"4:pids:/docker/{container}\n")
    (folder / "status").write_text(f"Name:\tsleep\nNSpid:\t{numbers}\n")


@pytest.mark.parametrize(
    ("number", "numbers"),
    [(260, "260\t15"), (9000, "9000\t260\t15"), (260, "260"), (9000, "9000\t260")],
    ids=["as here", "docker counts apart", "no namespace of its own", "docker counts apart, none of its own"],
)
def test_process_is_found_where_it_is_of_the_container(tmp_path: Path, number: int, numbers: str) -> None:
    add(tmp_path, number, numbers)
    assert find_process(260, CONTAINER, tmp_path) == number
    assert find_process(261, CONTAINER, tmp_path) is None


def test_process_of_another_container_is_never_taken(tmp_path: Path) -> None:
    add(tmp_path, 260, "260\t15", container="d" * 64)
    assert find_process(260, CONTAINER, tmp_path) is None


def test_number_inside_the_container_is_not_taken_for_that_of_docker(tmp_path: Path) -> None:
    add(tmp_path, 300, "300\t260")
    add(tmp_path, 260, "260\t15")
    assert find_process(260, CONTAINER, tmp_path) == 260
