"""What names there are, who may ask for them, and how one picture of that turns into the next.

A `Zone` is never altered: `apply_change` makes the next one, sharing what did not change, and `diff_zones` finds the
change between two.  Names are lower-case and without a final dot.  This module answers no query and does no I/O.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from types import MappingProxyType

MAX_NAME_CHARS = 253
MAX_LABEL_CHARS = 63
DEFAULT_DOMAIN = "rancher.internal"
NAMESERVER_LABEL = "corral-dns"
NAMESERVER_ADDRESS = "169.254.169.250"

Network = IPv4Network | IPv6Network

_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!\Z)|\Z)){4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that stands for another name (CNAME)."""

    target: str


Record = tuple[str, ...] | Alias
"""Addresses in text form, or an alias. No address at all is a name that exists and has nobody behind it."""


class GapError(Exception):
    """A change starts from a serial that is not the zone's: only a whole zone helps."""


def _no_names() -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Zone:
    """One picture of the names of an environment, as one host serves them."""

    serial: int = 0
    """Grows with each picture of one publisher. 0 means that no zone was ever received."""

    domain: str = DEFAULT_DOMAIN
    names: Mapping[str, Record] = field(default_factory=_no_names)
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=_no_names)
    """Address of an asker -> its search list, most specific first."""

    upstreams: tuple[str, ...] = ()
    """Resolvers for names that are not ours: `address`, `address:port` or `[address]:port`."""

    allow: tuple[str, ...] = ()
    """Prefixes whose addresses may ask even without a scope of their own."""

    networks: tuple[str, ...] = ()
    """Prefixes whose reverse names are ours: what we do not know there does not exist."""

    reverse: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)
    """Address -> the names it is behind; derived from `names`."""

    skipped: tuple[str, ...] = field(default=(), compare=False)
    """Names that `make_zone` left out because no DNS message can carry them."""

    def lookup(self, name: str) -> Record | None:
        """Return what stands under exactly `name`, or None where the name does not exist."""
        record = self.names.get(name)
        if record is None and name == self.nameserver:
            return (NAMESERVER_ADDRESS,)
        return record

    def is_ours(self, name: str) -> bool:
        """Say whether `name` is the domain or lies under it."""
        return name == self.domain or name.endswith("." + self.domain)

    @property
    def nameserver(self) -> str:
        """The name that NS and SOA records give."""
        return f"{NAMESERVER_LABEL}.{self.domain}"

    def name_of(self, address: str) -> str | None:
        """Return the name a PTR question for `address` is answered with.

        A container's own name has one address and lies directly under the domain; a service's name lies deeper, so
        the name with the fewest addresses, then the fewest labels, is the container's.
        """
        names = self.reverse.get(address)
        if not names:
            return self.nameserver if address == NAMESERVER_ADDRESS else None
        return min(names, key=lambda name: (len(self._addresses(name)), name.count("."), "_" not in name, name))

    def _addresses(self, name: str) -> tuple[str, ...]:
        record = self.names.get(name, ())
        return record if isinstance(record, tuple) else ()


@dataclass(frozen=True, slots=True)
class Change:
    """The step from one zone to a later one; a part that is None stays as it is."""

    from_serial: int
    to_serial: int
    set: Mapping[str, Record] = field(default_factory=_no_names)
    drop: tuple[str, ...] = ()
    set_scopes: Mapping[str, tuple[str, ...]] = field(default_factory=_no_names)
    drop_scopes: tuple[str, ...] = ()
    upstreams: tuple[str, ...] | None = None
    allow: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None


def make_zone(
    serial: int,
    names: Mapping[str, Record],
    *,
    domain: str = DEFAULT_DOMAIN,
    scopes: Mapping[str, tuple[str, ...]] | None = None,
    upstreams: Iterable[str] = (),
    allow: Iterable[str] = (),
    networks: Iterable[str] = (),
) -> Zone:
    """Return a zone of these names, leaving out (and listing in `skipped`) those that DNS cannot carry.

    A container's name joins its stack's and its service's and may outgrow a label: one such name must not cost the
    environment all others.
    """
    kept: dict[str, Record] = {}
    skipped = []
    for name, record in names.items():
        lowered = name.lower()
        if is_name(lowered) and is_record(record):
            kept[lowered] = record
        else:
            skipped.append(name)
    return Zone(
        serial=serial,
        domain=domain,
        names=kept,
        scopes={asker: tuple(suffix.lower() for suffix in suffixes) for asker, suffixes in (scopes or {}).items()},
        upstreams=tuple(upstreams),
        allow=tuple(allow),
        networks=tuple(networks),
        reverse=_reverse_of(kept),
        skipped=tuple(skipped),
    )


