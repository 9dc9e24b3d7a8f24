"""The DNS server as the C library's resolver meets it: port 53 of 169.254.169.250, an address that comes later."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dns.control import ServerOptions

pytestmark = pytest.mark.live

SCRIPT = """
set -e
ip link set lo up
mount --bind "$FOLDER/resolv.conf" /etc/resolv.conf
"$PYTHON" -P "$FOLDER/feed.py"
trap 'kill $(cat "$FOLDER/pid")' EXIT
ip address add 169.254.169.250/32 dev lo
for name in web WEB web.shop shop_web_1 web.shop.rancher.internal; do
    echo "$name $(getent ahostsv4 $name | awk '{print $1}' | sort -u | tr '\\n' ' ')"
done
echo "reverse $(getent hosts 10.42.1.10)"
getent hosts gone || echo "gone $?"
"""

FEED = """
import pathlib, sys, trio
from dns.control import ServerOptions, ensure_server
from dns.zone import make_zone

async def main(folder):
    client = await ensure_server(ServerOptions(folder / "dns.sock", log=folder / "log"))
    (folder / "pid").write_text(str((await client.status()).pid))
    names = {"web.shop.rancher.internal": ("10.42.1.10", "10.42.2.10"), "shop_web_1.rancher.internal": ("10.42.1.10",)}
    suffixes = ("shop.rancher.internal", "rancher.internal")
    await client.publish(make_zone(1, names, scopes={"169.254.169.250": suffixes}, allow=("127.0.0.0/8",)))
    await client.aclose()

trio.run(main, pathlib.Path(__file__).parent)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
@pytest.mark.parametrize("search", ["", "search shop.rancher.internal web.shop.rancher.internal rancher.internal"])
def test_c_library_resolves_short_names_with_and_without_a_search_list(tmp_path: Path, search: str) -> None:
    (tmp_path / "resolv.conf").write_text(f"{search}\nnameserver 169.254.169.250\n")
    (tmp_path / "feed.py").write_text(FEED)
    environment = ServerOptions(tmp_path).environment() | {"FOLDER": str(tmp_path), "PYTHON": sys.executable}
    command = ["unshare", "--net", "--mount", "sh", "-c", SCRIPT]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    both = "10.42.1.10 10.42.2.10 "
    told = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    assert told == [
        f"web {both}".strip(),
        f"WEB {both}".strip(),
        f"web.shop {both}".strip(),
        "shop_web_1 10.42.1.10",
        f"web.shop.rancher.internal {both}".strip(),
        "reverse 10.42.1.10 shop_web_1.rancher.internal",
        "gone 2",
    ], ended.stderr
