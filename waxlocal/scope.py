"""Which run, span and session the code is in: context variables, and nothing else.

A new thread starts outside everything, an asyncio task where it was created, a forked child where
its parent was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from waxlocal.context import WaxellContext

__all__ = [
    "SessionScope",
    "current_run",
    "current_scope",
    "current_span",
    "remote_parent",
    "session",
]


class SessionScope(NamedTuple):
    """The session and user that runs take over when they name none."""

    session_id: str
    user_id: str
    # The run that was open around the block: nearer than the block to no run but its outer ones.
    inside: WaxellContext | None


class RemoteParent(NamedTuple):
    """A run in another process that the runs of this one belong to."""

    parent_workflow_id: str
    root_workflow_id: str


current_run: ContextVar[WaxellContext | None] = ContextVar("waxlocal_run", default=None)
# (run id, position) of the innermost open span.
current_span: ContextVar[tuple[str, int] | None] = ContextVar("waxlocal_span", default=None)
current_scope: ContextVar[SessionScope | None] = ContextVar("waxlocal_session", default=None)


@contextmanager
def session(session_id: str = "", user_id: str = "") -> Iterator[None]:
    """Give every run opened inside the block this session and user, unless it names its own.

    Without a session id the block changes only the user; an id is not made up.
    """
    outer = current_scope.get()
    scope = SessionScope(
        session_id or (outer.session_id if outer else ""),
        user_id or (outer.user_id if outer else ""),
        current_run.get(),
    )
    current_scope.set(scope)
    try:
        yield
    finally:
        # No `reset`: it raises when a generator is left in another context than it was entered in.
        if current_scope.get() is scope:
            current_scope.set(outer)


def _remote_parent() -> RemoteParent | None:
    # Read once, at the start of the process: what a running program sets there is not about it.
    parent = os.environ.get("WAXELL_PARENT_WORKFLOW_ID", "")
    root = os.environ.get("WAXELL_ROOT_WORKFLOW_ID", "")
    return RemoteParent(parent, root or parent) if parent else None


remote_parent = _remote_parent()
