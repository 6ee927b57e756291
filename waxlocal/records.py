"""The tables of what was recorded, each column described once.

`schema.sql` creates the tables; a test holds the two together. The INSERTs of the recorder, the
SELECTs of whole records, the bulk format with its checks, and every loop over all tables of records
are made from this description. The steps to add a column are in docs/architecture.md.

This module is part of `import waxlocal`: the standard library alone, and nothing slow.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

__all__ = [
    "ABANDONED",
    "ENDED_STATUSES",
    "EVENTS",
    "INTERACTION_MODES",
    "KILLED",
    "LARGEST_INTEGER",
    "LLM_CALLS",
    "NEEDED",
    "NOT_FINAL_STATUSES",
    "NO_COST",
    "OPENAI_STREAM",
    "PROCESSES",
    "PROCESS_ID_COLUMNS",
    "RECORD_TABLES",
    "RUNS",
    "RUN_STATUSES",
    "SCORES",
    "SPANS",
    "STEPS",
    "TABLES",
    "Column",
    "CostSource",
    "InteractionMode",
    "Kind",
    "Phase",
    "RecordStatus",
    "RunStatus",
    "Table",
    "mode_of",
]


# The original's 0.0 for a cost that the program does not give. It is told from a 0 that the program
# does give by identity, also after a copy or a pickle. What is computed from it is a number again.
class _NoCost(float):
    def __reduce__(self) -> str:
        return "NO_COST"


NO_COST = _NoCost()

# The largest whole number of an INTEGER column; the smallest that we store is its negative.
LARGEST_INTEGER: Final = 2**63 - 1


class RunStatus:
    """What the status of a run may be; a session is shown with one of them, too."""

    RUNNING: Final = "running"
    SUCCESS: Final = "success"
    ERROR: Final = "error"
    BLOCKED: Final = "blocked"  # by a policy
    INTERRUPTED: Final = "interrupted"  # its process ended first: a guess, if another one wrote it
    CANCELLED: Final = "cancelled"  # somebody wanted no more of it: neither a success nor a failure


RUN_STATUSES = (
    RunStatus.RUNNING,
    RunStatus.SUCCESS,
    RunStatus.ERROR,
    RunStatus.BLOCKED,
    RunStatus.INTERRUPTED,
    RunStatus.CANCELLED,
)
ENDED_STATUSES = RUN_STATUSES[1:]
# The error and its type of a run whose process was killed.
KILLED = ("process ended before run completion", "Interrupted")
# An end replaces these, and no others: the first end stays, whichever process writes it, but an
# interruption was only a guess.
NOT_FINAL_STATUSES = (RunStatus.RUNNING, RunStatus.INTERRUPTED)


class InteractionMode:
    """Whether a person takes part in a run."""

    INTERACTIVE: Final = "interactive"
    AUTONOMOUS: Final = "autonomous"


INTERACTION_MODES = (InteractionMode.INTERACTIVE, InteractionMode.AUTONOMOUS)


def mode_of(session_id: object) -> str:
    """Return the interaction mode of a run for which nobody has given one."""
    return InteractionMode.INTERACTIVE if session_id else InteractionMode.AUTONOMOUS


class RecordStatus:
    """What waxlocal itself writes as the status of a call or a span; programs may give any text."""

    RUNNING: Final = "running"  # a span that is open
    OK: Final = "ok"
    ERROR: Final = "error"


# The finish reason, in `details`, of a stream that the program did not read to its end.
ABANDONED: Final = "abandoned"
# The task of a captured stream of openai's chat, of which the program has to ask for the usage.
OPENAI_STREAM: Final = "chat.stream (openai)"


class CostSource:
    """Where the cost of a call is from; without a cost there is none."""

    CALL: Final = "call"  # the program gave it
    PRICE: Final = "price"  # computed from tokens and prices


class Kind(Enum):
    """What a column holds. The value is for people; `sql_type` is the column's type in SQLite."""

    RUN_ID = "run id"  # goes into addresses and into workflow ids
    ID = "id"  # of a session or a user: text that the queries look up
    TEXT = "text"
    STATUS = "run status"  # one of RUN_STATUSES
    TIME = "time"  # UTC text, `2026-01-31T09:30:00.123456Z`
    JSON = "JSON"  # as text
    INTEGER = "whole number"
    TOKENS = "number of tokens"
    NUMBER = "number"  # finite
    SCORE = "score"  # a number that may be infinite
    REVISION = "revision"  # which of two states of a row is newer; NULL as first recorded

    @property
    def sql_type(self) -> str:
        """The type that `schema.sql` declares for a column of this kind."""
        return _SQL_TYPES.get(self, "TEXT")


_SQL_TYPES = {
    Kind.INTEGER: "INTEGER",
    Kind.TOKENS: "INTEGER",
    Kind.NUMBER: "REAL",
    Kind.SCORE: "REAL",
    Kind.REVISION: "INTEGER",
}


class Phase(Enum):
    """When a column of a run or of a span gets its value. The value is for people."""

    START = "with the start"
    ANY_TIME = "at any time, also after the end"
    END = "with the end"


