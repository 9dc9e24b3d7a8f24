from typing import Any

class DNSLabel:
    label: tuple[bytes, ...]
    def __str__(self) -> str: ...

class DNSHeader:
    id: int
    rcode: int
    qr: int
    aa: int
    tc: int
    rd: int
    ra: int

class DNSQuestion:
    qname: DNSLabel
    qtype: int
    qclass: int
    def __init__(self, qname: str, qtype: int = ..., qclass: int = ...) -> None: ...

class RR:
    rname: DNSLabel
    rtype: int
    ttl: int
    rdata: Any
    rclass: int
    def __init__(self, rname: str = ..., rtype: int = ..., rclass: int = ..., ttl: int = ..., rdata: Any = ...) -> None: ...

class EDNS0(RR):
    def __init__(self, rname: str = ..., udp_len: int = ..., flags: str = ...) -> None: ...

class A:
    def __init__(self, data: str) -> None: ...

class CNAME:
    def __init__(self, label: str) -> None: ...

class DNSRecord:
    header: DNSHeader
    questions: list[DNSQuestion]
    rr: list[RR]
    auth: list[RR]
    ar: list[RR]
    q: DNSQuestion
    @classmethod
    def parse(cls, packet: bytes) -> DNSRecord: ...
    @classmethod
    def question(cls, qname: str, qtype: str = ..., qclass: str = ...) -> DNSRecord: ...
    def add_ar(self, *ar: RR) -> None: ...
    def add_answer(self, *rr: RR) -> None: ...
    def reply(self, ra: int = ..., aa: int = ...) -> DNSRecord: ...
    def pack(self) -> bytearray: ...
