"""What a joining host must fit to and may use, read from the replicated state.

Pure: from rows to the records of protocol.admission.
"""

from collections.abc import Collection

from node.model import JoinToken, State
from protocol.admission import ClusterFacts, KnownHost, TokenState
from protocol.ids import NodeId


def cluster_facts(state: State, *, alive: Collection[NodeId], version: str, feature_level: int) -> ClusterFacts:
    """Return the cluster as a joining host is measured against it."""
    hosts = tuple(
        KnownHost(host.name, host.node, is_live=host.node in alive)
        for host in state.hosts.values()
        if host.state != "removed"
    )
    return ClusterFacts(version, feature_level, state.cluster.overlay_mode, state.cluster.overlay_network, hosts)


def token_states(state: State) -> dict[str, TokenState]:
    """Return what is known of each join token, the rotated ones included so that a refusal can say so."""
    return {token.token_id: _token_state(token) for token in state.tokens.values()}


def _token_state(token: JoinToken) -> TokenState:
    return TokenState(
        token_id=token.token_id,
        environment_id=f"1a{token.environment_id}",
        secret_hash=token.secret_hash,
        expires_at=None if token.expires is None else token.expires / 1000,
        is_rotated=token.state != "active",
    )