class _Needed:
    """The default of a column without which there is no record."""

    def __repr__(self) -> str:
        return "NEEDED"


NEEDED = _Needed()


class Column(NamedTuple):
    """A column of a table.

    `default` is the value for a record that arrives without one: None where the column may be NULL,
    `NEEDED` where such a record is refused; any other says that the column is NOT NULL. `content`
    is what a person, a model or a tool said: not stored when content is not to be captured.
    `local` says something of this file only (where the row lies, what follows from other columns)
    and does not travel. `phase` is None in tables whose rows are whole when they are recorded, for
    what identifies a row, and for what follows from other columns.
    """

    name: str
    kind: Kind
    default: object = None
    content: bool = False
    local: bool = False
    phase: Phase | None = None

    @property
    def required(self) -> bool:
        """Whether the column is NOT NULL."""
        return self.default is not None


class Table(NamedTuple):
    """A table: its name, the columns that identify a row, the one that says when, all columns."""

    name: str
    key: tuple[str, ...]
    moment: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in the order of `schema.sql`."""
        return tuple(column.name for column in self.columns)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The names of the columns that are filled when a row is recorded first."""
        return tuple(column.name for column in self.columns if column.kind is not Kind.REVISION)

    def names_of(self, phase: Phase) -> tuple[str, ...]:
        """Return the names of the columns that are set then, in the order of `schema.sql`."""
        return tuple(column.name for column in self.columns if column.phase is phase)

    @property
    def travelling(self) -> tuple[Column, ...]:
        """The columns that go with a record to another file.

        Without the run's id where the table holds records: they travel inside their run.
        """
        inside = self.key == _RECORD_KEY
        return tuple(
            column
            for column in self.columns
            if not column.local and not (inside and column.name == "run_id")
        )

    @property
    def defaults(self) -> dict[str, object]:
        """What a row holds where nothing is given; without the columns that must be given."""
        return {
            column.name: column.default
            for column in self.travelling
            if column.default is not NEEDED and column.kind is not Kind.REVISION
        }

    @property
    def arriving(self) -> tuple[str, ...]:
        """The names of the columns that a record arrives with: its run's id, and what travels."""
        return tuple(column.name for column in self.columns if not column.local)

    @property
    def token_counts(self) -> tuple[Column, ...]:
        """The columns that count tokens; they go by the same names wherever a call is told of."""
        return tuple(column for column in self.columns if column.kind is Kind.TOKENS)

    @property
    def bulky(self) -> tuple[str, ...]:
        """The names of the columns whose values can be of any size."""
        return tuple(
            column.name for column in self.columns if column.content or column.kind is Kind.JSON
        )


_RECORD_KEY = ("run_id", "position")
_RECORD = (Column("run_id", Kind.RUN_ID, NEEDED), Column("position", Kind.INTEGER, NEEDED))

