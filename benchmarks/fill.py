"""Builds a file that already holds a million runs.

python -m benchmarks.fill --dir DIR [--runs 1000000] [--one-turn]

With `--one-turn` there are as many sessions as runs.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.floors import NOT_SAID
from benchmarks.report import arguments, progress
from benchmarks.workload import sentences
from waxlocal.clock import utc_text
from waxlocal.ids import RunIds, trace_id_of
from waxlocal.recording.statements import ADD_LLM_CALL, ADD_SPAN, NOTE_PROCESS
from waxlocal.storage.connection import open_writer

__all__ = ["RUNS", "copy_file", "filled", "warm"]

RUNS = 1_000_000
DAYS = 90
USERS = 2_000
# Turns of a session: ten on average, often one, sometimes many.
TURNS = (1, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 28)
AGENTS = ("chatbot", "researcher", "support", "planner", "coder")
# Dollars per million tokens; None: not known, as for a model of one's own.
MODELS: tuple[tuple[str, float | None, float], ...] = (
    ("gpt-4o", 2.5, 10.0),
    ("gpt-4o-mini", 0.15, 0.6),
    ("claude-sonnet-4-5", 3.0, 15.0),
    ("in-house-7b", None, 0.0),
)
PROCESSES = 20
BATCH = 20_000
_SECOND = 1_000_000_000

_ADD_RUN = """
INSERT INTO runs (run_id, agent_name, workflow_name, session_id, user_id, trace_id,
  interaction_mode, process_id, status, started_at, completed_at, duration, error, error_type,
  metadata, tags, inputs, result)
VALUES (?, ?, 'default', ?, ?, ?, 'interactive', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_SESSIONS = """
WITH calls AS (
  SELECT r.session_id, count(*) AS calls, count(c.cost) AS priced, sum(c.tokens_in) AS tokens_in,
    sum(c.tokens_out) AS tokens_out,
    sum(iif(c.cost IS NULL, 0, c.tokens_in + c.tokens_out)) AS priced_tokens,
    sum(c.cost) AS cost
  FROM llm_calls c JOIN runs r ON r.run_id = c.run_id GROUP BY r.session_id
)
INSERT INTO sessions (session_id, user_id, agents, run_count, open_runs, failed_runs, llm_calls,
  priced_calls, tokens_in, tokens_out, total_tokens, priced_tokens, total_cost, total_duration,
  first_run_at, last_run_at, last_activity_at, last_end_at)
SELECT r.session_id, min(r.user_id), json_group_array(DISTINCT r.agent_name), count(*),
  sum(r.status = 'running'), sum(r.status IN ('error', 'blocked', 'interrupted')),
  c.calls, c.priced, c.tokens_in, c.tokens_out, c.tokens_in + c.tokens_out, c.priced_tokens,
  c.cost, coalesce(sum(r.duration), 0.0), min(r.started_at), max(r.started_at),
  max(coalesce(r.completed_at, r.started_at)), max(r.completed_at)
FROM runs r JOIN calls c ON c.session_id = r.session_id
GROUP BY r.session_id
"""

_ADD_USERS = """
INSERT INTO session_users (session_id, user_id)
SELECT DISTINCT session_id, user_id FROM runs
WHERE session_id IS NOT NULL AND user_id IS NOT NULL ORDER BY session_id, user_id
"""

Row = tuple[object, ...]
# A run, its calls and its spans.
RunRows = tuple[Row, Sequence[Row], Sequence[Row]]


def filled(place: Path, runs: int = RUNS, turns: Sequence[int] = TURNS) -> Path:
    """Return a file with that many runs in `place`, built now unless it is there from before.

    `turns` are the numbers of turns that a session may have.
    """
    kind = "" if turns == TURNS else f"-of-{max(turns)}"
    path = (place / f"filled-{runs}{kind}.db").absolute()
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        _build(unfinished, runs, turns)
        unfinished.rename(path)
    return path


def copy_file(source: Path, target: Path) -> None:
    """Copy a database by SQLite's own backup."""
    progress(f"copying {source.name} to {target.name}")
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def warm(path: Path) -> None:
    """Read the whole file once through SQLite: a cold page costs a read of the disk."""
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
        ).fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            lengths = " + ".join(f"coalesce(length({column}), 0)" for column in columns)
            connection.execute(f"SELECT sum({lengths}) FROM {name} NOT INDEXED").fetchone()
        # An index is read only by a query that it answers alone.
        for index, key, table in (
            ("sqlite_autoindex_runs_1", "run_id", "runs"),
            ("runs_by_session", "session_id", "runs"),
            ("sessions_by_activity", "last_activity_at", "sessions"),
            ("session_users_by_user", "user_id", "session_users"),
        ):
            connection.execute(
                f"SELECT max(length({key})) FROM {table} INDEXED BY {index} WHERE {key} IS NOT NULL"
            ).fetchone()


