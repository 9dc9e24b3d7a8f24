"""This member's part in elections: its term and vote, who has voted for it, and how long it waits for what.

Never changes role, never sends: core does both, and asks here what to say and whether a question was answered by
enough.  Section numbers are those of Ongaro's dissertation.
"""

from math import inf
from random import Random

from protocol.ids import NodeId, Term
from protocol.raft.log import Log
from protocol.raft.messages import PreVoteRequest, VoteReply, VoteRequest
from protocol.raft.quorum import has_quorum
from protocol.raft.vocabulary import HardState, Timing


class Election:
    """The only owner of the term and of the vote in it."""

    def __init__(self, me: NodeId, hard: HardState, log: Log, *, timing: Timing, rng: Random) -> None:
        self._me = me
        self._hard = self._saved = hard
        self._log = log
        self._timing = timing
        self._rng = rng
        self._votes: set[NodeId] = set()
        """Who has granted what was asked last."""
        self._heard_at = -inf
        """When the leader was heard."""

    @property
    def term(self) -> Term:
        return self._hard.term

    @property
    def may_campaign(self) -> bool:
        # 4.2.2: a voter whose removal is not known to be committed may still be needed to commit it.
        return any(self._me in config.voters for config in self._log.possible_configs)

    def take_hard(self) -> HardState | None:
        """Hand over term and vote if they are to be saved."""
        hard = self._hard if self._hard != self._saved else None
        self._saved = self._hard
        return hard

    def enter(self, term: Term) -> None:
        """Go on in a later term, in which nobody has our vote yet."""
        if term > self.term:
            self._hard = HardState(term)

    # Waiting.

    def patience_end(self, now: float) -> float:
        """3.4: until when to wait for a leader to be heard."""
        return now + self._timing.election_timeout + self._rng.random() * self._timing.election_spread

    def campaign_end(self, now: float) -> float:
        """Return until when to wait for votes."""
        # Asking anew begins with a question that disturbs nobody, so it need not wait as long as a follower does.
        return now + self._timing.election_timeout / 2 + self._rng.random() * self._timing.election_spread

    def retry_at(self, now: float) -> float:
        """3.4: the vote is split, or lost. If the others do not suffice, do not wait long to ask anew."""
        return now + self._timing.election_timeout / 4 * (1 + self._rng.random())

    def hears_leader(self, now: float) -> bool:
        """4.2.3: whether the leader was heard a moment ago."""
        return now - self._heard_at < self._timing.election_timeout

    def note_heard(self, leader: NodeId, now: float) -> None:
        """Somebody leads our term."""
        self._heard_at = now
        if self._hard.vote is None:
            # 3.4: nobody else can win this term, so the vote is as good as given.  If our disk was wiped, we may have
            # given it before.
            self._hard = HardState(self.term, leader)

    def note_lost(self, now: float) -> float:
        """The link to the leader broke; return when to campaign."""
        self._heard_at = -inf
        return now + self._timing.lost_delay + self._rng.random() * self._timing.lost_spread

    # Votes for us.

    def ask(self) -> PreVoteRequest:
        """9.6: ask first, so that a member that cannot win does not raise the term of those that have a leader."""
        self._votes = {self._me}
        return PreVoteRequest(Term(self.term + 1), self._log.last_index, self._log.last_term)

    def stand(self, *, is_transfer: bool) -> VoteRequest:
        """Begin a term, and ask for the votes in it."""
        # 3.4: the vote for ourselves is part of the same durable write as the new term.  Two writes would let a
        # crash in between vote twice.
        self._hard = HardState(Term(self.term + 1), self._me)
        self._votes = {self._me}
        return VoteRequest(self.term, self._log.last_index, self._log.last_term, is_transfer)

    def count(self, voter: NodeId) -> bool:
        """Whether a majority has granted what was asked last, now that `voter` has too."""
        self._votes.add(voter)
        return has_quorum(self._log.config, self._votes)

    # Votes for others.

    def answer_pre_vote(self, request: PreVoteRequest) -> VoteReply:
        """9.6: a promise changes nothing here: neither term, nor vote, nor timer."""
        granted = (
            request.term > self.term
            and not self._is_blank()
            and self._log.is_up_to_date(request.last_index, request.last_term)
        )
        return VoteReply(request.term if granted else self.term, granted, True)

    def answer_vote(self, sender: NodeId, request: VoteRequest) -> VoteReply:
        """3.4, 3.6.1: vote once a term, and for nobody whose log ends before ours."""
        # 4.1: whether the candidate is in our configuration does not matter: ours may be the older one.
        granted = (
            request.term == self.term
            and not self._is_blank()
            and self._hard.vote in (None, sender)
            and self._log.is_up_to_date(request.last_index, request.last_term)
        )
        if granted:
            self._hard = HardState(self.term, sender)
        return VoteReply(self.term, granted, False)

    def _is_blank(self) -> bool:
        """4.2.1: a voter was a learner first, and has a log: whoever has none is new, or was a voter and was wiped."""
        return self._log.last_index == 0
