"""Which of our names an asker means: the server-side search that spares clients their own search list.

Pure.  The order is Rancher's: as asked, with each suffix of the asker's list, with the domain; the first that exists
wins, whatever type was asked for, so that an AAAA question for a name with A records never leaves the cluster.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from dns.zone import Zone, parse_networks


def find_name(zone: Zone, name: str, suffixes: tuple[str, ...]) -> str | None:
    """Return the first name that exists among those `name` may stand for, or None."""
    return next((full for full in expand_name(zone, name, suffixes) if zone.lookup(full) is not None), None)


def expand_name(zone: Zone, name: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield the names that `name` may stand for, in the order in which they are tried."""
    yield name
    if zone.is_ours(name) or not name:
        return
    for suffix in suffixes:
        yield f"{name}.{suffix}"
    if zone.domain not in suffixes:
        yield f"{name}.{zone.domain}"


def is_kept_inside(zone: Zone, name: str) -> bool:
    """Say whether an unknown `name` is denied here rather than asked of the resolvers outside.

    Ours are all names of the domain.  Other unknown names are forwarded, single words too, as Rancher did: a company's
    resolver may know `intranet`.  A single word with an underscore is no host name anywhere (RFC 952), yet it is the
    form of a container's name: one that has gone must not be told to the world.
    """
    return zone.is_ours(name) or ("." not in name and "_" in name)


class Askers:
    """Who may ask a zone, and with which search list."""

    def __init__(self, zone: Zone) -> None:
        self._scopes = zone.scopes
        self._allowed = parse_networks(zone.allow)

    def suffixes_of(self, asker: str) -> tuple[str, ...] | None:
        """Return the search list of `asker`, empty where it has none; None means that it may not ask at all."""
        suffixes = self._scopes.get(asker)
        if suffixes is not None:
            return suffixes
        try:
            address = ip_address(asker)
        except ValueError:
            return None
        return () if any(address in allowed for allowed in self._allowed) else None
