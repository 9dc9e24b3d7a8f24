"""What a leader tells people of the other members, and for how long."""

from dataclasses import replace

from trio.testing import MockClock

from node.drive.consensus import Consensus
from protocol.ids import Index
from protocol.raft.messages import make_config
from protocol.raft.vocabulary import ConfigChanged, Event, LogLost
from tests.fakes.consensus import ME, OTHER, leading_alone


def tell(consensus: Consensus, *events: Event) -> None:
    consensus.group.note_output(replace(consensus.raft.take_output(), events=events))


async def test_lost_log_is_an_alarm_until_the_voter_is_a_learner(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        tell(consensus, LogLost(OTHER, Index(9), Index(0)))
        assert "its disk was wiped" in " ".join(consensus.alarms)
        tell(consensus, ConfigChanged(make_config([ME], [OTHER]), Index(10), False))
        tell(consensus, ConfigChanged(make_config([ME, OTHER]), Index(10), True))
        assert consensus.alarms
        tell(consensus, ConfigChanged(make_config([ME], [OTHER]), Index(11), True))
        assert consensus.alarms == ()
