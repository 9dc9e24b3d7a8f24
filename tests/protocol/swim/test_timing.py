"""The timing profile."""

from protocol.swim import SwimTiming


def test_shortest_suspicion_grows_with_the_logarithm_beyond_ten_members() -> None:
    timing = SwimTiming(probe_interval=1.0, suspicion_multiplier=4)
    assert [timing.shortest_suspicion(n) for n in (0, 1, 10, 100, 1000)] == [4.0, 4.0, 4.0, 6.0, 8.0]
