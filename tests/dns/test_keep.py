"""The rules of dns.keep: what is kept comes back, what is broken is named and not used."""

from pathlib import Path

import pytest

from dns.keep import StateError, load_zone, save_zone
from tests.dns.questions import make_shop


def test_kept_zone_comes_back_with_its_reverse_names(tmp_path: Path) -> None:
    save_zone(tmp_path / "zone", make_shop(1))
    save_zone(tmp_path / "zone", make_shop(2))
    kept = load_zone(tmp_path / "zone")
    assert kept == make_shop(2)
    assert kept is not None
    assert kept.reverse == make_shop(2).reverse
    assert [path.name for path in tmp_path.iterdir()] == ["zone"]


def test_no_file_is_no_zone(tmp_path: Path) -> None:
    assert load_zone(tmp_path / "zone") is None


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda kept: kept[:-1], "checksum"),
        (lambda kept: kept[:40] + bytes((kept[40] ^ 1,)) + kept[41:], "checksum"),
        (lambda kept: b"", "does not start"),
        (lambda kept: b"#!/bin/sh", "does not start"),
    ],
)
def test_broken_file_is_named_and_not_used(tmp_path: Path, spoil: object, why: str) -> None:
    path = tmp_path / "zone"
    save_zone(path, make_shop())
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(StateError, match=why):
        load_zone(path)
