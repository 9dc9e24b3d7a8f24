"""Whether a host may join: what each side makes of the other's words, as findings and refusals that say what to do.

Pure: facts, the cluster's picture and `now` go in; nothing is written or sent.  A member runs `check_token` first, so
that nobody without a token learns anything of the cluster; the joiner runs `check_served_ca` before it says a secret.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from protocol.join import Facts, Finding, JoinInfo, JoinRefused, KernelFeatures, RefusalCode, TokenProof
from protocol.tokens import JoinToken, is_expired, secret_matches, token_secret_hash

CLOCK_WARN_SECONDS = 5.0
CLOCK_FAIL_SECONDS = 30.0
MIN_DOCKER_API = (1, 24)

_NEW_TOKEN = "make a new one on a member: `node token create`"
_NOBODYS_HASH = token_secret_hash("")


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A member as the replicated state and gossip know it."""

    name: str
    node_id: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What a joining host must fit to."""

    version: str
    feature_level: int
    """The level in use: the lowest of all members."""

    overlay_mode: str
    overlay_network: str
    hosts: tuple[KnownHost, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenState:
    """What replicated state holds of a join token."""

    token_id: str
    environment_id: str
    secret_hash: bytes
    expires_at: float | None = None
    is_rotated: bool = False
    """Replaced by `node token rotate`; kept for a while so that the refusal can say so."""


def check_served_ca(token: JoinToken, served_digest: bytes, url: str) -> JoinRefused | None:
    """Refuse a CA that is not the token's, before the secret is said; `served_digest` is `pki.ca_digest`."""
    if token.matches_ca(served_digest):
        return None
    return JoinRefused(
        "wrong_cluster",
        f"{url} shows a certificate authority that is not the one in the token: it is another cluster, or somebody "
        f"sits in between (token {token.ca_digest.hex()[:16]}…, served {served_digest.hex()[:16]}…)",
        "compare the URL with the output of `node token create` on the cluster you mean; the secret was not sent",
    )


def proof_of(token: JoinToken) -> TokenProof:
    """Return what is said to a member once its CA is known to be the token's."""
    return TokenProof(token.environment_id, token.token_id, token.secret)


def check_token(proof: TokenProof, known: Mapping[str, TokenState], now: float) -> JoinRefused | None:
    """Refuse a token this cluster did not make, or that has ended; only its holder learns which."""
    token = known.get(proof.token_id)
    # Compared even where there is no such token: the time taken tells nothing about which ids exist.
    is_secret_right = secret_matches(_NOBODYS_HASH if token is None else token.secret_hash, proof.secret)
    if token is None or not is_secret_right or token.environment_id != proof.environment_id:
        return JoinRefused("token_unknown", "this cluster knows no such join token (it may be removed)", _NEW_TOKEN)
    if token.is_rotated:
        return JoinRefused("token_rotated", f"join token {token.token_id} was rotated away", _NEW_TOKEN)
    if is_expired(token.expires_at, now):
        ago = now - (token.expires_at or now)
        return JoinRefused("token_expired", f"join token {token.token_id} expired {render_span(ago)} ago", _NEW_TOKEN)
    return None


def check_facts(facts: Facts, cluster: ClusterFacts, now: float) -> tuple[Finding, ...]:
    """Return a finding for each thing a host must bring, in a fixed order; `now` is the member's clock."""
    return (
        check_identity(facts, cluster.hosts),
        check_name(facts.name, facts.node_id, cluster.hosts),
        check_clock(facts.clock, now),
        check_docker(facts.docker_api, facts.docker_version),
        check_release(facts, cluster),
        check_overlay(facts.kernel, cluster.overlay_mode),
        check_firewall(facts.kernel),
        check_range(facts.range_in_use, cluster.overlay_network),
        check_advertise(facts, cluster.overlay_network),
    )


def check_info(info: JoinInfo, facts: Facts, now: float) -> tuple[Finding, ...]:
    """Return what the joiner can tell by itself from JoinInfo, before it asks a member; `now` is its own clock."""
    cluster = ClusterFacts(info.version, info.feature_level, info.overlay_mode, info.overlay_network)
    return (
        check_clock(now, info.clock),
        check_docker(facts.docker_api, facts.docker_version),
        check_release(facts, cluster),
        check_overlay(facts.kernel, info.overlay_mode),
        check_firewall(facts.kernel),
        check_range(facts.range_in_use, info.overlay_network),
        check_advertise(facts, info.overlay_network),
    )


def refusal_of(findings: Iterable[Finding]) -> JoinRefused | None:
    """Return the refusal that failed findings amount to, or None where a join can go on."""
    failed = [finding for finding in findings if not finding.ok]
    if not failed:
        return None
    first = failed[0]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    codes: dict[str, RefusalCode] = {"identity": "already_member", "name": "name_taken"}
    return JoinRefused(
        codes.get(first.check, "preflight_failed"), f"{first.check}: {first.detail}{more}"[:1024], first.try_
    )


def check_identity(facts: Facts, hosts: Iterable[KnownHost]) -> Finding:
    """Fail when the node is a member already: one identity joins once."""
    for host in hosts:
        if host.node_id == facts.node_id:
            return Finding(
                "identity",
                "fail",
                f"this host is a member already, as {host.name}",
                "run it with `node start`, or `node leave` first to join anew",
            )
    return Finding("identity", "ok", "not a member yet")


