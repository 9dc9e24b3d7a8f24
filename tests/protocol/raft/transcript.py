"""A small language for conversations in a Raft group, played on real cores; below each command stands what they did.

group abc            voters a, b, c; `group ab/c` makes c a learner
log a 1 1 2          before the start: a's entries are of these terms; the first holds the configuration
expire a             the time of a's next deadline comes
settle               deliver messages until there are none
deliver a b          deliver one message from a to b
cut a, heal a        lose everything from and to a, or no longer
propose a x y        two commands; `config a ab/c` a configuration
lost a b             a notices that its link to b broke
transfer a b         a hands leadership over to b; `transfer a` to whom it likes
read a               a is asked up to where a linearizable read must have applied
wipe a               a starts again with an empty disk
snapshot a, restart a, drop (all messages on their way), batch 1 (entries in a request)
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Config,
    Entry,
    EntryKind,
    PreVoteRequest,
    RaftMessage,
    SnapshotChunk,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    encode_config,
    make_config,
)
from protocol.raft.vocabulary import Envelope, HardState, Limits, LogLost, Output, SavedState, Snapshot

LIMITS = Limits(batch_entries=4, window=2, chunk_bytes=4, keep_entries=0)


def parse_config(text: str) -> Config:
    voters, _, learners = text.partition("/")
    return make_config([NodeId(v * 32) for v in voters], [NodeId(v * 32) for v in learners])


class Play:
    """The group on stage; each command returns the lines to print below it."""

    def __init__(self) -> None:
        self._now = 0.0
        self._config = make_config([])
        self._limits = LIMITS
        self._rafts: dict[str, Raft] = {}
        self._saved: dict[str, SavedState] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._mail: list[tuple[str, Envelope]] = []
        self._cut: set[str] = set()

    def run(self, command: str) -> list[str]:
        word, *arguments = command.split()
        do: Callable[..., Iterator[str]] = getattr(self, f"_do_{word}")
        try:
            return [f"  {line}" for line in do(*arguments)]
        except ProtocolError as error:
            return [f"  refused: {type(error).__name__}"]

    # Commands.

    def _do_group(self, config: str) -> Iterator[str]:
        self._config = parse_config(config)
        return iter(())

    def _do_batch(self, entries: str) -> Iterator[str]:
        self._limits = replace(LIMITS, batch_entries=int(entries))
        return iter(())

    def _do_log(self, name: str, *terms: str) -> Iterator[str]:
        entries = [Entry(Index(1), Term(int(terms[0])), EntryKind.CONFIG, encode_config(self._config))]
        for index, term in enumerate(terms[1:], 2):
            entries.append(Entry(Index(index), Term(int(term)), EntryKind.COMMAND, f"{index}@{term}".encode()))
        self._saved[name] = SavedState(HardState(Term(int(terms[-1]))), None, tuple(entries))
        return iter(())

    def _do_expire(self, name: str) -> Iterator[str]:
        self._now = max(self._now, self._raft(name).wake_at)
        self._raft(name).handle_timer(self._now)
        return self._obey(name)

    def _do_deliver(self, sender: str, to: str) -> Iterator[str]:
        letter = next(mail for mail in self._mail if mail[0] == sender and mail[1].to[0] == to)
        self._mail.remove(letter)
        return self._deliver(letter)

    def _do_settle(self) -> Iterator[str]:
        while self._mail:
            yield from self._deliver(self._mail.pop(0))

    def _do_drop(self) -> Iterator[str]:
        self._mail.clear()
        return iter(())

    def _do_cut(self, name: str) -> Iterator[str]:
        self._cut.add(name)
        return iter(())

    def _do_heal(self, name: str) -> Iterator[str]:
        self._cut.discard(name)
        return iter(())

    def _do_propose(self, name: str, *commands: str) -> Iterator[str]:
        self._raft(name).propose(tuple(command.encode() for command in commands), self._now)
        return self._obey(name)

    def _do_config(self, name: str, config: str) -> Iterator[str]:
        self._raft(name).propose_config(parse_config(config), self._now)
        return self._obey(name)

    def _do_transfer(self, name: str, heir: str = "") -> Iterator[str]:
        self._raft(name).transfer(NodeId(heir * 32) if heir else None, self._now)
        return self._obey(name)

    def _do_read(self, name: str) -> Iterator[str]:
        self._raft(name).read_index(self._now)
        return self._obey(name)

    def _do_lost(self, name: str, peer: str) -> Iterator[str]:
        self._raft(name).handle_peer_lost(NodeId(peer * 32), self._now)
        return self._obey(name)

    def _do_snapshot(self, name: str) -> Iterator[str]:
        raft = self._raft(name)
        meta = raft.snapshot_meta(raft.applied_index)
        self._snapshots[name] = Snapshot(meta, f"state at {meta.index}".encode())
        saved = self._saved[name]
        self._saved[name] = SavedState(saved.hard, meta, saved.entries)
        raft.handle_snapshot_made(meta, self._now)
        return self._obey(name)

    def _do_wipe(self, name: str) -> Iterator[str]:
        del self._saved[name]
        return self._do_restart(name)

    def _do_restart(self, name: str) -> Iterator[str]:
        del self._rafts[name]
        raft = self._raft(name)
        yield f"{name} {raft.role.value} term {raft.term}, last {raft.last_index}, snapshot {raft.snapshot_index}"

    # Stage.

    def _raft(self, name: str) -> Raft:
        if name not in self._rafts:
            saved = self._saved.setdefault(name, SavedState())
            me, rng = NodeId(name * 32), Random(name)
            self._rafts[name] = Raft(me, saved=saved, rng=rng, now=self._now, limits=self._limits)
        return self._rafts[name]

    def _deliver(self, letter: tuple[str, Envelope]) -> Iterator[str]:
        sender, envelope = letter
        to = envelope.to[0]
        if self._cut & {sender, to}:
            return
        yield f"{sender} -> {to} {render_message(envelope.message)}"
        self._raft(to).handle_message(NodeId(sender * 32), envelope.message, self._now)
        yield from self._obey(to)

    def _obey(self, name: str) -> Iterator[str]:
        raft = self._raft(name)
        output = raft.take_output()
        self._write(name, output)
        self._mail.extend((name, envelope) for envelope in output.send)
        done = list(render_output(raft, output))
        if done:
            yield f"  {name}: {'; '.join(done)}"
        if output.load_snapshot:
            raft.handle_snapshot_loaded(self._snapshots[name], self._now)
            yield from self._obey(name)

    def _write(self, name: str, output: Output) -> None:
        saved = self._saved[name]
        entries = [e for e in saved.entries if output.truncate_from is None or e.index < output.truncate_from]
        entries = [e for e in entries if output.compact_to is None or e.index > output.compact_to]
        if output.install is not None:
            self._snapshots[name] = output.install
        meta = self._snapshots[name].meta if name in self._snapshots else None
        self._saved[name] = SavedState(output.hard or saved.hard, meta, (*entries, *output.append))


def render_output(raft: Raft, output: Output) -> Iterator[str]:
    yield from render_events(raft, output)
    if output.hard is not None:
        yield f"owes disk term {output.hard.term} vote {(output.hard.vote or 'none')[:1]}"
    if output.install is not None:
        yield f"installs {output.install.state.decode()!r}"
    if output.truncate_from is not None:
        yield f"drops from {output.truncate_from}"
    if output.compact_to is not None:
        yield f"compacts to {output.compact_to}"
    if output.append:
        yield f"takes {render_entries(output.append)}"
    if output.apply:
        yield f"commits {render_entries(output.apply)}"
    for read in output.reads:
        yield f"read {read.number} is of {read.index}" if read.index else f"read {read.number} failed"


def render_events(raft: Raft, output: Output) -> Iterator[str]:
    for event in output.events:
        if type(event).__name__ == "RoleChanged":
            yield f"{raft.role.value} of term {raft.term}"
        if isinstance(event, LogLost):
            yield f"{event.peer[0]} had {event.acknowledged} and has lost all after {event.found}"


def render_entries(entries: tuple[Entry, ...]) -> str:
    marks = {EntryKind.NOOP: "*", EntryKind.COMMAND: "", EntryKind.CONFIG: "!"}
    return " ".join(f"{entry.index}@{entry.term}{marks[entry.kind]}" for entry in entries) or "nothing"


def render_message(message: RaftMessage) -> str:
    match message:
        case PreVoteRequest():
            return f"would you vote for me in {message.term}? last {message.last_index}@{message.last_term}"
        case VoteRequest():
            why = " as the leader wishes" if message.is_transfer else ""
            return f"vote for me in {message.term}{why}, last {message.last_index}@{message.last_term}"
        case VoteReply():
            word = "would" if message.pre else "do"
            return f"yes, I {word} in {message.term}" if message.granted else f"no, I {word} not (term {message.term})"
        case AppendRequest():
            after = f"after {message.prev_index}@{message.prev_term}"
            return f"{after} take {render_entries(message.entries)}, commit {message.commit}"
        case AppendReply(ok=True):
            return f"have {message.index}"
        case AppendReply():
            return f"no {message.index}, try {message.hint_index}@{message.hint_term} (term {message.term})"
        case SnapshotChunk():
            return f"snapshot {message.meta.index}@{message.meta.term}, bytes {message.offset} of {message.size}"
        case TimeoutNow():
            return f"take over from me in {message.term}"
        case SnapshotReply():
            return f"have snapshot {message.index}" if message.done else f"need byte {message.offset}"
