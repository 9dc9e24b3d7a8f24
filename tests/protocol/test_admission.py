"""Who may join: every refusal names what is wrong and what to do."""

from math import nan
from random import Random

import msgspec
import pytest

from protocol import admission, tokens
from protocol.join import Facts, Finding, JoinRefused, KernelFeatures, TokenProof
from tests.protocol.test_join import FACTS, INFO, KERNEL

NOW = 1e9
TOKEN = tokens.new_join_token("1a5", bytes(range(32)), Random(1))
PROOF = admission.proof_of(TOKEN)
CLUSTER = admission.ClusterFacts(
    "0.1.0", 1, "wireguard", "10.42.0.0/16", (admission.KnownHost("h1", "1" * 32, is_live=True),)
)


def state(**changes: object) -> dict[str, admission.TokenState]:
    known = admission.TokenState(TOKEN.token_id, "1a5", tokens.token_secret_hash(TOKEN.secret))
    for name, value in changes.items():
        object.__setattr__(known, name, value)
    return {TOKEN.token_id: known}


def failed(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.check for finding in findings if not finding.ok]


def facts(**changes: object) -> Facts:
    return msgspec.structs.replace(FACTS, **changes)


def kernel(**changes: bool) -> KernelFeatures:
    return msgspec.structs.replace(KERNEL, **changes)


def test_token_of_this_cluster_is_accepted() -> None:
    assert admission.check_token(PROOF, state(), NOW) is None


@pytest.mark.parametrize(
    ("known", "code", "why"),
    [
        ({}, "token_unknown", "knows no such"),
        (state(secret_hash=bytes(32)), "token_unknown", "knows no such"),
        (state(environment_id="1a6"), "token_unknown", "knows no such"),
        (state(expires_at=NOW - 7200), "token_expired", "expired 2 h ago"),
        (state(expires_at=NOW), "token_expired", "expired 0 s ago"),
        (state(is_rotated=True), "token_rotated", "rotated away"),
    ],
)
def test_token_is_refused_with_its_reason(known: dict[str, admission.TokenState], code: str, why: str) -> None:
    refused = admission.check_token(PROOF, known, NOW)
    assert isinstance(refused, JoinRefused)
    assert refused.code == code
    assert why in refused.message
    assert "node token create" in refused.try_


def test_whoever_guesses_a_token_id_does_not_learn_that_it_expired() -> None:
    guess = TokenProof("1a5", TOKEN.token_id, "guess")
    refused = admission.check_token(guess, state(expires_at=0.0, is_rotated=True), NOW)
    assert refused is not None
    assert refused.code == "token_unknown"


def test_unknown_token_with_an_empty_secret_is_refused() -> None:
    refused = admission.check_token(TokenProof("1a5", "x", ""), {}, NOW)
    assert refused is not None
    assert refused.code == "token_unknown"


def test_served_authority_that_is_not_the_tokens_is_refused_before_the_secret_is_said() -> None:
    assert admission.check_served_ca(TOKEN, bytes(range(32)), "http://h1:8080") is None
    refused = admission.check_served_ca(TOKEN, bytes(32), "http://h1:8080")
    assert refused is not None
    assert refused.code == "wrong_cluster"
    assert "sits in between" in refused.message
    assert TOKEN.secret not in refused.message


def test_good_host_has_a_finding_for_each_check_and_none_failing() -> None:
    findings = admission.check_facts(FACTS, CLUSTER, NOW)
    assert [finding.level for finding in findings] == ["ok"] * len(findings)
    assert admission.refusal_of(findings) is None
    assert failed(admission.check_info(INFO, FACTS, NOW)) == []


