"""Makes a cluster: identity, CA and a log whose first entries are the cluster's first decisions.

All of it is written before the daemon starts, the identity last, so that a crash leaves either a folder that belongs
to nobody or a whole one-node cluster.  The CA's key is written only in its sealed form.
"""

import random
import secrets
import uuid
from dataclasses import dataclass

from node.auth.keys import ApiKeySecret, new_api_key
from node.commands import (
    AdmitHost,
    CreateApiKey,
    CreateToken,
    InitCluster,
    Proposal,
    SealCaKey,
    SingleCommand,
    encode_proposal,
)
from node.drive.admission import ROLE, seal_ca_key
from node.model import DEFAULT_ENVIRONMENT_ID, HostFacts, OverlayMode
from node.store.identity import DataFolder, Identity
from node.store.log import LogStore
from protocol.ids import Index, NodeId, Term, new_node_id
from protocol.pki import (
    ca_digest,
    certificate_to_der,
    certificate_to_pem,
    issue,
    key_to_pem,
    new_ca,
    new_csr,
    new_key,
    utc,
)
from protocol.raft.messages import Entry, EntryKind
from protocol.raft.vocabulary import SavedState, bootstrap
from protocol.seal import new_private_key, public_of
from protocol.tokens import new_join_token, render_token, token_secret_hash


@dataclass(frozen=True, slots=True)
class Founding:
    """What a person chose for a new cluster and its first host."""

    name: str
    address: str
    api_port: int
    peer_port: int
    overlay_port: int
    overlay_network: str
    overlay_mode: OverlayMode
    overlay_subnet_bits: int
    open_access: bool
    labels: dict[str, str]
    facts: HostFacts


@dataclass(frozen=True, slots=True)
class Founded:
    """What is shown once to whoever made the cluster."""

    identity: Identity
    join_token: str
    admin_key: ApiKeySecret


def found_cluster(folder: DataFolder, founding: Founding, now: float) -> Founded:
    """Write a new one-host cluster into `folder`; blocking."""
    rng = random.SystemRandom()
    node, cluster_id = new_node_id(rng), secrets.token_hex(16)
    ca_key, node_key = new_key(), new_key()
    ca = new_ca(cluster_id, ca_key, utc(now))
    certificate = issue(new_csr(node, node_key), node_id=node, role=ROLE, ca=ca, ca_key=ca_key, now=utc(now))
    identity = Identity(
        node=node,
        name=founding.name,
        cluster_id=cluster_id,
        environment_id=DEFAULT_ENVIRONMENT_ID,
        ca_pem=certificate_to_pem(ca).decode(),
        certificate_pem=certificate_to_pem(certificate).decode(),
        key_pem=key_to_pem(node_key).decode(),
        gossip_key=secrets.token_bytes(32),
        overlay_private=new_private_key(secrets.token_bytes(32)),
        seal_private=new_private_key(secrets.token_bytes(32)),
        overlay_network=founding.overlay_network,
        overlay_mode=founding.overlay_mode,
        address=founding.address,
        peer_port=founding.peer_port,
        api_port=founding.api_port,
        overlay_port=founding.overlay_port,
    )
    token = new_join_token(f"1a{DEFAULT_ENVIRONMENT_ID}", ca_digest(ca), rng)
    admin_key = new_api_key(rng)
    commands = (
        InitCluster(
            cluster_id=cluster_id,
            ca=certificate_to_der(ca),
            overlay_network=founding.overlay_network,
            overlay_mode=founding.overlay_mode,
            overlay_subnet_bits=founding.overlay_subnet_bits,
            open_access=founding.open_access,
        ),
        _admit_founder(identity, founding),
        SealCaKey(node=node, sealed=seal_ca_key(key_to_pem(ca_key), public_of(identity.seal_private))),
        CreateToken(
            uuid=str(uuid.uuid4()),
            environment_id=DEFAULT_ENVIRONMENT_ID,
            token_id=token.token_id,
            secret_hash=token_secret_hash(token.secret),
        ),
        CreateApiKey(
            uuid=str(uuid.uuid4()),
            environment_id=None,
            name="first administrator",
            public=admin_key.access,
            secret_hash=admin_key.stored,
        ),
    )
    _write_log(folder, node, commands, now)
    folder.save(identity)
    return Founded(identity, render_token(token), admin_key)


def _admit_founder(identity: Identity, founding: Founding) -> AdmitHost:
    return AdmitHost(
        uuid=str(uuid.uuid4()),
        environment_id=DEFAULT_ENVIRONMENT_ID,
        node=identity.node,
        name=founding.name,
        address=founding.address,
        peer_port=founding.peer_port,
        api_port=founding.api_port,
        overlay_port=founding.overlay_port,
        overlay_key=public_of(identity.overlay_private),
        seal_key=public_of(identity.seal_private),
        labels=founding.labels,
        facts=founding.facts,
    )


def _write_log(folder: DataFolder, node: NodeId, commands: tuple[SingleCommand, ...], now: float) -> None:
    """Write the log of a group of one whose first entries are `commands`."""
    start = bootstrap(node)
    entries = list(start.entries)
    for command in commands:
        proposal = Proposal(id=secrets.token_hex(16), at=int(now * 1000), command=command)
        index = Index(entries[-1].index + 1)
        entries.append(Entry(index, Term(1), EntryKind.COMMAND, encode_proposal(proposal)))
    store = LogStore.anew(folder.log_file)
    try:
        store.write_saved(SavedState(start.hard, None, tuple(entries)))
    finally:
        store.close()
