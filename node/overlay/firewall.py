"""Loads, reads and removes the overlay's packet rules with `nft`, and its rules in Docker's chain with `iptables`.

A loaded table says from which script it was made, and what it looked like right after: so a later look tells, without
any memory, whether it is the wanted one and whether somebody altered it.  Programs are run without a shell.
"""

import re
import subprocess

from node.plan.overlay_rules import COMMENT, TABLE, digest

DOCKER_CHAIN = "DOCKER-USER"
PROGRAM_TIMEOUT = 30.0

_SCRIPT = re.compile(r"^\tchain script_([0-9a-f]{16}) \{$", re.MULTILINE)
_LISTING = re.compile(r"\n*\tchain listing_([0-9a-f]{16}) \{\n\t\}\n", re.MULTILINE)


class FirewallError(Exception):
    """Rules that could not be read or loaded; the message has the program's own words."""


def read_table() -> str | None:
    """Return the digest of the script that the table was loaded from, empty if altered, None without a table."""
    listing = _listing()
    if listing is None:
        return None
    script, look = _SCRIPT.search(listing), _LISTING.search(listing)
    if script is None or look is None or look[1] != _digest_of_listing(listing):
        return ""
    return script[1]


def load_rules(script: str) -> None:
    """Replace the table by `script` at once, and leave in it what it looks like."""
    _run(["nft", "-f", "-"], script)
    listing = _listing()
    if listing is None:
        raise FirewallError(f"{TABLE} vanished right after it was loaded: does another program flush the ruleset?")
    _run(["nft", "-f", "-"], f"add chain {TABLE} listing_{_digest_of_listing(listing)}\n")


def drop_rules() -> None:
    """Remove the table."""
    _run(["nft", "-f", "-"], f"table {TABLE}\ndelete table {TABLE}\n")


def check_nftables() -> str | None:
    """Return why rules like ours cannot be loaded here, or None; loads nothing."""
    script = (
        "table inet corral_check {\nchain one { type nat hook postrouting priority 100; oifname lo masquerade; }\n"
        "chain two { type filter hook prerouting priority -300; fib daddr type local counter drop; }\n"
        "chain three { type filter hook forward priority -150; tcp option maxseg size set rt mtu; }\n}\n"
    )
    try:
        _run(["nft", "--check", "-f", "-"], script)
    except FirewallError as error:
        return str(error)
    return None


def read_docker_rules() -> tuple[str, ...] | None:
    """Return our rules in Docker's chain; None where there is no such chain, or no iptables."""
    try:
        listing = _run(["iptables", "-w", "10", "-S", DOCKER_CHAIN])
    except FirewallError:
        return None
    rules = (line.removeprefix(f"-A {DOCKER_CHAIN} ") for line in listing.splitlines() if line.startswith("-A "))
    return tuple(rule for rule in rules if COMMENT in rule.split())


def put_docker_rule(rule: str) -> None:
    """Insert a rule at the head of Docker's chain."""
    _run(["iptables", "-w", "10", "-I", DOCKER_CHAIN, *rule.split()])


def remove_docker_rule(rule: str) -> None:
    """Delete a rule from Docker's chain."""
    _run(["iptables", "-w", "10", "-D", DOCKER_CHAIN, *rule.split()])


def _listing() -> str | None:
    try:
        return _run(["nft", "--stateless", "list", "table", *TABLE.split()])
    except FirewallError as error:
        if "No such file" in str(error):
            return None
        raise


def _digest_of_listing(listing: str) -> str:
    return digest(" ".join(_LISTING.sub("\n", listing).split()))


def _run(arguments: list[str], text: str = "") -> str:
    try:
        ran = subprocess.run(
            arguments, input=text, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise FirewallError(f"{arguments[0]} is not installed: install the package of that name") from error
    except subprocess.TimeoutExpired as error:
        raise FirewallError(f"{arguments[0]} did not end within {PROGRAM_TIMEOUT:.0f} s") from error
    if ran.returncode:
        raise FirewallError(f"{' '.join(arguments[:2])}: {ran.stderr.strip()[:500] or ran.returncode}")
    return ran.stdout
