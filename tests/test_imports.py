"""Who may import whom: pure code stays pure, each outside library has one home."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
IMPURE = {"trio", "socket", "ssl", "threading", "subprocess", "time", "logging", "os", "asyncio", "select", "signal"}
OUTSIDE = {
    "docker",
    "pyroute2",
    "h11",
    "wsproto",
    "argon2",
    "jwt",
    "httpx",
    "click",
    "rich",
    "sqlite3",
    "dnslib",
    "yaml",
}


def imported_roots(path: Path) -> set[str]:
    """Return the first parts of all that a file imports at run time."""
    roots: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            roots.add((node.module or "").partition(".")[0])
    return roots


def sources(*places: str) -> list[Path]:
    files: list[Path] = []
    for place in places:
        path = ROOT / place
        files += [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files, places
    return files


PURE_NODE = (
    "node/model.py",
    "node/commands.py",
    "node/access_commands.py",
    "node/config.py",
    "node/state",
    "node/plan",
)
PURE_DNS = ("dns/zone.py", "dns/answer.py", "dns/search.py", "dns/messages.py", "dns/wire.py")

RULES = [
    (("protocol",), {"node", "dns"}, "the cores know nothing of the daemon"),
    (("dns",), {"node", "protocol"}, "the resolver is handed a zone"),
    (("protocol",), IMPURE | OUTSIDE, "the cores do no I/O and own no clock"),
    (PURE_NODE, IMPURE | OUTSIDE | {"cryptography"}, "decisions are pure"),
    (PURE_DNS, IMPURE | (OUTSIDE - {"dnslib"}), "answers are pure"),
]


@pytest.mark.parametrize(("places", "banned", "why"), RULES)
def test_place_keeps_its_import_rule(places: tuple[str, ...], banned: set[str], why: str) -> None:
    broken = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in sources(*places)
        if (found := imported_roots(path) & banned)
    }
    assert not broken, f"{why}: {broken}"


HOMES = {
    "docker": ("node/engine/",),
    "pyroute2": ("node/overlay/",),
    "h11": ("node/api/server.py",),
    "wsproto": ("node/api/websocket.py", "node/cli/"),
    "jwt": ("node/auth/",),
    "httpx": ("node/cli/",),
    "click": ("node/cli/",),
    "sqlite3": ("node/store/",),
    "dnslib": ("dns/",),
    "argon2": ("node/auth/passwords.py",),
    "cryptography": ("protocol/pki.py", "protocol/seal.py"),
}


@pytest.mark.parametrize("library", sorted(HOMES))
def test_library_has_one_home(library: str) -> None:
    outside = [
        name
        for path in sources("protocol", "dns", "node")
        if library in imported_roots(path) and not (name := str(path.relative_to(ROOT))).startswith(HOMES[library])
    ]
    assert not outside


def test_certificates_are_never_left_unchecked() -> None:
    needles = ("verify=" + "False", "CERT_" + "NONE", "shell=" + "True", "os." + "system(")
    found = [
        f"{path.relative_to(ROOT)}: {needle}"
        for path in sources("protocol", "dns", "node")
        for needle in needles
        if needle in path.read_text()
    ]
    assert not found