def apply_change(zone: Zone, change: Change) -> Zone:
    """Return the zone after `change`; raise GapError where it does not start from `zone`."""
    if change.from_serial != zone.serial:
        raise GapError(f"the change starts from serial {change.from_serial}, this zone is at {zone.serial}")
    names, reverse = zone.names, zone.reverse
    if change.set or change.drop:
        names, reverse = dict(names), dict(reverse)
        for name in (*change.drop, *change.set):
            _forget_reverse(reverse, name, names.pop(name, ()))
        for name, record in change.set.items():
            names[name] = record
            _learn_reverse(reverse, name, record)
    scopes = zone.scopes
    if change.set_scopes or change.drop_scopes:
        dropped = set(change.drop_scopes)
        scopes = {asker: suffixes for asker, suffixes in scopes.items() if asker not in dropped} | dict(
            change.set_scopes
        )
    return replace(
        zone,
        serial=change.to_serial,
        names=names,
        reverse=reverse,
        scopes=scopes,
        upstreams=zone.upstreams if change.upstreams is None else change.upstreams,
        allow=zone.allow if change.allow is None else change.allow,
        networks=zone.networks if change.networks is None else change.networks,
    )


def diff_zones(old: Zone, new: Zone) -> Change:
    """Return the change that makes `new` of `old`; a change of domain needs a whole zone and raises ValueError."""
    if old.domain != new.domain:
        raise ValueError(f"a change cannot carry a new domain ({old.domain} -> {new.domain}): send the whole zone")
    return Change(
        from_serial=old.serial,
        to_serial=new.serial,
        set={name: record for name, record in new.names.items() if old.names.get(name) != record},
        drop=tuple(name for name in old.names if name not in new.names),
        set_scopes={asker: wanted for asker, wanted in new.scopes.items() if old.scopes.get(asker) != wanted},
        drop_scopes=tuple(asker for asker in old.scopes if asker not in new.scopes),
        upstreams=None if old.upstreams == new.upstreams else new.upstreams,
        allow=None if old.allow == new.allow else new.allow,
        networks=None if old.networks == new.networks else new.networks,
    )


def is_name(name: str) -> bool:
    """Say whether `name` is one that the zone may hold: lower-case, no final dot, labels that fit (RFC 1035 2.3.4)."""
    if not name or len(name) > MAX_NAME_CHARS or not name.isascii() or name != name.lower():
        return False
    return all(0 < len(label) <= MAX_LABEL_CHARS for label in name.split("."))


def is_record(record: Record) -> bool:
    """Say whether `record` holds valid addresses, or an alias of a valid name."""
    if isinstance(record, Alias):
        return is_name(record.target)
    return all(is_address(text) for text in record)


def is_address(text: str) -> bool:
    """Say whether `text` is an IPv4 or IPv6 address in the form the zone uses."""
    if _IPV4.fullmatch(text):
        return True
    try:
        return str(ip_address(text)) == text
    except ValueError:
        return False


def parse_networks(prefixes: Iterable[str]) -> tuple[Network, ...]:
    """Return `prefixes` as networks; raise ValueError for one that is none."""
    return tuple(ip_network(prefix, strict=False) for prefix in prefixes)


def _reverse_of(names: Mapping[str, Record]) -> dict[str, frozenset[str]]:
    gathered: dict[str, list[str]] = {}
    for name, record in names.items():
        if isinstance(record, tuple):
            for address in record:
                gathered.setdefault(address, []).append(name)
    return {address: frozenset(behind) for address, behind in gathered.items()}


def _learn_reverse(reverse: dict[str, frozenset[str]], name: str, record: Record) -> None:
    if isinstance(record, tuple):
        for address in record:
            reverse[address] = reverse.get(address, frozenset()) | {name}


def _forget_reverse(reverse: dict[str, frozenset[str]], name: str, record: Record) -> None:
    if isinstance(record, tuple):
        for address in record:
            left = reverse.get(address, frozenset()) - {name}
            if left:
                reverse[address] = left
            else:
                reverse.pop(address, None)