@pytest.mark.parametrize(
    ("changes", "check", "detail", "advice"),
    [
        ({"node_id": "1" * 32, "name": "h1"}, "identity", "already, as h1", "node leave"),
        ({"name": "H1"}, "name", "live host is called H1", "--name"),
        ({"clock": NOW + 3600}, "clock", "60 min ahead of", "chrony"),
        ({"clock": NOW - 7200}, "clock", "2 h behind", "chrony"),
        ({"clock": nan}, "clock", "behind", "chrony"),
        ({"docker_api": ""}, "docker", "did not answer", "systemctl start docker"),
        ({"docker_api": "1.9"}, "docker", "older than 1.24", "1.12 or later"),
        ({"docker_api": "x"}, "docker", "'x'", "1.12 or later"),
        ({"feature_level": 0}, "release", "older than the cluster", "install release 0.1.0"),
        ({"kernel": kernel(tun=False)}, "overlay", "no TUN", "--overlay vxlan"),
        ({"kernel": kernel(wireguard_go=False)}, "overlay", "no wireguard-go", "install wireguard-go"),
        ({"kernel": kernel(nft=False)}, "nftables", "nft", "install the package nftables"),
        ({"range_in_use": ("10.42.7.0/24 on eth1",)}, "address range", "10.42.7.0/24 on eth1", "--overlay-network"),
        ({"advertise": "h2"}, "address", "no IP address", "--advertise"),
        ({"advertise": "0.0.0.0"}, "address", "cannot reach", "--advertise"),
        ({"advertise": "10.42.3.1"}, "address", "cannot reach", "--advertise"),
    ],
)
def test_host_that_does_not_fit_fails_one_check_and_is_told_what_to_do(
    changes: dict[str, object], check: str, detail: str, advice: str
) -> None:
    findings = admission.check_facts(facts(**changes), CLUSTER, NOW)
    bad = [finding for finding in findings if not finding.ok]
    assert [finding.check for finding in bad][:1] == [check]
    assert detail in bad[0].detail
    assert advice in bad[0].try_
    refused = admission.refusal_of(findings)
    assert refused is not None
    assert refused.try_ == bad[0].try_


@pytest.mark.parametrize(
    ("skew", "level"), [(0, "ok"), (5, "ok"), (-5.1, "warn"), (6, "warn"), (30, "warn"), (30.1, "fail"), (-31, "fail")]
)
def test_clock_is_bearable_warned_of_or_refused_by_how_far_it_is_off(skew: float, level: str) -> None:
    assert admission.check_clock(NOW + skew, NOW).level == level


def test_name_of_a_host_that_is_down_is_refused_with_the_way_out() -> None:
    hosts = (admission.KnownHost("h2", "2" * 32, is_live=False),)
    finding = admission.check_name("h2", "0" * 32, hosts)
    assert finding.level == "fail"
    assert "node host rm h2" in finding.try_


def test_newer_release_and_foreign_address_are_warned_of() -> None:
    findings = admission.check_facts(facts(feature_level=2, advertise="192.0.2.1"), CLUSTER, NOW)
    assert [finding.check for finding in findings if finding.level == "warn"] == ["release", "address"]


def test_vxlan_needs_neither_tun_nor_wireguard() -> None:
    bare = kernel(tun=False, wireguard_go=False)
    assert admission.check_overlay(bare, "vxlan").ok
    assert not admission.check_overlay(kernel(vxlan=False), "vxlan").ok


def test_kernel_wireguard_needs_no_tun() -> None:
    finding = admission.check_overlay(kernel(wireguard_kernel=True, tun=False, wireguard_go=False), "wireguard")
    assert finding.level == "ok"
    assert "in the kernel" in finding.detail


@pytest.mark.parametrize(
    ("check", "code"), [("identity", "already_member"), ("name", "name_taken"), ("clock", "preflight_failed")]
)
def test_refusal_carries_the_code_of_its_first_failure_and_counts_the_rest(check: str, code: str) -> None:
    findings = (Finding("x", "ok"), Finding(check, "fail", "bad", "do this"), Finding("y", "fail", "worse"))
    refused = admission.refusal_of(findings)
    assert refused == JoinRefused(code, f"{check}: bad (and 1 more)", "do this")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (3600, "60 min"), (9000, "2.5 h"), (200000, "2.31 d")],
)
def test_span_reads_as_a_person_would_say_it(seconds: float, text: str) -> None:
    assert admission.render_span(seconds) == text
