"""Calls whose tokens nobody told: unknown is not 0, in the file, in totals and on other files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.cli import invoke
from tests.tools.file_versions import old_file
from tests.tools.patience import wait_until
from tests.tools.sdk_rows import rows
from tests.tools.web import serving
from tests.wire.test_round_trip import WAYS, File, differences, files
from waxlocal import WaxellContext
from waxlocal.prices.table import reprice, set_price
from waxlocal.queries.models import model_usage
from waxlocal.queries.overview import overview
from waxlocal.queries.runs import get_run
from waxlocal.queries.session_cost import money
from waxlocal.queries.sessions import get_session, list_sessions
from waxlocal.queries.statistics import statistics
from waxlocal.queries.summaries import last_runs
from waxlocal.queries.users import list_users
from waxlocal.recording.recorder import Recorder
from waxlocal.records import LLM_CALLS
from waxlocal.storage.connection import open_writer, reader
from waxlocal.wire import paths

# What `_add_llm_call` needs beside the tokens.
REST: dict[str, Any] = dict.fromkeys(
    ("duration_ms", "ttft_ms", "error_type", "error_message", "prompt_preview", "response_preview")
)
REST |= dict.fromkeys(("messages", "response", "details", "reasoning_tokens"))
REST |= {"cached_tokens": 0, "cache_write_tokens": 0, "is_streaming": False, "status": "ok"}
REST |= {"model": "gpt-4o", "provider": "openai", "task": ""}


def add_untold(ctx: WaxellContext, cost: float | None = None, **more: Any) -> None:
    """Record a call as one does that was not told its tokens."""
    ctx._add_llm_call(**REST | more, tokens_in=0, tokens_out=0, cost=cost, usage_known=False)


def add_told(ctx: WaxellContext) -> None:
    """Record a call by hand."""
    ctx.record_llm_call(model="gpt-4o", provider="openai", tokens_in=600_000, tokens_out=400_000)


def test_tokens_that_nobody_told_have_no_price(recorder: Recorder, db_path: Path) -> None:
    """Nor later, when the model has one; but a cost that is given counts."""
    open_writer(db_path).close()
    set_price(db_path, "gpt-4o", input_per_mtok=1.0, output_per_mtok=1.0)
    with WaxellContext(agent_name="a", session_id="s") as ctx:
        add_told(ctx)
        add_untold(ctx)
        add_untold(ctx, cost=0.5)
    reprice(db_path)
    assert [(row["usage_known"], row["cost"]) for row in rows(db_path, "llm_calls")] == [
        (1, pytest.approx(1.0)),
        (0, None),
        (0, 0.5),
    ]


def test_totals_say_which_share_of_the_calls_is_metered(recorder: Recorder, db_path: Path) -> None:
    """Of sessions and runs, in the queries and the commands."""
    with WaxellContext(agent_name="a", session_id="s") as ctx:
        for _ in range(3):
            add_told(ctx)
        add_untold(ctx, response_id="resp_1")
    with WaxellContext(agent_name="a", session_id="s") as untold:
        add_untold(untold)
    with reader(db_path) as connection:
        detail = get_session(connection, "s")
        (*_, call) = get_run(connection, ctx.run_id).llm_calls
    assert (detail.session.unmetered_calls, detail.session.metered_share) == (2, 0.6)
    assert [(run.unmetered_calls, run.metered_share) for run in detail.runs] == [(1, 0.75), (1, 0)]
    assert (call.usage_known, call.response_id) == (False, "resp_1")
    db = ("--db", str(db_path))
    assert "(60% metered)" in invoke("sessions", *db).stdout
    session = invoke("session", "s", *db).stdout
    assert "(75% metered) tokens" in session
    assert "unknown tokens" in session
    assert "(60% metered)" in invoke("models", *db).stdout
    run = invoke("show", ctx.run_id, *db).stdout
    assert "(75% metered) tokens" in run
    assert "unknown tokens" in run
    assert "response id resp_1" in run


def shows_unknown_cost(client: httpx.Client, page: str) -> bool:
    """Return whether a page shows it: some pages compute it behind their first response."""
    return 'unknown tokens">unknown</span>' in client.get(f"/{page}").text


def test_a_cost_without_known_tokens_is_unknown_wherever_it_stands(
    recorder: Recorder, db_path: Path
) -> None:
    """Of a run, session, user, model and of all: `unknown`, never a dash, which means none."""
    with WaxellContext(agent_name="a", session_id="s", user_id="ann") as ctx:
        add_untold(ctx)
    db = ("--db", str(db_path))
    for words in (("sessions",), ("users",), ("models",)):
        (line,) = [one for one in invoke(*words, *db).stdout.splitlines() if "unknown" in one]
        assert line.count("unknown") >= 2, words  # tokens and cost
    for words in (("session", "s"), ("show", ctx.run_id), ("stats",)):
        assert "unknown cost" in invoke(*words, *db).stdout, words
    recorder.close()
    with serving(db_path) as client:
        (user,) = client.get(paths.USERS).json()["results"]
        stats = client.get(paths.SESSION_STATISTICS).json()
        analytics = client.get(paths.ANALYTICS).json()
        sums, (day,) = analytics["aggregates"], analytics["time_series"]
        assert (day["unmetered_calls"], day["cost"]) == (1, None)
        for row in (user, stats, sums):
            assert (row["unmetered_calls"], row["metered_share"]) == (1, 0.0)
            assert row["total_cost"] is None
        for page in ("", "runs", f"runs/{ctx.run_id}", "sessions/s", "analytics", "models"):
            wait_until(partial(shows_unknown_cost, client, page))


def test_a_file_of_0_2_is_read_without_the_columns(db_path: Path) -> None:
    """Nobody upgrades it for that: perhaps nobody may."""
    old_file(db_path, 2)
    with reader(db_path) as connection:
        sessions = list_sessions(connection)
        runs = last_runs(connection)
        money(connection, sessions[0].session_id)
        usage = model_usage(connection)
        models = [*usage.models, *usage.days]
        sums = (statistics(connection), overview(connection).totals, *list_users(connection))
        calls = [call for run in runs for call in get_run(connection, run.run_id).llm_calls]
    assert sessions
    assert runs
    assert calls
    assert {one.unmetered_calls for one in (*sessions, *runs, *models, *sums)} == {0}
    assert {call.usage_known for call in calls} == {True}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_unknown_is_unknown_on_another_file(
    recorder: Recorder, db_path: Path, way: str
) -> None:
    """And so are the id of the answer, the messages and the tools."""
    with WaxellContext(agent_name="a", session_id="s") as ctx:
        add_untold(ctx, messages='[{"role":"user"}]', tools='[{"name":"t"}]', response_id="r")
    recorder.close()
    with closing(sqlite3.connect(db_path)) as connection, files(1) as (hub,):
        File(connection).send(hub, way)
        assert differences(hub, File(connection)) == []
        (row,) = hub.records(LLM_CALLS)
        sessions = hub.rows("sessions", ["llm_calls", "unmetered_calls"], "1")
    assert (row["usage_known"], row["response_id"]) == (0, "r")
    assert (row["messages"], row["tools"]) == ('[{"role":"user"}]', '[{"name":"t"}]')
    assert sessions == [(1, 1)]
