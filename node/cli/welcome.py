"""What a person reads once a node is ready: where things are, how to sign in, how other hosts join.

Pure.  The text holds secrets: it is printed and kept nowhere.
"""

from dataclasses import dataclass, field

from node.cli.output import paint


@dataclass(frozen=True, slots=True)
class FoundedCluster:
    """What the first start has to tell."""

    name: str
    url: str
    join_token: str = field(repr=False)
    access_key: str
    secret_key: str = field(repr=False)
    is_open: bool


def render_founded(cluster: FoundedCluster, *, program: str, colour: bool) -> str:
    """Return the welcome of a new cluster."""
    lines = ["", f"{cluster.name} is the first host of a new cluster.", "", f"  API            {cluster.url}"]
    if cluster.is_open:
        warning = "ACCESS CONTROL IS OFF: whoever reaches this address administers the cluster."
        lines += ["", f"  {paint(warning, 'alarm') if colour else f'!! {warning}'}", ""]
    lines += [
        f"  Access key     {cluster.access_key}",
        f"  Secret key     {cluster.secret_key}",
        "                 shown this once; on this host root needs no key",
        "",
        "Join another host with:",
        "",
        f"  {program} join {cluster.url} --token {cluster.join_token}",
        "",
    ]
    return "\n".join(lines) + "\n"


def render_joined(*, name: str, host_id: str, cluster_id: str, environment: str, url: str) -> str:
    """Return the welcome of a host that has joined."""
    where = f"cluster {cluster_id[:12]}, in environment {environment}"
    return f"\n{name} has joined {where}, as host {host_id}.\n\n  API            {url}\n\n"


def api_url(address: str, port: int) -> str:
    """Return the API's URL at an address."""
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