def _build(path: Path, runs: int, turns: Sequence[int]) -> None:
    progress(f"filling a file with {runs:,} runs")
    with closing(open_writer(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        # One statement per row is the triggers' price for being right at every moment; here only
        # the end counts.
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"
        ).fetchall()
        connection.execute("BEGIN IMMEDIATE")
        for name, _sql in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        _add_processes(connection)
        _add_runs(connection, _rows(runs, turns))
        progress("adding up the sessions")
        connection.execute(_ADD_SESSIONS)
        connection.execute(_ADD_USERS)
        for _name, sql in triggers:
            connection.execute(sql)
        connection.execute("COMMIT")


def _add_processes(connection: sqlite3.Connection) -> None:
    """Processes of an earlier start of another machine: nothing here can ask for them."""
    at = utc_text(time.time_ns() - DAYS * 86_400 * _SECOND)
    for number in range(1, PROCESSES + 1):
        row = {
            "process_id": number,
            "host": "elsewhere",
            "boot_id": "boot",
            "pid_namespace": "",
            "pid": number,
            "started": str(number),
            "program": "app.py",
            "python": "3.11",
            "waxlocal": "0.1",
            "first_seen_at": at,
        }
        connection.execute(NOTE_PROCESS, row)


def _add_runs(connection: sqlite3.Connection, rows: Iterable[RunRows]) -> None:
    runs: list[Row] = []
    calls: list[Row] = []
    spans: list[Row] = []
    lists = ((_ADD_RUN, runs), (ADD_LLM_CALL.sql, calls), (ADD_SPAN.sql, spans))
    for run, run_calls, run_spans in rows:
        runs.append(run)
        calls += run_calls
        spans += run_spans
        if len(runs) == BATCH:
            _add(connection, lists)
    _add(connection, lists)


def _add(connection: sqlite3.Connection, lists: Iterable[tuple[str, list[Row]]]) -> None:
    for sql, rows in lists:
        connection.executemany(sql, rows)
        rows.clear()


def _schedule(count: int, turns: Sequence[int], random: Random) -> list[tuple[int, int, int]]:
    """Return (start in ns, session, turn) of each run, in the order of time."""
    now = time.time_ns()
    # An hour before now: the last session must not reach into the future.
    first, span = now - DAYS * 86_400 * _SECOND, (DAYS * 86_400 - 7_200) * _SECOND
    planned: list[tuple[int, int, int]] = []
    session = 0
    while len(planned) < count:
        at = first + int(random.random() * span)
        for turn in range(min(random.choice(turns), count - len(planned))):
            planned.append((at, session, turn))
            at += random.randint(20, 240) * _SECOND
        session += 1
    planned.sort()
    return planned


def _rows(count: int, turns: Sequence[int]) -> Iterator[RunRows]:
    random, ids = Random(7), RunIds()
    texts = [json.dumps({"message": text}) for text in sentences(2_000)]
    answers = [json.dumps({"response": text}) for text in sentences(2_000, seed=2)]
    sessions: dict[int, tuple[str, str, int, int]] = {}
    for at, number, turn in _schedule(count, turns, random):
        if number not in sessions:
            sessions[number] = _session(at, random)
        session_id, user, agent, model = sessions[number]
        run_id, duration = ids.next(at), random.lognormvariate(0.6, 0.7)
        yield (
            (
                *(run_id, AGENTS[agent if turn % 3 else agent // 2], session_id, user),
                *(trace_id_of(run_id), random.randint(1, PROCESSES)),
                *_ending(at, duration, random),
                json.dumps({"turn_number": turn + 1}),
                '{"session_type":"chat"}',
                *(random.choice(texts), random.choice(answers)),
            ),
            _calls(run_id, at, duration, model, turn, random),
            _spans(run_id, at, duration) if random.random() < 0.2 else (),
        )


def _session(at: int, random: Random) -> tuple[str, str, int, int]:
    """Return id, user, agent and model of a session; a few users have most of the sessions."""
    # As `generate_session_id` makes them: the time's seconds, then 39 random bits.
    seconds = at // _SECOND & (1 << 25) - 1
    session_id = f"sess_{seconds << 39 | random.getrandbits(39):016x}"
    user = f"user_{int(USERS * random.random() ** 3):04d}"
    return session_id, user, random.randrange(len(AGENTS)), random.randrange(len(MODELS))


def _ending(at: int, duration: float, random: Random) -> Row:
    """Return status, start, end, duration, error and its type."""
    fate = random.random()
    started = utc_text(at)
    if fate < 0.000_1:
        return ("running", started, None, None, None, None)
    ended = utc_text(at + int(duration * 1e9))
    if fate < 0.03:
        return ("error", started, ended, duration, "the provider did not answer", "TimeoutError")
    return ("success", started, ended, duration, None, None)


def _calls(
    run_id: str, at: int, duration: float, model: int, turn: int, random: Random
) -> list[Row]:
    count = 2 if random.random() < 0.1 else 1
    name, price_in, price_out = MODELS[model]
    rows: list[Row] = []
    for position in range(1, count + 1):
        took = duration * 0.9 / count
        ended = utc_text(at + int(took * position * 1e9))
        # The history is sent again with each turn.
        tokens_in, tokens_out = 120 + turn * 250 + random.randint(0, 200), random.randint(20, 500)
        cost: Any = None
        if price_in is not None:
            cost = (tokens_in * price_in + tokens_out * price_out) / 1e6
        source = None if cost is None else "price"
        head = (run_id, position, ended, name, "", "chat_response", tokens_in, tokens_out, 0, 0)
        tail = (cost, source, int(took * 1000), None, 0, "ok", *NOT_SAID)
        rows.append((*head, *tail))
    return rows


def _spans(run_id: str, at: int, duration: float) -> list[Row]:
    started = utc_text(at + int(duration * 0.9e9))
    question = json.dumps({"query": "orders of the last week"})
    head = (run_id, 3, None, started, duration * 80, "search", "tool", "ok", None)
    return [(*head, None, question, '{"found":3}')]


def main() -> None:
    """Build the file and print where it is."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--one-turn", action="store_true")
    options = parser.parse_args()
    runs = options.runs // (10 if options.quick else 1)
    print(filled(options.dir or Path(), runs, (1,) if options.one_turn else TURNS))


if __name__ == "__main__":
    main()
