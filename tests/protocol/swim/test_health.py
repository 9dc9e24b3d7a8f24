"""Local health (Lifeguard)."""

from protocol.swim.health import MAX_SCORE, LocalHealth


def test_score_stays_between_well_and_worst() -> None:
    health = LocalHealth()
    health.improve()
    assert (health.score, health.stretch(0.5)) == (0, 0.5)
    health.worsen(3)
    assert health.stretch(0.5) == 2.0
    health.worsen(99)
    assert health.score == MAX_SCORE
