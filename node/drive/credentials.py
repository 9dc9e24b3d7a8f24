"""TLS contexts of the peer link, made from this node's key and certificate and replaced when those are renewed.

TLS 1.3 only.  A server asks for the other side's certificate but does not insist: strangers may speak the join
conversation.  A client insists that the other side is the very node it meant to call, by id, never by address.
"""

import ssl
from pathlib import Path

from protocol.ids import NODE_DOMAIN, NodeId


def server_name(node: NodeId) -> str:
    """The DNS name in a node's certificate."""
    return f"{node}.{NODE_DOMAIN}"


class Credentials:
    """The two contexts of a member.  `reload` makes new connections use a renewed certificate."""

    def __init__(self, *, key_and_certificate: Path, ca_pem: str) -> None:
        self._file = key_and_certificate
        self.server = _context(ssl.PROTOCOL_TLS_SERVER, ca_pem)
        self.server.verify_mode = ssl.CERT_OPTIONAL
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT, ca_pem)
        self.reload()

    def reload(self) -> None:
        """Read the key and certificate again; open connections keep what they have."""
        self.server.load_cert_chain(self._file)
        self.client.load_cert_chain(self._file)


def stranger_context(ca_pem: str) -> ssl.SSLContext:
    """What a joining host uses: it knows the CA, from its token's digest, but not yet which node answers."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, ca_pem)
    context.check_hostname = False
    return context


def _context(protocol: int, ca_pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem)
    return context
