"""When a server is sent several requests at once, and when it has to earn that again."""

from __future__ import annotations

from waxlocal_daemon.pipelining import (
    ENDED,
    MOST_NEEDED,
    MOST_TOGETHER,
    TRUSTED_AFTER,
    Pipelining,
)


def trusted() -> Pipelining:
    """Return what a server has earned."""
    found = Pipelining()
    found.answered(TRUSTED_AFTER)
    assert found.most == MOST_TOGETHER
    return found


def test_a_server_is_trusted_after_some_responses() -> None:
    """Over connections that stay open."""
    found = Pipelining()
    found.answered(TRUSTED_AFTER - 1)
    assert found.most == 1
    found.answered(1)
    assert found.most == MOST_TOGETHER


def test_however_many_connections_are_lost_at_once_it_is_one_loss() -> None:
    """A server that was started anew is trusted again after twice as many responses."""
    found = trusted()
    for _ in range(32):
        found.ended(together=True, was_lost=True)
    found.answered(2 * TRUSTED_AFTER - 1)
    assert found.most == 1
    found.answered(1)
    assert found.most == MOST_TOGETHER


def test_each_loss_doubles_what_is_needed_up_to_a_limit() -> None:
    """A daemon that runs for months is not slow for ever."""
    found = trusted()
    for _ in range(50):
        found.answered(MOST_NEEDED)
        assert found.most == MOST_TOGETHER
        found.ended(together=True, was_lost=True)
        assert found.most == 1


def test_a_connection_lost_with_one_request_in_it_costs_the_trust_only_once() -> None:
    """Several at a time were no part of it."""
    found = trusted()
    found.ended(together=False, was_lost=True)
    assert found.most == 1
    found.answered(TRUSTED_AFTER)
    assert found.most == MOST_TOGETHER


def test_announced_ends_every_thousand_requests_do_no_harm() -> None:
    """As nginx does it, on 32 connections that began together."""
    found = Pipelining()
    for _ in range(10):
        found.answered(32 * 1_000)
        assert found.most == MOST_TOGETHER
        for _ in range(32):
            found.ended(together=True, was_lost=False)
        found.answered(TRUSTED_AFTER)
        assert found.most == MOST_TOGETHER


def test_a_server_that_ends_each_connection_soon_is_not_trusted() -> None:
    """Most of what is sent together would go again."""
    found = Pipelining()
    for _ in range(100):
        found.answered(ENDED // 2)
        found.ended(together=False, was_lost=False)
        assert found.most == 1
