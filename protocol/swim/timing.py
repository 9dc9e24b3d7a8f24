"""The spans and counts of the failure detector: memberlist's LAN profile, tightened to notice the dead in 3 to 4 s."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SwimTiming:
    """All spans in seconds. Members of one group should agree on them, but nothing breaks if they do not."""

    probe_interval: float = 0.5
    probe_timeout: float = 0.2
    """How long a direct ack may take before others are asked to try."""
    indirect_probes: int = 3
    gossip_interval: float = 0.2
    gossip_fanout: int = 3
    retransmit_multiplier: int = 4
    suspicion_multiplier: int = 3
    max_suspicion_factor: int = 6
    """How much longer a suspicion lasts that nobody confirms."""
    confirmations: int = 2
    sync_interval: float = 30.0
    reconnect_interval: float = 10.0
    """How often somebody dead is contacted, so that a healed partition grows together."""
    join_retry_interval: float = 1.0
    gossip_to_dead_timeout: float = 30.0
    """How long the dead keep receiving gossip, so that those who are not learn of their death and refute it."""
    forget_timeout: float = 24 * 3600.0

    def shortest_suspicion(self, members: int) -> float:
        """Return how long a confirmed suspicion lasts in a group of so many.

        Grows half as fast as memberlist's: the accused is told directly, only its refutation has to spread.
        """
        scale = max(1.0, (1.0 + math.log10(max(1, members))) / 2)
        return self.suspicion_multiplier * scale * self.probe_interval
