"""Which run, span and session the code is in: context variables, and nothing else.

A new thread starts outside everything, an asyncio task where it was created, a forked child where
its parent was.

A variable can outlive what it names: a task that was created inside a run goes on after it, and a
generator that is closed in another task cannot restore the variables of its consumer (PEP 568 was
not accepted). So nothing relies on a variable being reset: a run, a span or a block that has ended
is passed over for the next one around it that is still open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from waxlocal.known_types import is_a
from waxlocal.recording.notices import warn
from waxlocal.recording.recorder import current_recorder

if TYPE_CHECKING:
    from waxlocal.sdk.context import WaxellContext

__all__ = [
    "SURROUNDINGS",
    "SessionScope",
    "carried_run",
    "current_run",
    "current_scope",
    "current_span",
    "is_in_named_block",
    "is_named_around",
    "open_run",
    "open_span",
    "outermost",
    "position_around",
    "remote_parent",
    "remote_parent_scope",
    "run_for",
    "run_here",
    "session",
    "still_open",
    "unplaced",
]


class SessionScope:
    """The session and user of a `session()` block, for runs that name none themselves."""

    __slots__ = ("ended", "inside", "outer", "remote_parent", "session_id", "user_id")

    def __init__(
        self, session_id: str, user_id: str, remote_parent: RemoteParent | None = None
    ) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.remote_parent = remote_parent
        # The run and the block that were open around this one.
        self.inside = open_run()
        outer = current_scope.get()
        while outer is not None and outer.ended:
            outer = outer.outer
        self.outer: SessionScope | None = outer
        self.ended: bool = False


class RemoteParent(NamedTuple):
    """A run in another process that the runs of this one belong to."""

    parent_workflow_id: str
    root_workflow_id: str


class Outermost:
    """The run around everything in this process, in all threads; see `process_run`.

    Beside the context variables, which a new thread begins without. `asked` is what its first call
    was asked, and `answered` what its last one answered, as far as they were captured.
    """

    __slots__ = ("answered", "asked", "run")

    def __init__(self) -> None:
        self.run: WaxellContext | None = None
        self.asked: str | None = None
        self.answered: str | None = None


outermost = Outermost()
current_run: ContextVar[WaxellContext | None] = ContextVar("waxlocal_run", default=None)
# The innermost span: the handle that `enter_span` returned.
current_span: ContextVar[dict[str, Any] | None] = ContextVar("waxlocal_span", default=None)
current_scope: ContextVar[SessionScope | None] = ContextVar("waxlocal_session", default=None)

# The run that `propagate` brought here: records still go to it when it has ended.
carried_run: ContextVar[WaxellContext | None] = ContextVar("waxlocal_carried", default=None)
# All of them, as a generator keeps them between its steps.
SURROUNDINGS: tuple[ContextVar[Any], ...] = (
    current_run,
    current_span,
    current_scope,
    carried_run,
)


def run_here() -> WaxellContext | None:
    """Return the run that records of this place go to.

    The innermost open one, or a carried one, or that of the whole process.
    """
    return open_run() or carried_run.get() or outermost.run


def is_named_around() -> bool:
    """Return whether a run that begins here, outside any other, gets a session or a parent.

    Of the blocks around it that have not ended, or of another process.
    """
    return remote_parent is not None or is_in_named_block()


def is_in_named_block() -> bool:
    """Return whether a block around this place that has not ended names a session or a parent."""
    scope = current_scope.get()
    while scope is not None:
        if not scope.ended and (scope.session_id or scope.remote_parent):
            return True
        scope = scope.outer
    return False


def run_for(caller: str) -> WaxellContext | None:
    """Return the run that a record goes to; without one, say once that it goes nowhere.

    Silent in a process that has recorded no run so far: there it may well be meant.
    """
    run = run_here()
    if run is None:
        unplaced(caller)
    return run


def unplaced(caller: str) -> None:
    """Say once that a record goes nowhere; see `run_for`."""
    global _told
    if _told or not current_recorder().ids.begun:
        return
    _told = True
    warn(
        f"{caller} was called outside any open run and is not recorded (this warning appears "
        "once). In another thread, or in a stream that outlives its handler, carry the run along "
        "with waxlocal.propagate(), or call the methods of the run itself."
    )


_told = False


def open_run() -> WaxellContext | None:
    """Return the innermost run around the code that has not ended."""
    return still_open(current_run.get())


def still_open(run: WaxellContext | None) -> WaxellContext | None:
    """Return the run, or the nearest one around it, that has not ended."""
    while run is not None and run._ended:
        run = run._outer
    return run


def open_span() -> dict[str, Any] | None:
    """Return the handle of the innermost span around the code that has not ended."""
    span = current_span.get()
    while span is not None and span["ended"]:
        span = span["outer"]
    return span


def position_around(run_id: str) -> int | None:
    """Return the position of the innermost open span of a run, None outside its spans."""
    span = current_span.get()
    while span is not None and (span["ended"] or span["run_id"] != run_id):
        span = span["outer"]
    return None if span is None else span["position"]


@contextmanager
def session(session_id: str = "", user_id: str = "") -> Iterator[None]:
    """Give every run opened inside the block this session and user, unless it names its own.

    Without a session id the block changes only the user; an id is not made up. Raises `TypeError`
    for ids that are not text.
    """
    with _inside(SessionScope(_id("session_id", session_id), _id("user_id", user_id))):
        yield


@contextmanager
def remote_parent_scope(
    parent_workflow_id: str = "",
    root_workflow_id: str = "",
    session_id: str = "",
    user_id: str = "",
) -> Iterator[None]:
    """Make every run that begins in the block, outside any other run, the child of a remote one.

    For a server that a run of another process calls. Session and user count as in `session`.
    """
    parent = _id("parent_workflow_id", parent_workflow_id)
    root = _id("root_workflow_id", root_workflow_id)
    remote = RemoteParent(parent, root or parent) if parent else None
    with _inside(SessionScope(_id("session_id", session_id), _id("user_id", user_id), remote)):
        yield


@contextmanager
def _inside(scope: SessionScope) -> Iterator[None]:
    current_scope.set(scope)
    try:
        yield
    finally:
        scope.ended = True
        # No `reset`: it raises when a generator is left in another context than it was entered in.
        if current_scope.get() is scope:
            current_scope.set(scope.outer)


def _id(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not is_a(value, str):
        raise TypeError(f"Argument '{name}' has incorrect type (expected str)")
    return str.replace(value, "\0", "\ufffd")


def _remote_parent() -> RemoteParent | None:
    # Read once, at the start of the process: what a running program sets there is not about it.
    parent = os.environ.get("WAXELL_PARENT_WORKFLOW_ID", "")
    root = os.environ.get("WAXELL_ROOT_WORKFLOW_ID", "")
    return RemoteParent(parent, root or parent) if parent else None


remote_parent = _remote_parent()