# One row for each process that recorded. A line of the bulk format may carry the row's id; where
# it does not, it is computed: see `PROCESS_ID_COLUMNS`.
PROCESSES = Table(
    "processes",
    ("process_id",),
    "first_seen_at",
    (
        Column("process_id", Kind.INTEGER, local=True),
        Column("host", Kind.TEXT, ""),
        Column("boot_id", Kind.TEXT, ""),
        Column("pid_namespace", Kind.TEXT, ""),
        Column("pid", Kind.INTEGER, 0),
        Column("started", Kind.TEXT, ""),
        Column("program", Kind.TEXT, ""),
        Column("python", Kind.TEXT, ""),
        Column("waxlocal", Kind.TEXT, ""),
        Column("first_seen_at", Kind.TIME, NEEDED),
    ),
)
# The columns of which the id is made, in this order, for a process that arrives without one: those
# that tell one process from every other, and its program, for a sender that does not know them.
PROCESS_ID_COLUMNS = ("host", "boot_id", "pid_namespace", "pid", "started", "program")
# An arriving run may leave out `trace_id` and `interaction_mode`: both follow from the rest.
RUNS = Table(
    "runs",
    ("run_id",),
    "started_at",
    (
        Column("id", Kind.INTEGER, local=True),
        Column("run_id", Kind.RUN_ID, NEEDED),
        Column("workflow_id", Kind.TEXT, local=True),
        Column("agent_name", Kind.TEXT, NEEDED, phase=Phase.START),
        Column("workflow_name", Kind.TEXT, "default", phase=Phase.START),
        Column("session_id", Kind.ID, phase=Phase.START),
        Column("user_id", Kind.ID, phase=Phase.START),
        Column("user_group", Kind.TEXT, phase=Phase.START),
        Column("parent_workflow_id", Kind.TEXT, phase=Phase.START),
        Column("root_workflow_id", Kind.TEXT, phase=Phase.START),
        Column("trace_id", Kind.TEXT, "", phase=Phase.START),
        Column("interaction_mode", Kind.TEXT, "", phase=Phase.START),
        Column("process_id", Kind.INTEGER, local=True, phase=Phase.START),
        Column("status", Kind.STATUS, NEEDED, phase=Phase.END),
        Column("started_at", Kind.TIME, NEEDED, phase=Phase.START),
        Column("completed_at", Kind.TIME, phase=Phase.END),
        Column("duration", Kind.NUMBER, phase=Phase.END),
        Column("error", Kind.TEXT, content=True, phase=Phase.END),
        Column("error_type", Kind.TEXT, phase=Phase.END),
        Column("traceback", Kind.TEXT, content=True, phase=Phase.END),
        Column("metadata", Kind.JSON, phase=Phase.ANY_TIME),
        Column("tags", Kind.JSON, phase=Phase.ANY_TIME),
        Column("inputs", Kind.JSON, content=True, phase=Phase.START),
        Column("result", Kind.JSON, content=True, phase=Phase.ANY_TIME),
        Column("revision", Kind.REVISION),
    ),
)
LLM_CALLS = Table(
    "llm_calls",
    _RECORD_KEY,
    "recorded_at",
    (
        *_RECORD,
        Column("recorded_at", Kind.TIME, NEEDED),
        Column("model", Kind.TEXT, ""),
        Column("provider", Kind.TEXT, ""),
        Column("task", Kind.TEXT, ""),
        Column("tokens_in", Kind.TOKENS, 0),
        Column("tokens_out", Kind.TOKENS, 0),
        Column("cached_tokens", Kind.TOKENS, 0),
        Column("cache_write_tokens", Kind.TOKENS, 0),
        Column("cost", Kind.NUMBER),
        Column("cost_source", Kind.TEXT),
        Column("duration_ms", Kind.INTEGER),
        Column("ttft_ms", Kind.INTEGER),
        Column("is_streaming", Kind.INTEGER, 0),
        Column("status", Kind.TEXT, RecordStatus.OK),
        Column("error_type", Kind.TEXT),
        Column("error_message", Kind.TEXT, content=True),
        Column("prompt_preview", Kind.TEXT, content=True),
        Column("response_preview", Kind.TEXT, content=True),
        Column("messages", Kind.JSON, content=True),
        Column("response", Kind.TEXT, content=True),
        Column("details", Kind.JSON),
        Column("reasoning_tokens", Kind.TOKENS),
        Column("response_id", Kind.TEXT),
        Column("usage_known", Kind.INTEGER, 1),
        Column("tools", Kind.JSON, content=True),
        Column("message_keys", Kind.JSON, content=True, local=True),
        Column("tool_keys", Kind.JSON, content=True, local=True),
        Column("revision", Kind.REVISION),
    ),
)
STEPS = Table(
    "steps",
    _RECORD_KEY,
    "recorded_at",
    (
        *_RECORD,
        Column("recorded_at", Kind.TIME, NEEDED),
        Column("step_name", Kind.TEXT, ""),
        Column("kind", Kind.TEXT, "chain"),
        Column("output", Kind.JSON, content=True),
        Column("attributes", Kind.JSON),
        Column("revision", Kind.REVISION),
    ),
)
SPANS = Table(
    "spans",
    _RECORD_KEY,
    "started_at",
    (
        *_RECORD,
        Column("parent_position", Kind.INTEGER, phase=Phase.START),
        Column("started_at", Kind.TIME, NEEDED, phase=Phase.START),
        Column("duration_ms", Kind.NUMBER, phase=Phase.END),
        Column("name", Kind.TEXT, "", phase=Phase.START),
        Column("kind", Kind.TEXT, "custom", phase=Phase.START),
        Column("status", Kind.TEXT, RecordStatus.OK, phase=Phase.END),
        Column("error", Kind.TEXT, content=True, phase=Phase.END),
        Column("attributes", Kind.JSON, phase=Phase.START),
        Column("input", Kind.JSON, content=True, phase=Phase.START),
        Column("output", Kind.JSON, content=True, phase=Phase.END),
        Column("revision", Kind.REVISION),
    ),
)
SCORES = Table(
    "scores",
    _RECORD_KEY,
    "recorded_at",
    (
        *_RECORD,
        Column("recorded_at", Kind.TIME, NEEDED),
        Column("name", Kind.TEXT, ""),
        Column("data_type", Kind.TEXT, "numeric"),
        Column("numeric_value", Kind.SCORE),
        Column("string_value", Kind.TEXT),
        Column("comment", Kind.TEXT, "", content=True),
        Column("revision", Kind.REVISION),
    ),
)
# Which fields of `data` are content depends on the event: the recorder leaves those out itself.
EVENTS = Table(
    "events",
    _RECORD_KEY,
    "recorded_at",
    (
        *_RECORD,
        Column("recorded_at", Kind.TIME, NEEDED),
        Column("event", Kind.TEXT, "event"),
        Column("data", Kind.JSON),
        Column("revision", Kind.REVISION),
    ),
)

# What a run recorded; the positions of a run's records count through all of these tables.
RECORD_TABLES = (LLM_CALLS, STEPS, SPANS, SCORES, EVENTS)
TABLES = (PROCESSES, RUNS, *RECORD_TABLES)
