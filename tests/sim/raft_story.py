"""One life of a Raft group from one seed: it grows from a single host, suffers, and must work again once left alone.

Chooses faults, proposals and configuration changes; `tests/sim/raft_cluster.py` carries them out and checks safety.
"""

from functools import partial
from random import Random

from protocol.errors import ProtocolError
from protocol.ids import NodeId
from protocol.raft.core import Raft
from protocol.raft.messages import Config, make_config
from protocol.raft.vocabulary import Limits, Timing, bootstrap
from protocol.raft.voters import HostView, plan_voters
from tests.sim.raft_cluster import Cluster, Faults, node_id
from tests.sim.raft_parts import Member

TROUBLE = 15.0
"""Virtual seconds during which faults happen."""

RECOVERY = 12.0
"""Virtual seconds within which the group must lead, commit and agree after the last fault."""


def draw_timing(rng: Random) -> Timing:
    """Return usual timing, or a hasty one for many elections; with little spread, votes are often split."""
    if rng.random() < 0.5:
        return Timing()
    return Timing(
        election_timeout=0.3,
        election_spread=rng.choice([0.02, 0.2]),
        heartbeat_interval=0.05,
        lost_delay=0.01,
        lost_spread=rng.choice([0.0, 0.1]),
    )


def draw_limits(rng: Random) -> Limits:
    """Return small limits, so that every bound bites within seconds of virtual time."""
    keep, batch = rng.choice([0, 4, 30]), rng.choice([1, 4])
    return Limits(
        batch_bytes=64, batch_entries=batch, window=3, chunk_bytes=48, keep_entries=keep, uncommitted_entries=64
    )


