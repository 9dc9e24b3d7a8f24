"""The overlay's packet rules as text: the nft table, and what goes into Docker's own chain.

Fail closed: an overlay address may come in only from the bridge or the tunnel and go out only there, whatever the
routes say at that moment.  `node/overlay/firewall.py` loads the text; nothing here runs a program.
"""

from hashlib import sha256

from node.plan.overlay_model import OverlayConfig
from protocol.probe import MAGIC

TABLE = "inet corral"
COMMENT = "corral-overlay"
"""Marks our rules among those of Docker's chain."""


def digest(text: str) -> str:
    """Return the short digest by which a loaded script is recognised."""
    return sha256(text.encode()).hexdigest()[:16]


def script_chain(text: str) -> str:
    """Return the name of the empty chain that says from which script the table was made."""
    return f"script_{digest(text)}"


def render_script(config: OverlayConfig) -> str:
    """Return the whole script: it removes a table of that name and makes it anew, in one transaction."""
    body = "\n".join([*_members(config), *_guard_in(config), *_guard_out(config), *_mss(config), *_nat(config)])
    return f"table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\nchain {script_chain(body)} {{ }}\n{body}\n}}\n"


def script_digest(config: OverlayConfig) -> str:
    """Return the digest that the table has once the script for `config` is loaded."""
    script = render_script(config)
    return script.split("chain script_", 1)[1].split(" ", 1)[0]


def docker_rules(config: OverlayConfig) -> tuple[str, ...]:
    """Return the rules that let tunnel and bridge talk where Docker drops what is forwarded, as `iptables -S` does."""
    ways = ((config.tunnel, config.bridge), (config.bridge, config.tunnel))
    return tuple(f"-i {source} -o {target} -m comment --comment {COMMENT} -j ACCEPT" for source, target in ways)


def _members(config: OverlayConfig) -> list[str]:
    if config.mode != "vxlan":
        return []
    addresses = ", ".join(sorted({peer.endpoint for peer in config.peers}))
    # nft takes no empty list of elements; a set without any matches nobody, which is what is meant.
    elements = f"elements = {{ {addresses} }}" if addresses else ""
    return [f"set members {{ type ipv4_addr; {elements} }}"]


def _guard_in(config: OverlayConfig) -> list[str]:
    ours = f'{{ "{config.bridge}", "{config.tunnel}" }}'
    rules = ['iifname "lo" accept']
    if config.mode == "vxlan":
        # VXLAN carries no proof of its sender; packets that this host merely forwards are not our business.  A host
        # that joins is no member yet and probes the port: what begins so is no VXLAN, its valid flag is not set.
        not_probe = f"@th,64,32 != 0x{MAGIC.hex()}"
        guard = f"udp dport {config.listen_port} fib daddr type local ip saddr != @members {not_probe}"
        rules.append(f"{guard} counter drop")
    rules += [
        f"ip saddr {config.network} iifname != {ours} counter drop",
        # Before translation: published ports and masqueraded answers carry the host's address here and pass.
        f"ip daddr {config.network} iifname != {ours} counter drop",
        f'iifname "{config.bridge}" ip saddr {config.network} ip saddr != {config.subnet} counter drop',
        f'iifname "{config.tunnel}" ip saddr != {config.network} counter drop',
        f'iifname "{config.tunnel}" ip saddr {config.subnet} counter drop',
        f'ip daddr {config.dns_address} iifname != "{config.bridge}" counter drop',
    ]
    return _chain("guard_in", "filter hook prerouting priority -300", rules)


def _guard_out(config: OverlayConfig) -> list[str]:
    ours = f'{{ "lo", "{config.bridge}", "{config.tunnel}" }}'
    # After srcnat (100): what still has an overlay address as its source was not translated, as happens to packets
    # that connection tracking finds invalid.
    return _chain(
        "guard_out",
        "filter hook postrouting priority 110",
        [
            f"ip daddr {config.network} oifname != {ours} counter drop",
            f"ip saddr {config.network} oifname != {ours} counter drop",
        ],
    )


def _mss(config: OverlayConfig) -> list[str]:
    ways = (f'oifname "{config.tunnel}"', f'iifname "{config.tunnel}"')
    clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"
    return _chain("mss", "filter hook forward priority -150", [f"{way} {clamp}" for way in ways])


def _nat(config: OverlayConfig) -> list[str]:
    ours = f'{{ "{config.bridge}", "{config.tunnel}" }}'
    rule = f"ip saddr {config.network} ip daddr != {config.network} oifname != {ours} masquerade"
    return _chain("outbound", "nat hook postrouting priority 100", [rule])


def _chain(name: str, hook: str, rules: list[str]) -> list[str]:
    return [f"chain {name} {{", f"type {hook}; policy accept;", *rules, "}"]
