"""Plays the script of `waxlocal demo` through the SDK, into a file of its own.

A scripted clock gives the runs realistic durations without waiting for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from waxlocal.cli.demo_conversations import (
    CONVERSATIONS,
    Act,
    Ask,
    Call,
    Conversation,
    RateLimited,
    Search,
    Tool,
)
from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import ConfigurationError, FileMissing, StorageError
from waxlocal.ids import RunIds
from waxlocal.queries import recent_runs
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.records import RecordStatus
from waxlocal.sdk.context import WaxellContext
from waxlocal.sdk.scope import session as session_scope
from waxlocal.settings.config import Settings
from waxlocal.storage import connection
from waxlocal.storage.paths import beside
from waxlocal.storage.storage_errors import storage_error

__all__ = ["ScriptedClock", "make_room", "record_demo", "recording_into"]

# Every run of the demo has this workflow name. A file with any other run is not overwritten.
WORKFLOW = "waxlocal-demo"
_SECOND_NS = 1_000_000_000
# The demo records fewer runs than this.
_MOST_RUNS = 100


class CatalogueTimeout(Exception):
    """The error of the failing turn."""


def record_demo(path: Path, now_ns: int | None = None) -> None:
    """Record the conversations into `path`, with start times in the 24 hours before `now_ns`.

    Replaces an earlier demo. Raises `ConfigurationError` for a file that holds any other run, and
    leaves it unchanged; raises `StorageError`.
    """
    make_room(path)
    clock = ScriptedClock(SYSTEM_CLOCK.time_ns() if now_ns is None else now_ns)
    with recording_into(path, clock):
        for conversation in CONVERSATIONS:
            clock.set_back_to(conversation.ago)
            _hold(conversation, clock)


@contextlib.contextmanager
def recording_into(path: Path, clock: Clock, ids: RunIds | None = None) -> Iterator[Recorder]:
    """Let the process record into a file, and give it its own recorder back at the end.

    Raises `StorageError`, at the end also where not all of the records are in the file.
    """
    with connection.writer(path):
        pass  # fails at once if the file cannot be written; a recorder would only log that
    recorder = Recorder(Settings(path), clock=clock, ids=ids)
    outer = use_recorder(recorder)
    try:
        yield recorder
    finally:
        use_recorder(outer)
        recorder.close()
    reached = recorder.health()
    if not reached.ok:
        missing = reached.lost + reached.in_memory
        raise StorageError(f"{missing:,} records are not in the file: {reached.reason}")


def make_room(path: Path, workflow: str = WORKFLOW, most: int | None = _MOST_RUNS) -> None:
    """Delete an earlier demo, whose runs have this workflow name and are fewer than `most`.

    Raises `ConfigurationError` for a file that may hold anything else, and `StorageError`.
    """
    try:
        with connection.reader(path) as opened:
            # A demo is only written into a file of its own: what is not of it came later.
            runs = recent_runs(opened, limit=_MOST_RUNS)
    except FileMissing:
        return
    if not all(run.workflow_name == workflow for run in runs) or len(runs) == most:
        raise ConfigurationError(
            f"{path} holds more than a demo; it was not changed",
            hint="choose a new file with --db",
        )
    try:
        for suffix in ("-wal", "-shm", ""):
            beside(path, suffix).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


class ScriptedClock:
    """A clock that moves only when the script advances it."""

    def __init__(self, now_ns: int) -> None:
        self._now = now_ns
        self._at = now_ns

    def time_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return self._at

    def monotonic_ns(self) -> int:
        """Return the same."""
        return self._at

    def set_back_to(self, seconds_ago: float) -> None:
        """Go to a moment before now."""
        self._at = self._now - int(seconds_ago * _SECOND_NS)

    def set_to(self, ns: int) -> None:
        """Go to a moment, in nanoseconds since 1970."""
        self._at = ns

    def go_on(self, seconds: float) -> None:
        """Advance."""
        self._at += int(seconds * _SECOND_NS)


def _hold(conversation: Conversation, clock: ScriptedClock) -> None:
    with session_scope(session_id=conversation.session_id, user_id=conversation.user):
        for number, turn in enumerate(conversation.turns, 1):
            clock.go_on(turn.after)
            with (
                contextlib.suppress(CatalogueTimeout),
                _run(conversation.agent, turn.message) as run,
            ):
                run.set_metadata("turn_number", number)
                for key, value in conversation.tags.items():
                    run.set_tag(key, value)
                _act(run, turn.acts, clock)
                if turn.fails:
                    raise CatalogueTimeout(turn.fails)
                run.set_result({"response": turn.answer})
                if turn.helpful is not None:
                    run.record_score("helpful", turn.helpful, comment="asked after the answer")


def _run(agent: str, message: str) -> WaxellContext:
    return WaxellContext(agent_name=agent, workflow_name=WORKFLOW, inputs={"message": message})


def _act(run: WaxellContext, acts: tuple[Act, ...], clock: ScriptedClock) -> None:
    for act in acts:
        clock.go_on(0.004)  # the agent's own code
        if isinstance(act, Ask):
            with _run(act.agent, act.message) as inner:
                _act(inner, act.acts, clock)
                inner.set_result({"response": act.answer})
        else:
            clock.go_on(act.seconds)
            _record(run, act)


def _record(run: WaxellContext, act: Call | Search | Tool | RateLimited) -> None:
    ms = round(act.seconds * 1000)
    if isinstance(act, Call):
        run.record_llm_call(
            model=act.model,
            tokens_in=act.tokens_in,
            tokens_out=act.tokens_out,
            cached_tokens=act.cached,
            provider=act.provider,
            task=act.task,
            duration_ms=ms,
        )
    elif isinstance(act, Search):
        found = [{"id": f"doc-{number}"} for number in range(1, act.documents + 1)]
        run.record_retrieval(query=act.query, documents=found, source="catalogue", duration_ms=ms)
    elif isinstance(act, Tool):
        answer = "" if act.error else {"ok": True}
        run.record_tool_call(
            name=act.name, input={"of": act.given}, output=answer, duration_ms=ms, error=act.error
        )
    else:
        run.record_llm_call(
            model=act.model,
            tokens_in=0,
            tokens_out=0,
            duration_ms=200,
            status=RecordStatus.ERROR,
            error_type="RateLimitError",
            error_message="429: too many requests",
        )
        run.record_retry(attempt=1, reason="rate limit", max_attempts=3, duration_ms=ms - 200)
