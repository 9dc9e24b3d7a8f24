"""How well this host itself is doing: a member that hears badly doubts itself before it accuses others.

Rules: Lifeguard (arXiv 1707.00788), Local Health Multiplier.
"""

from typing import Final

MAX_SCORE: Final = 8


class LocalHealth:
    """A score from 0, well, to MAX_SCORE; probe spans grow with it."""

    __slots__ = ("score",)

    def __init__(self) -> None:
        self.score = 0

    def worsen(self, by: int) -> None:
        """Note signs that it is we who do not hear: unanswered probes without nacks, suspicions of ourselves."""
        self.score = min(MAX_SCORE, self.score + by)

    def improve(self) -> None:
        """Note that a probe was answered."""
        self.score = max(0, self.score - 1)

    def stretch(self, span: float) -> float:
        """Return `span` as this host should apply it."""
        return span * (self.score + 1)
