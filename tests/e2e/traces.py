"""What a cluster could leave on a host: links, routes, rules, networks, containers, sockets, processes, files."""

from scripts.lablib import Lab

# Empty lock files stay: whoever removes one while another opens it ends with two holders.
LOOK = """
ip -o link | awk -F': ' '{print "link", $2}' | sed 's/@.*//'
ip rule; ip -4 route show table all | grep -v '^broadcast' | sed 's/ linkdown//'
nft list tables; iptables-save 2>/dev/null | grep -v '^#' | sed 's/\\[.*\\]//'
docker network ls --format 'network {{.Name}}'
docker ps -a --format 'container {{.Names}} {{.ID}}'
ss -Hlntu | awk '{print "listens", $1, $5}'
ps ax -o args | grep -E 'dns.server|wireguard-go|node.daemon' | grep -v grep
find /var/lib/corral /run/corral -mindepth 1 -not -size 0 2>/dev/null
sysctl -a 2>/dev/null | grep -E 'net.ipv4.(ip_forward|conf.(eth0|all|docker0).(rp_filter|forwarding))'
true
"""


def traces(lab: Lab, host: str) -> set[str]:
    """Return a line for each thing found on a host."""
    return set(lab.exec(host, ["sh", "-c", LOOK]).stdout.splitlines())
