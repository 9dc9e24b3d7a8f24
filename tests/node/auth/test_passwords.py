"""Passwords: hashed with the costs chosen, compared in the same work for everybody, at most two at once."""

import pytest
import trio
from argon2 import PasswordHasher, extract_parameters

from node.auth import passwords
from node.auth.passwords import MAX_PASSWORD_CHARS, Passwords, TooManyWaiting, Verdict


async def test_right_password_is_told_from_a_wrong_one() -> None:
    checker = Passwords()
    stored = await checker.hash("correct horse")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "correct horse" not in stored
    assert await checker.verify(stored, "correct horse") == Verdict(True)
    assert await checker.verify(stored, "wrong") == Verdict(False)
    assert await checker.verify(stored, "x" * (MAX_PASSWORD_CHARS + 1)) == Verdict(False)


async def test_unknown_account_costs_what_a_wrong_password_does() -> None:
    """Equal parameters are equal work: a clock would tell less, and not always the same."""
    nobody, somebody = extract_parameters(passwords._NOBODYS), extract_parameters(await Passwords().hash("x"))
    assert nobody == somebody
    assert await Passwords().verify(None, "x") == Verdict(False)


async def test_hash_with_other_costs_is_understood_and_to_be_renewed() -> None:
    stored = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("x")
    assert await Passwords().verify(stored, "x") == Verdict(True, is_old=True)


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$bad"])
async def test_what_is_no_hash_matches_nothing(stored: str) -> None:
    assert await Passwords().verify(stored, stored) == Verdict(False)


async def test_waiting_ones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING", 2)
    checker, refused = Passwords(), 0

    async def one() -> None:
        nonlocal refused
        try:
            await checker.hash("x")
        except TooManyWaiting:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)
    assert refused == 3
    assert await checker.hash("x")
