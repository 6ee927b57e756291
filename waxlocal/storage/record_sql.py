"""SQL made from the description of the tables: INSERTs, and queries over all tables of records.

Identifiers come from `records` alone, never from outside; values are bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from waxlocal.ids import WORKFLOW_PREFIX
from waxlocal.records import RECORD_TABLES, RUNS, Phase, RunStatus, Table

__all__ = [
    "BEGIN_DAILY_RUN",
    "ELSEWHERE_AGENT",
    "ELSEWHERE_METADATA",
    "INTERRUPTION",
    "INTERRUPT_RUN",
    "LAST_POSITION",
    "NEXT_REVISION",
    "OR_TAKE_OVER",
    "Statement",
    "Update",
    "insert",
    "look_up",
    "positional_insert",
    "run_of",
    "workflow_of",
]


class Statement(NamedTuple):
    """A statement of the recorder. `adds` is the table that it adds a record to, if any.

    The values of a statement that adds a record begin with the run's id and the position. `names`:
    its columns, where they are not all those that are filled when a row is recorded first.
    """

    sql: str
    adds: Table | None = None
    names: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its values, in order; empty where it neither adds nor names any."""
        return self.names or (() if self.adds is None else self.adds.recorded)


class Update(NamedTuple):
    """The meaning of an UPDATE: the columns of its parameters, in order, and its constants."""

    table: str
    columns: tuple[str, ...]
    always: Mapping[str, str] = {}

    def values(self, parameters: Sequence[object]) -> dict[str, object]:
        """Return the new values by column, including the key of the row."""
        return {**dict(zip(self.columns, parameters, strict=True)), **self.always}


def insert(table: Table, names: Iterable[str] = (), *, on_conflict: str = "") -> str:
    """Return an INSERT that takes its values by column name.

    `names`: the columns; by default those that are filled when a row is recorded first.
    `on_conflict`: the end of the statement, such as `DO NOTHING`. Raises `ValueError` for a name
    that the table does not have.
    """
    chosen = _columns(table, names)
    return _insert(table, chosen, [f":{name}" for name in chosen], on_conflict)


def positional_insert(
    table: Table, names: Iterable[str] = (), *, on_conflict: str = "", rows: int = 1
) -> str:
    """Return the same INSERT for tuples in the order of the columns.

    Only for the hot paths: `sqlite3` looks up each name in each row, which takes 3.5 µs more for an
    LLM call, a fifth of its INSERT. The caller builds the tuple in the same module. `rows`: how
    many rows the statement adds; their values come one after another.
    """
    chosen = _columns(table, names)
    return _insert(table, chosen, ["?"] * len(chosen), on_conflict, rows)


def look_up(table: Table, names: Iterable[str] = (), *, named: bool) -> str:
    """Return a query that finds the row which an INSERT of the same values, so bound, has made."""
    same = (f"{name} IS {':' + name if named else '?'}" for name in _columns(table, names))
    return f"SELECT 1 FROM {table.name} WHERE {' AND '.join(same)}"  # noqa: S608


def workflow_of(run_id: str) -> str:
    """Return the SQL of the workflow id that the file gives a run, of the SQL of the run's id."""
    return f"'{WORKFLOW_PREFIX}' || {run_id}"


def run_of(workflow_id: str) -> str:
    """Return the SQL of the run's id, of that of such a workflow id."""
    return f"substr({workflow_id}, {len(WORKFLOW_PREFIX) + 1})"


def _columns(table: Table, names: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(names) or table.recorded
    unknown = set(chosen).difference(table.names)
    if unknown:
        raise ValueError(f"{table.name} has no column {', '.join(sorted(unknown))}")
    return chosen


def _insert(
    table: Table, names: tuple[str, ...], values: list[str], on_conflict: str, rows: int = 1
) -> str:
    end = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    row = f"({', '.join(values)})"
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608
        f"VALUES {', '.join([row] * rows)}{end}"
    )


_POSITIONS = " UNION ALL ".join(
    f"SELECT max(position) AS position FROM {table.name} WHERE run_id = :run_id"  # noqa: S608
    for table in RECORD_TABLES
)
# The last position that any record of a run has; NULL when there is none.
LAST_POSITION = f"SELECT max(position) FROM ({_POSITIONS})"  # noqa: S608

# What a changed row gets as its revision, as the triggers `*_change` of `schema.sql` have it. An
# UPDATE that sets it itself spares the trigger's own UPDATE, which takes longer than the first.
NEXT_REVISION = (
    "max(coalesce(revision, 0) + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))"
)

# A run of which the file had only the id when its first record came, until its start comes.
ELSEWHERE_AGENT = "(started elsewhere)"
ELSEWHERE_METADATA = '{"started_elsewhere":true}'
# The end of an INSERT INTO runs, after ON CONFLICT: the start of such a run takes over its row. The
# row keeps its end, and what was said of the run meanwhile. One that has ended was perhaps sent on
# like that, so this is a change, which the triggers do not see, because the process is another one.
# A start that comes from another file with a revision is followed by an end with the same one,
# which must be newer than what is here.
OR_TAKE_OVER = f"""(run_id) DO UPDATE SET
  {", ".join(f"{name} = excluded.{name}" for name in RUNS.names_of(Phase.START))},
  metadata = CASE WHEN metadata = '{ELSEWHERE_METADATA}' THEN excluded.metadata
    ELSE json_remove(json_patch(coalesce(excluded.metadata, '{{}}'), coalesce(metadata, '{{}}')),
      '$.started_elsewhere') END,
  duration = max(duration,
    round((julianday(completed_at) - julianday(excluded.started_at)) * 86400, 3)),
  revision = iif(status = 'running', revision, coalesce(excluded.revision - 1, {NEXT_REVISION}))
WHERE agent_name = '{ELSEWHERE_AGENT}' AND excluded.agent_name <> agent_name
"""

# Of the SDK and of what arrives alike. The id is made from agent and day: whoever asks first makes
# the row. No process owns it: it stays open when the one that asked is gone.
BEGIN_DAILY_RUN = Statement("""
INSERT INTO runs (run_id, agent_name, workflow_name, trace_id, interaction_mode, status,
  started_at, metadata)
VALUES (:run_id, :agent_name, 'daily', :trace_id, 'autonomous', 'running', :started_at, :metadata)
ON CONFLICT DO NOTHING
""")

# The end of a run that its process has left open, by that process as it exits or by whoever finds
# out that it was killed; `error` says which. Only of an open run: it may have ended meanwhile.
INTERRUPTION = Update(
    "runs",
    ("completed_at", "duration", "error", "run_id"),
    {"status": RunStatus.INTERRUPTED, "error_type": "Interrupted"},
)
INTERRUPT_RUN = Statement(f"""
UPDATE runs SET completed_at = ?, duration = ?, error = ?,
  {", ".join(f"{name} = '{value}'" for name, value in INTERRUPTION.always.items())}
WHERE run_id = ? AND status = 'running'
""")  # noqa: S608
