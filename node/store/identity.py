"""Who this node is: its id, keys and certificate, and the cluster it belongs to.

One checked file, `identity`, made once when a cluster is made or joined; a folder without it belongs to nobody.
Beside it lie PEM copies for the TLS library.  All of it is 0600 in a 0700 folder.
"""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec

from node.model import OverlayMode
from node.store.files import CorruptFileError, read_checked, write_checked, write_private
from protocol.ids import NodeId

IDENTITY_VERSION = 1


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that makes this node itself.  Secrets are in it: never log it."""

    version: int = IDENTITY_VERSION
    node: NodeId
    name: str
    cluster_id: str
    environment_id: int
    ca_pem: str
    certificate_pem: str
    key_pem: str
    gossip_key: bytes
    """AEAD key of the cluster's gossip."""
    overlay_private: bytes
    """WireGuard (X25519) private key."""
    seal_private: bytes
    """X25519 private key that opens what is sealed to this node."""
    overlay_network: str
    overlay_mode: OverlayMode
    address: str
    """The advertised address; `--advertise` changes it at a later start."""
    address_is_own: bool = True
    """It was on an interface of this host when it was chosen; if it goes from there, the host has another one now."""
    peer_port: int
    api_port: int
    overlay_port: int
    seeds: tuple[tuple[str, int], ...] = ()
    """Gossip addresses of others, as last seen: where to look for the cluster after a restart."""


class FolderInUseError(Exception):
    """Another daemon runs on this data folder."""


class DataFolder:
    """The node's own folder, held by one daemon at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @property
    def identity_file(self) -> Path:
        return self.path / "identity"

    @property
    def tls_file(self) -> Path:
        """Key and certificate in one PEM file."""
        return self.path / "node.pem"

    @property
    def log_file(self) -> Path:
        return self.path / "state.db"

    @property
    def zone_file(self) -> Path:
        """The DNS server's last zone."""
        return self.path / "zone"

    def acquire(self) -> None:
        """Make the folder if need be and hold it for this process; FolderInUseError if another one does."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        lock = self.path / "lock"
        while self._lock is None:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # One that leaves takes its lock's file away: what was held then is nothing that others look at.
                is_the_file = lock.exists() and lock.stat().st_ino == os.fstat(descriptor).st_ino
            except OSError:
                os.close(descriptor)
                raise FolderInUseError(f"another daemon is running on {self.path}; stop it first") from None
            if is_the_file:
                self._lock = descriptor
            else:
                os.close(descriptor)

    def release(self) -> None:
        """Let another daemon have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard_if_fresh(self) -> None:
        """Remove the folder again if nothing but our lock is in it; one that others mount or list stays, empty."""
        if {path.name for path in self.path.iterdir()} <= {"lock"}:
            (self.path / "lock").unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()

    def load(self) -> Identity | None:
        """Return who this node is, None for a fresh folder; CorruptFileError when the file is damaged."""
        try:
            content = read_checked(self.identity_file)
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(content, type=Identity)
        except msgspec.MsgspecError as error:
            raise CorruptFileError(f"{self.identity_file} was not written by this version: {error}") from None

    def save(self, identity: Identity) -> None:
        """Make `identity` what a later start finds.  The TLS copy goes first: it is made again from the identity."""
        write_private(self.tls_file, (identity.key_pem + identity.certificate_pem).encode())
        write_checked(self.identity_file, msgspec.json.encode(identity))

    def restore_tls_file(self, identity: Identity) -> None:
        """Write the TLS copy again where it is not what the identity says."""
        content = (identity.key_pem + identity.certificate_pem).encode()
        if not self.tls_file.exists() or self.tls_file.read_bytes() != content:
            write_private(self.tls_file, content)

    def wipe(self) -> None:
        """Forget everything but the lock; the identity goes first, so that a crash in between leaves a fresh folder."""
        for name in (self.identity_file.name, self.tls_file.name):
            (self.path / name).unlink(missing_ok=True)
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
