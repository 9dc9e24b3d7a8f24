"""One life of a Raft group from one seed: it grows from a single host, suffers, and must work again once left alone.

Chooses faults, proposals and configuration changes; `tests/sim/raft_cluster.py` carries them out and checks safety.
"""

from protocol.errors import ProtocolError
from protocol.ids import NodeId
from protocol.raft.core import Raft
from protocol.raft.messages import Config, make_config
from protocol.raft.voters import HostView, plan_voters
from tests.sim.raft_cluster import Faults, Member, make_group

TROUBLE = 15.0
"""Virtual seconds during which faults happen."""

RECOVERY = 12.0
"""Virtual seconds within which the group must lead, commit and agree after the last fault."""


class Story:
    """The group and those who trouble it."""

    def __init__(self, seed: int) -> None:
        self.cluster = make_group(seed, 1 + seed % 5)
        self.rng = self.cluster.rng
        self._is_troubled = True
        # Half of the stories have crashes in the middle of outputs all along.
        self._crashes = self.rng.choice([0.0, 0.01])

    def run(self) -> None:
        """Live through it; raises SafetyBroken, or AssertionError if the group does not recover."""
        cluster = self.cluster
        self._every(0.06, 0.06, self._propose)
        self._every(0.3, 0.3, self._keep_members)
        self._every(0.2, 1.2, self._trouble)
        self._every(0.5, 2.0, self._make_snapshot)
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

    def _make_snapshot(self) -> None:
        self.cluster.make_snapshot(self.rng.choice(sorted(self.cluster.members)))

    # Whoever keeps the members.

    def _keep_members(self) -> None:
        raft = self.cluster.leader()
        if raft is None:
            return
        config = self._next_config(raft)
        if config is not None:
            self.cluster.act_on(raft.me, lambda leader: self._try_config(leader, config))

    def _try_config(self, leader: Raft, config: Config) -> None:
        try:
            leader.propose_config(config, self.cluster.now)
            self.cluster.check.events["config"] += 1
        except ProtocolError as error:
            self.cluster.check.events[type(error).__name__] += 1

    def _next_config(self, raft: Raft) -> Config | None:
        config = raft.config
        strangers = sorted(self.cluster.members.keys() - set(config.members))
        if strangers:
            return make_config(config.voters, [*config.learners, strangers[0]])
        if self._is_troubled and self.rng.random() < 0.1:
            return self._odd_config(config)
        peers = raft.peers(self.cluster.now)
        dead = {m.name: m.died_at for m in self.cluster.members.values() if m.raft is None}
        view = HostView(raft.me, dead, {n for n, s in peers.items() if s.is_caught_up}, {})
        plan = plan_voters(config, view, self.cluster.now, replace_after=3.0)
        return plan.config if plan else None

    def _odd_config(self, config: Config) -> Config | None:
        """Remove or demote anyone, the leader too, as no planner would."""
        gone = self.rng.choice(config.members)
        voters, learners = set(config.voters) - {gone}, set(config.learners) - {gone}
        if self.rng.random() < 0.5:
            learners.add(gone)
        return make_config(voters, learners) if voters else None

    # Trouble.

    def _trouble(self) -> None:
        if not self._is_troubled:
            return
        cluster, rng = self.cluster, self.rng
        one = rng.choice(sorted(cluster.members))
        match rng.choice(["kill", "kill", "start", "start", "cut", "cut leader", "heal", "weather", "slow", "link"]):
            case "kill":
                cluster.kill(one, is_noticed=rng.random() < 0.5)
            case "start":
                self._start_all()
            case "cut":
                cluster.partition({n for n in sorted(cluster.members) if rng.random() < 0.5})
            case "cut leader":
                leader = cluster.leader()
                cluster.partition({leader.me} if leader else {one})
            case "heal":
                cluster.heal()
            case "weather":
                cluster.faults = self._draw_faults()
            case "slow":
                cluster.members[one].slowness = rng.choice([0.0, 0.05, 0.4])
            case _:
                self._break_link(one)

    def _break_link(self, one: NodeId) -> None:
        other = self.rng.choice(sorted(self.cluster.members))
        self.cluster.act_on(one, lambda raft: raft.handle_peer_lost(other, self.cluster.now))

    def _draw_faults(self) -> Faults:
        rng = self.rng
        return Faults(
            loss=rng.choice([0.0, 0.02, 0.2]),
            duplicate=rng.choice([0.0, 0.1]),
            delay=rng.choice([0.004, 0.05, 0.5]),
            crash_before_write=self._crashes,
            crash_before_send=self._crashes,
        )

    def _start_all(self) -> None:
        for name in sorted(self.cluster.members):
            self.cluster.start(name)

    def _end_trouble(self) -> None:
        self._is_troubled = False
        self.cluster.faults = Faults()
        self.cluster.heal()
        for member in self.cluster.members.values():
            member.slowness = 0.0
        self._start_all()
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
