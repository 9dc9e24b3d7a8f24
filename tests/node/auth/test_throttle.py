"""Logging in gets slower with every failure, per login and per address, and never for long in somebody's name."""

from node.auth.throttle import BY_ADDRESS, BY_LOGIN, FORGET_AFTER, MAX_KEYS, Throttle


def fail(throttle: Throttle, count: int, login: str = "alice", address: str = "192.0.2.1", now: float = 0.0) -> None:
    for _ in range(count):
        assert throttle.start(login, address, now) == 0.0


def test_first_failures_are_free_and_then_each_doubles_the_wait() -> None:
    throttle, now, waits = Throttle(), 0.0, []
    fail(throttle, BY_LOGIN.free)
    for _ in range(8):
        waits.append(throttle.start("ALICE", "192.0.2.2", now))
        now += waits[-1]
        assert throttle.start("alice", "192.0.2.3", now) == 0.0
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_attempt_that_must_wait_does_not_count() -> None:
    throttle = Throttle()
    fail(throttle, BY_LOGIN.free)
    assert [throttle.start("alice", "192.0.2.1", 0.5) for _ in range(9)] == [0.5] * 9
    assert throttle.start("alice", "192.0.2.1", 1.0) == 0.0


def test_address_is_slowed_down_whatever_logins_it_tries() -> None:
    throttle = Throttle()
    for number in range(BY_ADDRESS.free):
        fail(throttle, 1, f"user{number}")
    assert throttle.start("another", "192.0.2.1", 0.0) == 1.0
    assert throttle.start("another", "192.0.2.2", 0.0) == 0.0


def test_addresses_of_one_ipv6_network_count_together() -> None:
    throttle = Throttle()
    for number in range(BY_ADDRESS.free):
        fail(throttle, 1, f"user{number}", f"2001:db8::{number + 1:x}")
    assert throttle.start("another", "2001:db8::ffff", 0.0) == 1.0
    assert throttle.start("another", "2001:db8:0:1::1", 0.0) == 0.0


def test_success_forgets_the_failures_of_the_login() -> None:
    throttle = Throttle()
    fail(throttle, BY_LOGIN.free)
    throttle.succeed("Alice", "192.0.2.1")
    fail(throttle, BY_LOGIN.free)


def test_logging_in_rightly_never_slows_an_address_down() -> None:
    throttle = Throttle()
    for number in range(BY_ADDRESS.free * 3):
        fail(throttle, 1, f"user{number}")
        throttle.succeed(f"user{number}", "192.0.2.1")


def test_failures_are_forgotten_after_a_while() -> None:
    throttle = Throttle()
    fail(throttle, BY_LOGIN.free)
    fail(throttle, BY_LOGIN.free, now=FORGET_AFTER)


def test_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(MAX_KEYS + 50):
        throttle.start(f"user{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(throttle) == 2 * MAX_KEYS
