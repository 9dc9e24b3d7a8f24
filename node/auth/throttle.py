"""How often somebody may try a password: slower with every failure, per login and per address, in bounded memory.

Pure; times are seconds of one clock.  An attempt counts as failed from its start, so that many at once gain nothing;
success takes that back.
"""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

MAX_KEYS = 10_000
"""Logins, and as many addresses; the one that failed longest ago is forgotten first."""
FORGET_AFTER = 900.0


@dataclass(frozen=True, slots=True)
class Rule:
    """So many failures are free; from then on each doubles the wait, up to `longest`."""

    free: int
    longest: float


BY_LOGIN = Rule(free=5, longest=60.0)
"""Short enough that nobody can keep a person out for long by failing in their name."""
BY_ADDRESS = Rule(free=20, longest=300.0)


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    latest: float


class Throttle:
    """The failures of late."""

    def __init__(self) -> None:
        self._logins: OrderedDict[str, _Failures] = OrderedDict()
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()

    def start(self, login: str, address: str, now: float) -> float:
        """Begin an attempt: return 0, or for how many seconds more there is to wait, in which case nothing counts."""
        login, address = _login_key(login), _address_key(address)
        wait = max(_wait(self._logins.get(login), BY_LOGIN, now), _wait(self._addresses.get(address), BY_ADDRESS, now))
        if wait > 0:
            return wait
        _count(self._logins, login, now)
        if address:
            _count(self._addresses, address, now)
        return 0.0

    def succeed(self, login: str, address: str) -> None:
        """The attempt was right: forget the login's failures, and take this one back from the address."""
        self._logins.pop(_login_key(login), None)
        failures = self._addresses.get(_address_key(address))
        if failures is not None:
            self._addresses[_address_key(address)] = _Failures(failures.count - 1, failures.latest)

    def __len__(self) -> int:
        return len(self._logins) + len(self._addresses)


def _login_key(login: str) -> str:
    return login.lower()[:255]


def _address_key(address: str) -> str:
    """Whoever has one IPv6 address has the whole /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address


def _wait(failures: _Failures | None, rule: Rule, now: float) -> float:
    if failures is None or failures.count < rule.free or now - failures.latest >= FORGET_AFTER:
        return 0.0
    pause = min(rule.longest, 2.0 ** min(failures.count - rule.free, 30))
    return max(0.0, failures.latest + pause - now)


def _count(table: OrderedDict[str, _Failures], key: str, now: float) -> None:
    known = table.pop(key, None)
    count = known.count if known is not None and now - known.latest < FORGET_AFTER else 0
    table[key] = _Failures(count + 1, now)
    while len(table) > MAX_KEYS:
        table.popitem(last=False)
