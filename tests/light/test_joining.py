"""A join that cannot work says why and what to do, ends with 1, and changes nothing, here and there."""

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest
import trio

from node.config import Folders
from node.engine.memory import MemoryEngine
from node.joining import Joining, JoinRefusedError, join_cluster
from protocol.join import Endpoint, Finding, KernelFeatures, decode_join_info, encode_join_info
from protocol.pki import ca_digest, certificate_from_pem, certificate_to_pem, new_ca, new_key, utc
from protocol.tokens import new_join_token, parse_token, render_token
from scripts.lightlib.cluster import ROOT, LightCluster, LightNode, Ran, run_node
from tests.light.conftest import says, unchanged
from tests.light.servers import answering, http

TOKENS = "/v1/projects/1a5/registrationtokens"


@pytest.fixture
def newcomer(cluster: LightCluster) -> LightNode:
    return cluster.host()


def member(cluster: LightCluster) -> LightNode:
    return cluster.nodes[0]


def join(newcomer: LightNode, url: str, token: str, *flags: str) -> Ran:
    return run_node("join", url, "--token", token, *newcomer.flags(), *flags)


def join_info(cluster: LightCluster) -> bytes:
    body = member(cluster).ask("GET", "/v1/join").body
    return msgspec.json.encode(body)


@pytest.mark.parametrize("token", ["nonsense", "corral1_1a5", "corral1_" + "x" * 4000, "corral1_1a5_é_ü_ß_0"])
def test_malformed_token_is_refused_before_anybody_is_asked(newcomer: LightNode, token: str) -> None:
    says(join(newcomer, "http://127.0.4.250:1", token), 1, "this join token cannot be used", "node token create")
    assert not newcomer.data.exists()


def test_token_with_a_typing_error_is_refused_as_such(cluster: LightCluster, newcomer: LightNode) -> None:
    token = cluster.token[:-8] + ("a" if cluster.token[-8] != "a" else "b") + cluster.token[-7:]
    says(join(newcomer, member(cluster).url, token), 1, "this join token cannot be used")


def test_token_of_another_cluster_is_refused_without_saying_the_secret(
    cluster: LightCluster, newcomer: LightNode
) -> None:
    token = render_token(new_join_token("1a5", b"\x07" * len(parse_token(cluster.token).ca_digest), Random(1)))
    with unchanged(member(cluster), newcomer):
        says(
            join(newcomer, member(cluster).url, token), 1, "certificate authority that is not the one in the token",
            "the secret was not sent", "nothing was written here",
        )  # fmt: skip


def test_token_that_the_cluster_does_not_know_is_refused(cluster: LightCluster, newcomer: LightNode) -> None:
    token = render_token(new_join_token("1a5", parse_token(cluster.token).ca_digest, Random(1)))
    with unchanged(member(cluster), newcomer):
        says(join(newcomer, member(cluster).url, token), 1, "knows no such join token", "node token create")


def test_expired_token_is_refused_with_its_age(cluster: LightCluster, newcomer: LightNode) -> None:
    made = member(cluster).ask("POST", TOKENS, {"expires": int((time.time() + 0.2) * 1000)})
    assert made.status == 201
    time.sleep(0.3)
    with unchanged(member(cluster), newcomer):
        says(join(newcomer, member(cluster).url, made.body["token"]), 1, "expired", "node token create")


def test_rotated_token_is_refused_and_the_new_one_works(cluster: LightCluster, newcomer: LightNode) -> None:
    made = member(cluster).ask("POST", TOKENS, {}).body
    assert member(cluster).ask("POST", f"{TOKENS}/{made['id']}?action=deactivate").status in (200, 202)
    with unchanged(member(cluster), newcomer):
        says(join(newcomer, member(cluster).url, made["token"]), 1, "was rotated away", "node token create")


def test_somebody_in_the_middle_with_another_ca_never_hears_the_secret(
    cluster: LightCluster, newcomer: LightNode
) -> None:
    key = new_key()
    theirs = certificate_to_pem(new_ca("c" * 32, key, utc(time.time()))).decode()
    info = msgspec.structs.replace(decode_join_info(join_info(cluster)), ca=theirs)
    with unchanged(member(cluster), newcomer), answering(http(encode_join_info(info))) as middle:
        says(join(newcomer, middle.url, cluster.token), 1, "somebody sits in between", "the secret was not sent")
    assert parse_token(cluster.token).secret.encode() not in middle.heard
    assert ca_digest(certificate_from_pem(theirs.encode())) != parse_token(cluster.token).ca_digest


def test_somebody_in_the_middle_who_shows_our_ca_and_has_no_certificate_of_it_hears_nothing(
    cluster: LightCluster, newcomer: LightNode
) -> None:
    with answering(b"no TLS at all") as peer:
        info = decode_join_info(join_info(cluster))
        info = msgspec.structs.replace(info, peers=(Endpoint(peer.address, peer.port),))
        with unchanged(member(cluster), newcomer), answering(http(encode_join_info(info))) as middle:
            says(join(newcomer, middle.url, cluster.token), 1, "peer port answers", "open the peer port")
        assert parse_token(cluster.token).secret.encode() not in peer.heard
        assert peer.heard


def test_url_where_nobody_listens_is_named(cluster: LightCluster, newcomer: LightNode) -> None:
    with unchanged(member(cluster), newcomer):
        says(join(newcomer, "http://127.0.4.250:9", cluster.token), 1, "127.0.4.250:9", "nobody listens there", "try:")


