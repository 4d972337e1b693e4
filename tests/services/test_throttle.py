"""Failed logins slow their account and their address down."""

from gateway.services.throttle import WINDOW, Throttle


def test_a_key_waits_after_too_many_failures():
    throttle = Throttle(3)
    for _ in range(3):
        assert throttle.wait("alice", 100.0) == 0
        throttle.failed("alice", 100.0)
    assert 0 < throttle.wait("alice", 110.0) <= WINDOW
    assert throttle.wait("bob", 110.0) == 0
    assert throttle.wait("alice", 100.0 + WINDOW) == 0


def test_the_window_begins_with_its_first_failure():
    throttle = Throttle(2)
    throttle.failed("alice", 100.0)
    throttle.failed("alice", 100.0 + WINDOW)
    assert throttle.wait("alice", 100.0 + WINDOW) == 0


def test_the_right_password_forgets_failures():
    throttle = Throttle(1)
    throttle.failed("alice", 100.0)
    throttle.passed("alice")
    assert throttle.wait("alice", 100.0) == 0


def test_the_table_is_bounded():
    throttle = Throttle(1, keys=10)
    for number in range(1000):
        throttle.failed(str(number), 100.0)
    assert len(throttle) == 10
    assert throttle.wait("999", 100.0)
    assert throttle.wait("0", 100.0) == 0