class Story:
    """The group and those who trouble it."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.cluster = Cluster(seed, self.rng, draw_timing(self.rng), draw_limits(self.rng))
        for number in range(self.rng.choice([1, 2, 3, 3, 4, 5, 5, 5])):
            name = node_id("abcde"[number])
            self.cluster.add_host(name, bootstrap(name) if number == 0 else None)
        self._is_troubled = True
        self._spoils = self.rng.random() < 0.3
        self.cluster.on_lead = self._hasten
        self._crashes = self.rng.choice([0.0, 0.005, 0.02])
        self._all_vote = self.rng.random() < 0.5
        self._troubles = (
            *(self._kill, self._start_all, self._start_all, self._cut, self._cut_leader, self._heal, self._heal),
            *(self._storm, self._storm, self._change_weather, self._slow_down, self._break_link),
            *(self._transfer, self._transfer, self._strand_leader),
        )

    def run(self) -> None:
        """Live through it; raises SafetyBroken, or AssertionError if the group does not recover."""
        cluster = self.cluster
        self._every(0.06, 0.06, self._propose)
        self._every(0.02, 0.5, self._keep_members)
        self._every(0.05, self.rng.choice([0.3, 1.0]), self._trouble)
        self._every(0.1, self.rng.choice([0.3, 2.0]), self._make_snapshot)
        cluster.run_until(TROUBLE)
        self._end_trouble()
        cluster.run_until(TROUBLE + RECOVERY, self._is_settled)
        assert self._is_settled(), f"seed {cluster.check.seed}: no agreement within {RECOVERY} s after the last fault"
        for command, index in cluster.acknowledged.items():
            cluster.check.require(cluster.check.committed[index - 1].data == command, f"lost acknowledged {index}")

    def _every(self, shortest: float, spread: float, act: object) -> None:
        assert callable(act)

        def again() -> None:
            act()
            self.cluster.at(self.cluster.now + shortest + self.rng.random() * spread, again)

        self.cluster.at(self.rng.random() * spread, again)

    # Clients.

    def _propose(self) -> None:
        # Former leaders get proposals too: they must not acknowledge them.
        for member in list(self.cluster.members.values()):
            self.cluster.propose(member.name, self.rng.choice([6, 20, 90]))
            self.cluster.read(member.name)

    def _make_snapshot(self) -> None:
        self.cluster.make_snapshot(self.rng.choice(sorted(self.cluster.members)))

    # Whoever keeps the members.

    def _keep_members(self) -> None:
        # Former leaders are asked too: what they append must not last.
        for member in list(self.cluster.members.values()):
            if member.raft is not None and member.raft.is_leader:
                self.cluster.act_on(member.name, self._try_config)

    def _try_config(self, leader: Raft) -> None:
        config = self._next_config(leader)
        if config is None:
            return
        try:
            leader.propose_config(config, self.cluster.now)
            self.cluster.check.events["config"] += 1
        except ProtocolError as error:
            self.cluster.check.events[type(error).__name__] += 1

    def _hasten(self, leader: Raft) -> None:
        """Change something at once: that is too early, unless an entry of the leader's term is committed already."""
        config = self._odd_config(leader.config) if self._is_troubled and leader.is_leader else None
        if config is not None and self.rng.random() < 0.3:
            try:
                leader.propose_config(config, self.cluster.now)
            except ProtocolError as error:
                self.cluster.check.events[type(error).__name__] += 1

    def _next_config(self, raft: Raft) -> Config | None:
        config = raft.config
        strangers = sorted(self.cluster.members.keys() - set(config.members))
        if strangers:
            return make_config(config.voters, [*config.learners, strangers[0]])
        if self._is_troubled and self.rng.random() < 0.2:
            return self._odd_config(config)
        peers = raft.peers(self.cluster.now)
        ready = [name for name in config.learners if name in peers and peers[name].is_caught_up]
        if self._all_vote and ready:
            return make_config([*config.voters, ready[0]], set(config.learners) - {ready[0]})
        if self._all_vote:
            return None
        dead = {m.name: m.died_at for m in self.cluster.members.values() if m.raft is None}
        view = HostView(raft.me, dead, ready, {})
        plan = plan_voters(config, view, self.cluster.now, replace_after=3.0)
        return plan.config if plan else None

    def _odd_config(self, config: Config) -> Config | None:
        """Remove or demote anyone, the leader too, as no planner would."""
        gone = self.rng.choice(config.members)
        voters, learners = set(config.voters) - {gone}, set(config.learners) - {gone}
        if self.rng.random() < 0.5:
            learners.add(gone)
        if self.rng.random() < 0.3:
            # 4.1: two voters at once are more than one safe step.
            both = self.rng.sample(config.members, min(2, len(config.members)))
            voters, learners = set(config.voters) ^ set(both), set(config.learners) - set(both)
        return make_config(voters, learners) if voters else None

    # Trouble.

    def _trouble(self) -> None:
        if self._is_troubled:
            self.rng.choice(self._troubles)(self.rng.choice(sorted(self.cluster.members)))

    def _kill(self, one: NodeId) -> None:
        self.cluster.kill(one, is_noticed=self.rng.random() < 0.5)

    def _start_all(self, _: NodeId) -> None:
        for name in sorted(self.cluster.members):
            self.cluster.start(name)

    def _cut(self, _: NodeId) -> None:
        self.cluster.partition({name for name in sorted(self.cluster.members) if self.rng.random() < 0.5})

    def _cut_leader(self, one: NodeId) -> None:
        leader = self.cluster.leader()
        self.cluster.partition({leader.me if leader else one, one})

    def _strand_leader(self, _: NodeId) -> None:
        """Leave the leader alone with a long tail that nobody else has, while the others compact their logs."""
        leader = self.cluster.leader()
        if leader is None or not self._is_troubled:
            return
        self.cluster.partition({leader.me})
        for _number in range(self.rng.choice([5, 40])):
            self.cluster.propose(leader.me, 6)
        others = [name for name in self.cluster.members if name != leader.me]
        until = self.cluster.now + self.rng.uniform(2.0, 4.0)
        for name in others:
            self.cluster.at(until, partial(self.cluster.make_snapshot, name))
        self.cluster.at(until + 0.01, self.cluster.heal)

    def _heal(self, _: NodeId) -> None:
        self.cluster.heal()

    def _change_weather(self, _: NodeId) -> None:
        self.cluster.faults = self._draw_faults()

    def _slow_down(self, one: NodeId) -> None:
        self.cluster.members[one].slowness = self.rng.choice([0.0, 0.05, 0.4])

    def _storm(self, one: NodeId) -> None:
        """Let everybody campaign at once, and `one` lose its memory in the midst of it."""
        for name in sorted(self.cluster.members):
            self._break_link(name)
        crash_at = self.cluster.now + self.rng.random() * self.rng.choice([0.02, 0.4])
        self.cluster.at(crash_at, lambda: self._bounce(one))

    def _bounce(self, one: NodeId) -> None:
        if self._is_troubled and self.cluster.members[one].raft is not None:
            self.cluster.kill(one, is_noticed=False)
            self.cluster.start(one)

    def _break_link(self, one: NodeId) -> None:
        """Let `one` believe that its leader is gone."""
        self.cluster.act_on(one, lambda raft: self.cluster.lose_peer(raft, raft.leader or one))

    def _transfer(self, one: NodeId) -> None:
        """Hand leadership to `one`, or to whom the leader likes best."""
        leader = self.cluster.leader()
        if leader is not None:
            to = one if self.rng.random() < 0.5 else None
            self.cluster.act_on(leader.me, lambda raft: self._try_transfer(raft, to))

    def _try_transfer(self, leader: Raft, to: NodeId | None) -> None:
        try:
            leader.transfer(to, self.cluster.now)
            self.cluster.check.events["transfer"] += 1
        except ProtocolError as error:
            self.cluster.check.events[type(error).__name__] += 1

    def _draw_faults(self) -> Faults:
        rng = self.rng
        return Faults(
            loss=rng.choice([0.0, 0.02, 0.2, 0.4]),
            duplicate=rng.choice([0.0, 0.1]),
            delay=rng.choice([0.004, 0.02, 0.1, 0.8]),
            spoil=rng.choice([0.0, 0.2]) if self._spoils else 0.0,
            crash_before_write=self._crashes,
            crash_before_send=self._crashes,
            crash_after_send=self._crashes,
        )

    def _end_trouble(self) -> None:
        self._is_troubled = False
        self.cluster.faults = Faults()
        self.cluster.heal()
        for member in self.cluster.members.values():
            member.slowness = 0.0
        self._start_all(NodeId(""))
        self._acknowledged_before = len(self.cluster.acknowledged)

    def _is_settled(self) -> bool:
        """A leader acknowledges, every host is a member, and every host is close behind."""
        leader = self.cluster.leader()
        if leader is None or len(self.cluster.acknowledged) < self._acknowledged_before + 10:
            return False
        everyone = set(leader.config.members) == self.cluster.members.keys()
        return everyone and all(self._is_close(member, leader) for member in self.cluster.members.values())

    def _is_close(self, member: Member, leader: Raft) -> bool:
        return (
            member.raft is not None
            and member.raft.leader == leader.me
            and (member.machine.index >= leader.commit_index - 5)
        )