def check_name(name: str, node_id: str, hosts: Iterable[KnownHost]) -> Finding:
    """Fail for the name of a member: a live one has it, and one that is down may come back."""
    same = [host for host in hosts if host.name.lower() == name.lower() and host.node_id != node_id]
    if any(host.is_live for host in same):
        return Finding("name", "fail", f"a live host is called {name} already", "choose another with --name")
    if same:
        return Finding(
            "name",
            "fail",
            f"a host called {name} is a member and down",
            f"`node host rm {name}` if it will not come back, or choose another with --name",
        )
    return Finding("name", "ok", name)


def check_clock(ours: float, theirs: float) -> Finding:
    """Compare the joining host's clock with the cluster's; certificates and logs need them close."""
    skew = ours - theirs
    # Written so that a NaN from a peer fails too.
    if abs(skew) <= CLOCK_WARN_SECONDS:
        return Finding("clock", "ok", f"{abs(skew):.1f} s from the cluster's")
    way = "ahead of" if skew > 0 else "behind"
    detail = f"this host is {render_span(abs(skew))} {way} the cluster"
    level = "warn" if abs(skew) <= CLOCK_FAIL_SECONDS else "fail"
    return Finding(
        "clock", "fail" if level == "fail" else "warn", detail, "run a time service: chrony, systemd-timesyncd"
    )


def check_docker(api: str, version: str) -> Finding:
    """Fail where the engine did not answer or speaks an API older than the oldest we know."""
    wanted = ".".join(map(str, MIN_DOCKER_API))
    if not api:
        return Finding("docker", "fail", "Docker did not answer", "start it: `systemctl start docker`")
    try:
        major, minor = (int(part) for part in api.split("."))
    except ValueError:
        return Finding("docker", "fail", f"Docker says its API version is {api[:20]!r}", "install Docker 1.12 or later")
    if (major, minor) < MIN_DOCKER_API:
        return Finding("docker", "fail", f"API {api} is older than {wanted}", "install Docker 1.12 or later")
    return Finding("docker", "ok", f"{version} (API {api})")


def check_release(facts: Facts, cluster: ClusterFacts) -> Finding:
    """Fail for a release that does not know what the cluster already uses; warn for a newer one."""
    if facts.feature_level < cluster.feature_level:
        return Finding(
            "release",
            "fail",
            f"release {facts.version} (level {facts.feature_level}) is older than the cluster "
            f"({cluster.version}, level {cluster.feature_level})",
            f"install release {cluster.version} on this host",
        )
    if facts.feature_level > cluster.feature_level:
        return Finding(
            "release",
            "warn",
            f"release {facts.version} is newer than the cluster ({cluster.version}); its new features stay off",
            "upgrade the other hosts too",
        )
    return Finding("release", "ok", facts.version)


def check_overlay(kernel: KernelFeatures, mode: str) -> Finding:
    """Fail where the host cannot build the overlay this cluster uses; say which data path it will use."""
    if mode == "vxlan":
        if kernel.vxlan:
            return Finding("overlay", "ok", "VXLAN in the kernel")
        return Finding("overlay", "fail", "the kernel has no VXLAN", "`modprobe vxlan`, or use a kernel that has it")
    if kernel.wireguard_kernel:
        return Finding("overlay", "ok", "WireGuard in the kernel")
    if kernel.wireguard_go and kernel.tun:
        return Finding("overlay", "ok", "WireGuard through wireguard-go; the kernel has none, expect less throughput")
    if not kernel.tun:
        return Finding(
            "overlay",
            "fail",
            "no WireGuard in the kernel and no TUN device for wireguard-go",
            "`modprobe wireguard`, or `modprobe tun` and install wireguard-go, or create the cluster with "
            "`node start --overlay vxlan` on a trusted network",
        )
    return Finding(
        "overlay",
        "fail",
        "no WireGuard in the kernel and no wireguard-go",
        "`modprobe wireguard` or install wireguard-go",
    )


def check_firewall(kernel: KernelFeatures) -> Finding:
    """Fail without nftables, which masquerades and filters for the overlay."""
    if kernel.nft:
        return Finding("nftables", "ok")
    return Finding("nftables", "fail", "`nft` is missing or the kernel refuses it", "install the package nftables")


def check_range(in_use: tuple[str, ...], network: str) -> Finding:
    """Fail where something on the host already uses addresses of the overlay."""
    if not in_use:
        return Finding("address range", "ok", f"{network} is free here")
    return Finding(
        "address range",
        "fail",
        f"the overlay's {network} is in use here: {', '.join(in_use)}"[:1000],
        "remove that network, or create the cluster with another range: `node start --overlay-network`",
    )


def check_advertise(facts: Facts, network: str) -> Finding:
    """Fail for an address others cannot use; warn for one the host does not have itself (it may be behind NAT)."""
    try:
        address = ip_address(facts.advertise)
        is_overlay = address in ip_network(network)
    except ValueError:
        return Finding("address", "fail", f"{facts.advertise[:60]!r} is no IP address", "give one with --advertise")
    if address.is_unspecified or address.is_multicast or is_overlay:
        return Finding("address", "fail", f"others cannot reach {address}", "give another with --advertise")
    if address.is_loopback:
        return Finding("address", "ok", f"{address}, for nodes on this machine only")
    if facts.advertise not in facts.addresses:
        return Finding("address", "warn", f"{address} is on none of this host's interfaces", "right only behind NAT")
    return Finding("address", "ok", facts.advertise)


def render_span(seconds: float) -> str:
    """Return a span as a person would say it: 12 s, 7 min, 3.1 h, 12 d."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