NOT_OURS = {
    "a page": http(b"<html>welcome</html>", kind="text/html"),
    "a 404": http(b"{}", status="404 Not Found"),
    "other JSON": http(b'{"hello": "world"}'),
    "a list": http(b"[]"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "no end": b"HTTP/1.1 200 OK\r\n\r\n{" + b"x" * 1_000_000,
}


@pytest.mark.parametrize("what", NOT_OURS)
def test_server_that_is_no_corral_is_told_from_one(cluster: LightCluster, newcomer: LightNode, what: str) -> None:
    with answering(NOT_OURS[what]) as other:
        ran = join(newcomer, other.url, cluster.token)
    says(ran, 1, "try:")
    assert "not a Corral node" in ran.err or "printed by `node token create`" in ran.err
    assert not newcomer.data.exists()


@pytest.mark.parametrize("url", ["ftp://h1", "http://", "h1:99999", "h 1", "h1/../.."])
def test_url_that_is_none_is_named(newcomer: LightNode, cluster: LightCluster, url: str) -> None:
    ran = join(newcomer, url, cluster.token)
    assert ran.code in (1, 2)
    says(ran, ran.code)
    assert not newcomer.data.exists()


@pytest.mark.live
def test_name_that_dns_does_not_know_is_named(newcomer: LightNode, cluster: LightCluster) -> None:
    # In a network namespace of its own the question leaves this machine for nowhere.
    words = [sys.executable, "-m", "node", "join", "http://h9.example.invalid:8080", "--token", cluster.token]
    own = ["sh", "-c", 'ip link set lo up; ip address add 127.0.4.1/8 dev lo; exec "$@"', "-", *words]
    ended = subprocess.run(
        ["unshare", "-n", *own, *newcomer.flags()], cwd=ROOT, capture_output=True, check=False, timeout=60
    )
    ran = Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
    says(ran, 1, "cannot find h9.example.invalid", "give the address instead")
    assert not newcomer.data.exists()


def test_member_does_not_join_twice(cluster: LightCluster) -> None:
    node = member(cluster)
    with unchanged(node):
        says(
            join(node, node.url, cluster.token), 1, "member of a cluster already", "start it with",
            "leave` that cluster first",
        )  # fmt: skip
        assert node.is_running()


def test_folder_of_another_cluster_is_not_touched(cluster: LightCluster, light: LightCluster) -> None:
    other = light.found()
    light.stop(other)
    before = {path.name: path.read_bytes() for path in other.data.iterdir() if path.is_file()}
    with unchanged(member(cluster)):
        says(join(other, member(cluster).url, cluster.token), 1, "member of a cluster already", "it is h1 of cluster")
    assert {path.name: path.read_bytes() for path in other.data.iterdir() if path.is_file()} == before


def test_name_of_a_live_host_is_refused(cluster: LightCluster, newcomer: LightNode) -> None:
    newcomer.name = "H1"
    with unchanged(member(cluster), newcomer):
        ran = join(newcomer, member(cluster).url, cluster.token)
        says(ran, 1, "a live host is called H1 already", "choose another with --name", "nothing was written here")


@pytest.mark.parametrize("name", ["-h", "a" * 64, "h_1", "höst", "", "h1.", "a b", "$(x)"])
def test_name_that_no_host_can_have_is_refused(cluster: LightCluster, newcomer: LightNode, name: str) -> None:
    newcomer.name = name
    ran = join(newcomer, "http://127.0.4.250:9", cluster.token)
    if name:  # An empty one means the hostname.
        says(ran, 2, "cannot be a host's name" if name != "-h" else "")
    assert not newcomer.data.exists()


@pytest.mark.parametrize(("what", "kind"), [("api_port", "tcp"), ("peer_port", "tcp"), ("peer_port", "udp")])
def test_port_in_use_is_named_with_how_to_find_its_holder(
    cluster: LightCluster, newcomer: LightNode, what: str, kind: str
) -> None:
    port = getattr(newcomer, what)
    with socket.socket(type=socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as holder:
        holder.bind((newcomer.address, port))
        if kind == "tcp":
            holder.listen()
        with unchanged(member(cluster), newcomer):
            ran = join(newcomer, member(cluster).url, cluster.token)
            says(ran, 1, f"{kind.upper()} {port}", "in use on this host", f"sport = :{port}")
            says(run_node("start", *newcomer.flags()), 1, "in use on this host", "nothing was written")


@pytest.mark.parametrize("skew", [3600.0, -3600.0, float("nan")])
async def test_clock_off_by_an_hour_is_refused(cluster: LightCluster, tmp_path: Path, skew: float) -> None:
    newcomer = cluster.host()
    kernel = KernelFeatures(wireguard_kernel=True, wireguard_go=True, vxlan=True, tun=True, nft=True)
    joining = Joining(
        name=newcomer.name,
        address=newcomer.address,
        underlay_mtu=1500,
        addresses=(newcomer.address,),
        api_port=newcomer.api_port,
        peer_port=newcomer.peer_port,
        overlay_port=None,
        labels={},
        kernel=kernel,
        range_in_use=lambda network: (),
        has_overlay=False,
    )
    info = join_info(cluster)

    async def fetch(url: str) -> bytes:
        return info

    said: list[Finding] = []

    def say(findings: Sequence[Finding]) -> None:
        said.extend(findings)

    with unchanged(member(cluster), newcomer):
        with pytest.raises(JoinRefusedError) as refused:
            await join_cluster(
                Folders(newcomer.data, newcomer.run),
                joining,
                url=member(cluster).url,
                token_text=cluster.token,
                fetch=fetch,
                ask_version=MemoryEngine(now_ms=lambda: 0).version,
                say=say,
                now=lambda: time.time() + skew,
            )
        await trio.lowlevel.checkpoint()
    assert "clock" in str(refused.value)
    assert "time service" in refused.value.try_
    assert [finding.level for finding in said if finding.check == "clock"] == ["fail"]
