"""Suspicion timeouts (Lifeguard, LHA-Suspicion)."""

import pytest

from protocol.ids import Incarnation
from protocol.swim.suspicion import Suspicion, suspicion_timeout
from tests.protocol.swim.builders import B, C, D, E


def test_timeout_falls_from_longest_to_shortest_as_others_confirm() -> None:
    spans = [suspicion_timeout(confirmed, 3, 2.0, 12.0) for confirmed in range(5)]
    assert spans[0] == 12.0
    assert spans[3] == spans[4] == 2.0
    assert spans == sorted(spans, reverse=True)
    assert spans[1] == pytest.approx(7.0), "half way at log 2 / log 4"


def test_suspicion_waits_for_nobody_when_nobody_is_left_to_confirm() -> None:
    assert Suspicion(Incarnation(0), B, 10.0).ends_at(0, 2.0, 12.0) == 12.0


def test_confirmation_counts_once_for_each_accuser() -> None:
    suspicion = Suspicion(Incarnation(0), B, 0.0)
    assert not suspicion.confirm(B, 2)
    assert suspicion.confirm(C, 2)
    assert not suspicion.confirm(C, 2)
    assert suspicion.ends_at(2, 2.0, 12.0) > 2.0
    assert suspicion.confirm(D, 2)
    assert suspicion.ends_at(2, 2.0, 12.0) == 2.0


def test_confirmations_beyond_enough_are_no_news() -> None:
    suspicion = Suspicion(Incarnation(0), B, 0.0)
    assert suspicion.confirm(C, 1)
    assert not suspicion.confirm(E, 1)
    assert suspicion.accuser == B


def test_hastened_suspicion_needs_no_confirmation() -> None:
    assert Suspicion(Incarnation(0), B, 0.0, hastened=True).ends_at(2, 2.0, 12.0) == 2.0
