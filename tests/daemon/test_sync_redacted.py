"""What is redacted or erased in a file is redacted at the hubs that have it, and stays so."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.tools.patience import PATIENCE_S
from tests.tools.sync import PATIENT, QUICK, ask, change, settings_for, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext
from waxlocal.encode import dumps
from waxlocal.maintenance.changed_contents import mark_calls
from waxlocal.maintenance.contents import sweep
from waxlocal.recording.recorder import Recorder
from waxlocal.storage.connection import reader
from waxlocal.storage.contents import expand
from waxlocal_daemon.drain import drain
from waxlocal_daemon.log import Log

WAYS = pytest.mark.parametrize("bulk", [False, True], ids=["single", "batches"])
ERASED = {"role": "user", "content": "(erased)"}
REDACT = f"UPDATE contents SET content = '{dumps(ERASED)}' WHERE content LIKE ?"


def said(text: str) -> dict[str, str]:
    """Return a message of a user."""
    return {"role": "user", "content": text}


def converse(turns: int, *, about: str = "my card is 4111") -> list[str]:
    """Record a conversation, a run for each turn, which sends its history; return the run ids."""
    history = [said(about)]
    runs = []
    for turn in range(turns):
        with WaxellContext("desk", session_id="s") as ctx:
            history.append(said(f"question {turn}"))
            ctx.record_llm_call(model="m", tokens_in=9, tokens_out=1, full_messages=history)
            runs.append(ctx.run_id)
    return runs


def sync(path: Path, url: str, *, bulk: bool) -> None:
    """Deliver all that is due, as `waxlocal sync` does."""
    settings = settings_for(url, bulk=bulk, **PATIENT)
    done = drain(path, settings, log=Log(StringIO()), patience=PATIENCE_S, stop=Event(), pace=QUICK)
    assert (done.reason, done.progress.pending, done.progress.parked) == ("", 0, 0)


def messages(path: Path) -> dict[tuple[str, int], Any]:
    """Return the messages of each call of a file."""
    with reader(path) as connection:
        cursor = connection.execute(
            "SELECT run_id, position, messages, tools, message_keys, tool_keys FROM llm_calls"
        )
        rows = [dict(row) for row in cursor.fetchall()]
        expand(connection, rows)
    return {(row["run_id"], row["position"]): json.loads(row["messages"]) for row in rows}


def texts(path: Path) -> str:
    """Return all contents of a file, after its upkeep."""
    mark_calls(path)
    sweep(path)
    return " ".join(text for (text,) in ask(path, "SELECT content FROM contents"))


@WAYS
def test_a_redacted_message_is_delivered_again_two_hubs_further_on(
    db_path: Path, recorder: Recorder, bulk: bool
) -> None:
    """Every call that has it; the old text is in none of the files afterwards."""
    hub, far = db_path.with_name("hub.db"), db_path.with_name("far.db")
    converse(5)
    with serving(hub) as server, serving(far) as far_server:

        def send() -> None:
            sync(db_path, url_of(server), bulk=bulk)
            sync(hub, url_of(far_server), bulk=bulk)

        send()
        assert messages(far) == messages(db_path)
        assert "4111" in texts(far)
        change(db_path, REDACT, "%4111%")
        send()
    assert all(found[0] == ERASED for found in messages(far).values())
    assert messages(far) == messages(hub) == messages(db_path)
    for path in (db_path, hub, far):
        assert "4111" not in texts(path)


@WAYS
def test_an_erased_message_does_not_come_back(
    db_path: Path, recorder: Recorder, bulk: bool
) -> None:
    """Deleted, and recorded again afterwards: earlier calls do not show it, here or at the hub."""
    hub = db_path.with_name("hub.db")
    converse(3)
    with serving(hub) as server:
        sync(db_path, url_of(server), bulk=bulk)
        change(db_path, "DELETE FROM contents WHERE content LIKE '%4111%'")
        sync(db_path, url_of(server), bulk=bulk)
        converse(1)
        sync(db_path, url_of(server), bulk=bulk)
    assert all(list(found[0]) == ["$removed"] for found in messages(hub).values())
    assert messages(hub) == messages(db_path)
    assert "4111" not in texts(hub) + texts(db_path)


@WAYS
def test_what_a_hub_has_redacted_stays_so(db_path: Path, recorder: Recorder, bulk: bool) -> None:
    """When its device sends the changed run once more, and a new run with that message."""
    hub = db_path.with_name("hub.db")
    (first, *_) = converse(2)
    with serving(hub) as server:
        sync(db_path, url_of(server), bulk=bulk)
        change(hub, REDACT, "%4111%")
        mark_calls(hub)
        change(db_path, "UPDATE runs SET metadata = '{}' WHERE run_id = ?", first)
        converse(1)
        sync(db_path, url_of(server), bulk=bulk)
    assert [found[0] for found in messages(hub).values()] == [ERASED] * 3
    assert "4111" not in texts(hub)


@WAYS
def test_a_request_that_was_made_before_the_redaction_is_followed_by_another(
    db_path: Path, recorder: Recorder, bulk: bool
) -> None:
    """What waits to be sent goes as it is; what is said last is the redacted text."""
    hub = db_path.with_name("hub.db")
    converse(2)
    with serving(hub) as server:
        url = url_of(server)
    upload(db_path, url, bulk=bulk, until=lambda: True)
    change(db_path, REDACT, "%4111%")
    with serving(hub) as server:
        change(db_path, "UPDATE targets SET url = ?", url_of(server))
        sync(db_path, url_of(server), bulk=bulk)
    assert [found[0] for found in messages(hub).values()] == [ERASED] * 2
    assert "4111" not in texts(hub)
