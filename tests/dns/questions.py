"""Zones and questions that the tests of names share; dnslib is the second opinion on every byte."""

from dnslib import EDNS0, DNSRecord

from dns.zone import Zone, make_zone

WEB_1, WEB_2, DB_1 = "10.42.1.10", "10.42.2.10", "10.42.1.20"
STRANGER = "192.0.2.1"
SHOP = ("shop.rancher.internal", "web.shop.rancher.internal", "rancher.internal")


def make_shop(serial: int = 7, **replaced: object) -> Zone:
    """Return a zone with one stack: web on two hosts, db on one, and cache with nobody behind it."""
    parts: dict[str, object] = {
        "names": {
            "web.shop.rancher.internal": (WEB_1, WEB_2),
            "db.shop.rancher.internal": (DB_1,),
            "cache.shop.rancher.internal": (),
            "shop_web_1.rancher.internal": (WEB_1,),
            "shop_web_2.rancher.internal": (WEB_2,),
            "shop_db_1.rancher.internal": (DB_1,),
        },
        "scopes": {WEB_1: SHOP},
        "allow": ("10.42.1.0/24",),
        "networks": ("10.42.0.0/16",),
    }
    return make_zone(serial, **(parts | replaced))  # type: ignore[arg-type]


def ask(name: str, qtype: str = "A", *, edns: int | None = None, ident: int = 0x1234) -> bytes:
    """Return a query as a resolver would send it."""
    record = DNSRecord.question(name, qtype)
    record.header.id = ident
    if edns is not None:
        record.add_ar(EDNS0(udp_len=edns))
    return bytes(record.pack())


def read(message: bytes) -> DNSRecord:
    """Return what dnslib makes of a reply."""
    return DNSRecord.parse(message)


def addresses_in(message: bytes) -> list[str]:
    """Return the answer's addresses in their order."""
    return [str(record.rdata) for record in read(message).rr if record.rtype in (1, 28)]
