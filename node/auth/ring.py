"""The cluster's own keys, derived from its gossip key ring: one signs tokens, one seals secrets that the state keeps.

Every member holds the ring, so every node can check, open and seal; nothing new is stored.  Signs and seals with the
primary key's, takes those of any key of the ring.  A key of one purpose tells nothing of the other's.
"""

from dataclasses import dataclass, field

from protocol.seal import Keyring, derive_key, open_kept, seal_kept

SIGNING = b"sign tokens"
SEALING = b"seal secrets at rest"


@dataclass(frozen=True, slots=True)
class ClusterKeys:
    """The keys by purpose, the one to use first."""

    signing: tuple[bytes, ...] = field(repr=False)
    """Sign with the first, verify with each."""
    sealing: tuple[bytes, ...] = field(repr=False)

    def seal(self, plaintext: bytes, *, nonce: bytes, context: bytes) -> bytes:
        """Return `plaintext` sealed for `context` (what it is and whose), to be kept; `nonce`: 12 fresh bytes."""
        return seal_kept(self.sealing[0], plaintext, nonce=nonce, context=context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Return what was sealed for `context`; AuthenticityError for anything else."""
        return open_kept(self.sealing, sealed, context=context)


def derive_keys(ring: Keyring) -> ClusterKeys:
    """Return the keys that a ring gives."""
    return ClusterKeys(
        signing=tuple(derive_key(key, SIGNING) for key in ring.keys),
        sealing=tuple(derive_key(key, SEALING) for key in ring.keys),
    )
