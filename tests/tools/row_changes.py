"""Any changes of runs and calls, as a recorder, a server, a price list or a person makes them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.tools.builders import Builder, moment, run_id

__all__ = ["CHANGE", "apply"]

TAGS = (
    '{"plan": "free"}',
    '{"plan": "team", "x": "1"}',
    '{"plan": 1, "x": null, "y": true}',
    '{"pl\\"an": "fr\\nee", "plan": ["free"]}',
    '{"x[": ",free", ",": 1.5, "caf\\u00e9": "x", "n\\u0000": 1}',
)
statuses = st.sampled_from(["running", "success", "error", "blocked", "interrupted", "cancelled"])
costs = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 1.5]))
tokens = st.integers(0, 5_000)
which = st.integers(0, 100)
seconds = st.integers(0, 1_000)
# Of a run that is there, of none, or of one that may arrive later.
parents = st.one_of(st.none(), st.integers(1, 12))
users = st.sampled_from([None, "alice", "bob"])
told = st.sampled_from((0, 1))
models = st.sampled_from(["gpt-4o", "claude", "own"])
durations = st.sampled_from([None, 0, 5, 70, 7.5])
# Or what another program may have written.
tags = st.sampled_from([None, "{}", "[3]", "{", *TAGS])
agents = st.sampled_from(["chatbot", "researcher"])
# Seconds, over three days; or what another program may have written.
times = st.one_of(st.integers(0, 250_000), st.sampled_from(["", "soon", b"2026-01-31T10", b"\xff"]))
CHANGE = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([None, "a", "b"]), statuses, seconds, parents, users),
    st.tuples(st.just("belong"), which, st.integers(1, 12)),
    st.tuples(st.just("merge"), which, statuses, seconds, parents, users),
    st.tuples(st.just("user"), which, users),
    st.tuples(st.just("agent"), which, agents),
    st.tuples(st.just("tags"), which, tags),
    st.tuples(st.just("call"), which, tokens, tokens, costs, told, models, durations, times),
    st.tuples(st.just("time"), which, times),
    st.tuples(st.just("correct"), which, models, durations),
    st.tuples(st.just("told"), which, told),
    st.tuples(st.just("join"), which),
    st.tuples(st.just("end"), which, statuses, seconds),
    st.tuples(st.just("price"), which, costs),
    st.tuples(st.just("recount"), which, tokens),
    st.tuples(st.just("drop call"), which),
    st.tuples(st.just("drop run"), which),
)


def apply(make: Builder, change: tuple[Any, ...]) -> None:
    """Make one change; a number chooses among the rows that there are."""
    kind, *values = change
    if kind == "run":
        session, status, at, parent, user = values
        make.run(
            session,
            at=at,
            seconds=None if status == "running" else 0.5,
            status=status,
            user=user,
            parent=parent and run_id(parent),
        )
        return
    calls = kind in ("price", "recount", "told", "correct", "time", "drop call")
    table = "llm_calls ORDER BY run_id, position" if calls else "runs ORDER BY id"
    keys = "run_id, position" if calls else "run_id, 0"
    rows = make.conn.execute(f"SELECT {keys} FROM {table}").fetchall()
    if not rows:
        return
    run, position = rows[values[0] % len(rows)]
    if kind == "call":
        cost, known, model, duration, at = values[3:]
        make.llm(
            run,
            *values[1:3],
            **({"at": at} if isinstance(at, int) else {"recorded_at": at}),
            cost=cost,
            usage_known=known,
            model=model,
            duration_ms=duration,
            status="error" if duration == 0 else "ok",
        )
        return
    sql, row = {
        "end": ("UPDATE runs SET status = ?, duration = ?, completed_at = ?", values[1:]),
        "price": ("UPDATE llm_calls SET cost = ?", values[1:]),
        "recount": ("UPDATE llm_calls SET tokens_in = ?", values[1:]),
        "told": ("UPDATE llm_calls SET usage_known = ?", values[1:]),
        "time": ("UPDATE llm_calls SET recorded_at = ?", []),
        "correct": ("UPDATE llm_calls SET model = ?, duration_ms = ?", values[1:]),
        "belong": ("UPDATE runs SET parent_workflow_id = ?", values[1:]),
        "user": ("UPDATE runs SET user_id = ?", values[1:]),
        "tags": ("UPDATE runs SET tags = ?", values[1:]),
        "agent": ("UPDATE runs SET agent_name = ?", values[1:]),
        # As a server takes over what is newer: all columns at once.
        "merge": (
            "UPDATE runs SET status = ?, duration = ?, completed_at = ?, parent_workflow_id = ?,"
            " user_id = ?",
            [],
        ),
        "join": ("UPDATE runs SET session_id = coalesce(session_id, 'c')", []),
        "drop call": ("DELETE FROM llm_calls", []),
        "drop run": ("DELETE FROM runs", []),
    }[kind]
    if kind == "merge":
        status, at, parent, user = values[1:]
        ended = None if status == "running" else moment(at)
        row = [status, ended and at / 8, ended, parent and f"wf_{run_id(parent)}", user]
    if kind == "time":
        row = [moment(values[1]) if isinstance(values[1], int) else values[1]]
    if kind == "belong":
        row = [f"wf_{run_id(values[1])}"]
    if kind == "end":
        row = [values[1], float(values[2]), moment(values[2])]
    place = " WHERE run_id = ?" + (" AND position = ?" if calls else "")
    make.conn.execute(sql + place, (*row, run, position) if calls else (*row, run))
