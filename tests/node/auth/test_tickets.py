"""Tickets: good for five minutes, for one cluster, as they were issued, and for nothing that is not a ticket."""

import base64
import json

import jwt
import pytest
from hypothesis import given, strategies as st

from node.auth.ring import derive_keys
from node.auth.tickets import AUDIENCE, LIFETIME_MS, MAX_TOKEN_CHARS, issue, read
from protocol.seal import Keyring

OURS = derive_keys(Keyring(bytes([1]) * 32))
ROTATED = derive_keys(Keyring(bytes([2]) * 32, (bytes([1]) * 32,)))
FOREIGN = derive_keys(Keyring(bytes([3]) * 32))
NOW = 1_460_440_800_000
CLAIMS = {"logs": {"Container": "abc", "Lines": 100, "Follow": True}, "hostUuid": "h"}


def test_ticket_gives_its_claims_at_every_node_with_the_ring() -> None:
    claims = read(ROTATED, issue(OURS, CLAIMS, NOW), NOW)
    assert claims is not None
    assert {name: claims[name] for name in CLAIMS} == CLAIMS


def test_client_can_read_the_claims_without_any_key() -> None:
    claims = jwt.decode(issue(OURS, CLAIMS, NOW), options={"verify_signature": False})
    assert claims["logs"] == CLAIMS["logs"]
    assert claims["exp"] * 1000 == NOW + LIFETIME_MS


def test_ticket_is_good_for_five_minutes() -> None:
    ticket = issue(OURS, CLAIMS, NOW)
    assert read(OURS, ticket, NOW + LIFETIME_MS - 1) is not None
    assert read(OURS, ticket, NOW + LIFETIME_MS) is None


def test_ticket_of_another_cluster_is_refused() -> None:
    assert read(OURS, issue(FOREIGN, CLAIMS, NOW), NOW) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "session", "exp": NOW // 1000 + 60},
        {"exp": NOW // 1000 + 60},
        {"aud": AUDIENCE},
        {"aud": AUDIENCE, "exp": "soon"},
        {"aud": AUDIENCE, "exp": True},
    ],
)
def test_token_that_is_no_ticket_is_refused_although_our_key_signed_it(claims: dict[str, object]) -> None:
    assert read(OURS, jwt.encode(claims, OURS.signing[0], algorithm="HS256"), NOW) is None


def test_unsigned_ticket_is_refused() -> None:
    claims = {**CLAIMS, "aud": AUDIENCE, "exp": NOW // 1000 + 60}
    assert read(OURS, jwt.encode(claims, "", algorithm="none"), NOW) is None


def test_altered_claims_are_refused() -> None:
    head, body, signature = issue(OURS, CLAIMS, NOW).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["logs"]["Container"] = "other"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert read(OURS, f"{head}.{forged}.{signature}", NOW) is None


def test_overlong_token_is_refused_unread() -> None:
    assert read(OURS, issue(OURS, {"x": "y" * MAX_TOKEN_CHARS}, NOW), NOW) is None


@given(token=st.text(max_size=200) | st.binary(max_size=100).map(lambda raw: raw.decode("latin-1") + ".e30.x"))
def test_any_other_text_is_refused(token: str) -> None:
    assert read(OURS, token, NOW) is None
