"""The arithmetic of overlay addresses: subnets of the cluster's network, and which of a subnet's addresses serve.

In every subnet the first address is the bridge's own (the gateway), so containers get those from the second on.
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network

FIRST_CONTAINER_OFFSET = 2


@dataclass(frozen=True, slots=True)
class Subnet:
    """An IPv4 network as numbers."""

    base: int
    size: int

    @property
    def places(self) -> int:
        """How many containers fit: all but network, gateway and broadcast."""
        return max(0, self.size - 3)

    def address(self, offset: int) -> str:
        return str(IPv4Address(self.base + offset))

    def offset_of(self, address: str) -> int | None:
        """Where `address` lies in the subnet if a container may have it, else None."""
        offset = address_number(address) - self.base
        return offset if FIRST_CONTAINER_OFFSET <= offset < self.size - 1 else None


@lru_cache(maxsize=4096)
def parse_subnet(text: str) -> Subnet:
    """Read `10.42.1.0/24`; ValueError for anything else."""
    network = IPv4Network(text)
    return Subnet(int(network.network_address), network.num_addresses)


@lru_cache(maxsize=65536)
def address_number(address: str) -> int:
    """The address as a number; -1 for what is no IPv4 address in plain form."""
    try:
        parsed = IPv4Address(address)
    except AddressValueError:
        return -1
    return int(parsed)


def gateway_of(subnet: str) -> str:
    """The bridge's own address in a host's subnet."""
    return parse_subnet(subnet).address(1)


def lowest_free_subnet(network: str, prefix: int, used: set[str]) -> str | None:
    """The first subnet of `network` that nobody has, or None."""
    whole = parse_subnet(network)
    size = 1 << (32 - prefix)
    for base in range(whole.base, whole.base + whole.size, size):
        text = f"{IPv4Address(base)}/{prefix}"
        if text not in used:
            return text
    return None


def subnet_count(network: str, prefix: int) -> int:
    return parse_subnet(network).size >> (32 - prefix)
