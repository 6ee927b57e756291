"""Requests with an `Idempotency-Key` are done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from waxlocal.ingest.idempotency import (
    KEPT_NS,
    KeyReused,
    fingerprint,
    forget,
    once,
)
from waxlocal.storage.connection import writer

NOW = 1_769_851_800_000_000_000


def ask(path: Path, key: str, body: bytes, done: list[bytes], now: int = NOW) -> str:
    """Make a request that notes what it does, and answers how often it was done."""
    with writer(path) as connection:

        def work() -> dict[str, int]:
            done.append(body)
            return {"n": len(done)}

        return once(connection, key, fingerprint("/x/", body), now, work)


def test_a_repetition_is_answered_and_not_done(db_path: Path) -> None:
    """The same key with the same body gives the stored answer."""
    done: list[bytes] = []
    assert [ask(db_path, "k", b"a", done) for _ in range(3)] == ['{"n":1}'] * 3
    assert done == [b"a"]


def test_work_that_is_repeatable_is_done_again(db_path: Path) -> None:
    """Its key is only held against other requests."""
    done: list[bytes] = []

    def again(body: bytes) -> str:
        def work() -> dict[str, int]:
            done.append(body)
            return {"n": len(done)}

        with writer(db_path) as connection:
            return once(connection, "k", fingerprint("/x/", body), NOW, work, repeatable=True)

    assert [again(b"a") for _ in range(3)] == ['{"n":1}', '{"n":2}', '{"n":3}']
    with pytest.raises(KeyReused):
        again(b"b")
    assert done == [b"a"] * 3


def test_a_key_used_for_something_else_is_refused(db_path: Path) -> None:
    """The same key with another body does nothing."""
    done: list[bytes] = []
    ask(db_path, "k", b"a", done)
    with pytest.raises(KeyReused):
        ask(db_path, "k", b"b", done)
    assert done == [b"a"]


def test_without_a_key_everything_is_done(db_path: Path) -> None:
    """The original SDK sends no key; nothing is kept of such requests."""
    done: list[bytes] = []
    assert [ask(db_path, "", b"a", done) for _ in range(2)] == ['{"n":1}', '{"n":2}']


def test_the_path_is_a_part_of_a_request(db_path: Path) -> None:
    """The same body for two endpoints is two requests."""
    assert fingerprint("/a/", b"x") != fingerprint("/b/", b"x")


def test_keys_are_forgotten_after_sixty_days(db_path: Path) -> None:
    """What is older than any retry is removed."""
    done: list[bytes] = []
    ask(db_path, "old", b"a", done)
    ask(db_path, "new", b"b", done, NOW + KEPT_NS)
    with writer(db_path) as connection:
        assert forget(connection, NOW + KEPT_NS + 1000) == 1
        kept = connection.execute("SELECT idempotency_key FROM received").fetchall()
    assert kept == [("new",)]
