"""What a joining host is measured against, read from the state."""

from node.commands import CreateToken, RemoveHost, SetTokenState
from node.model import DEFAULT_ENVIRONMENT_ID, State
from node.plan.facts import cluster_facts, token_states
from tests.fakes.states import done, grown, node_id, only_host


def with_token(state: State, name: str, expires: int | None = None) -> State:
    command = CreateToken(
        uuid=f"uuid-{name}",
        environment_id=DEFAULT_ENVIRONMENT_ID,
        token_id=name,
        secret_hash=b"h" * 32,
        expires=expires,
    )
    return done(state, command)


def test_facts_name_the_release_and_the_overlay() -> None:
    facts = cluster_facts(grown(0), alive=(), version="1.2.3", feature_level=4)
    assert (facts.version, facts.feature_level) == ("1.2.3", 4)
    assert facts.overlay_network == "10.42.0.0/16"
    assert facts.overlay_mode == "wireguard"
    assert facts.hosts == ()


def test_facts_say_which_hosts_are_alive() -> None:
    facts = cluster_facts(grown(2), alive={node_id(2)}, version="1", feature_level=1)
    assert [(host.name, host.is_live) for host in facts.hosts] == [("h1", False), ("h2", True)]


def test_removed_hosts_do_not_count() -> None:
    state = grown(2)
    state = done(state, RemoveHost(id=only_host(state, 1).id))
    facts = cluster_facts(state, alive={node_id(1)}, version="1", feature_level=1)
    assert [host.name for host in facts.hosts] == ["h2"]


def test_tokens_come_with_their_environment_and_secret() -> None:
    tokens = token_states(with_token(grown(1), "one"))
    assert list(tokens) == ["one"]
    token = tokens["one"]
    assert (token.environment_id, token.secret_hash) == (f"1a{DEFAULT_ENVIRONMENT_ID}", b"h" * 32)
    assert (token.expires_at, token.is_rotated) == (None, False)


def test_expiry_of_a_token_is_in_seconds() -> None:
    assert token_states(with_token(grown(1), "one", expires=1_500))["one"].expires_at == 1.5


def test_token_that_was_put_out_of_use_is_known_as_rotated() -> None:
    state = with_token(with_token(grown(1), "one"), "two")
    state = done(state, SetTokenState(id=1, state="inactive"))
    state = done(state, SetTokenState(id=2, state="removed"))
    assert all(token.is_rotated for token in token_states(state).values())
