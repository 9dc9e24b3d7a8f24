"""Keys and certificates of a small cluster, made once per test run."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from node.drive.credentials import Credentials
from protocol.ids import NodeId
from protocol.pki import Certificate, PrivateKey, certificate_to_pem, issue, key_to_pem, new_ca, new_csr, new_key

NOW = datetime.now(UTC)


@cache
def authority(name: str = "c" * 32) -> tuple[Certificate, PrivateKey]:
    key = new_key()
    return new_ca(name, key, NOW), key


def ca_pem(name: str = "c" * 32) -> str:
    return certificate_to_pem(authority(name)[0]).decode()


def credentials_of(node: NodeId, folder: Path, *, cluster: str = "c" * 32) -> Credentials:
    """Write a node's key and certificate into `folder` and return its TLS contexts."""
    ca, ca_key = authority(cluster)
    key = new_key()
    certificate = issue(new_csr(node, key), node_id=node, role="host", ca=ca, ca_key=ca_key, now=NOW)
    path = folder / f"{node[:8]}-{cluster[:4]}.pem"
    path.write_bytes(key_to_pem(key) + certificate_to_pem(certificate))
    return Credentials(key_and_certificate=path, ca_pem=ca_pem(cluster))
