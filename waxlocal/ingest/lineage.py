"""The parent and the root of a run that arrives, as far as the sender can be trusted.

The original SDK names as parent any run that is open in the process, even one of another thread and
another session. So the parent that a start names is stored only if it is a run of this file and not
of another session. A true child in another session becomes known when its parent ends: the spans of
the parent list its children.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from waxlocal.ids import run_id_of, workflow_id_of
from waxlocal.wire.values import as_text

__all__ = ["Lineage", "adopt", "of_uploader", "trusted"]

_RUN = """
SELECT session_id, parent_workflow_id, root_workflow_id, trace_id FROM runs WHERE run_id = ?
"""
# Not a run that has a parent already, and not an ancestor of this one.
_ADOPT = """
UPDATE runs SET parent_workflow_id = :parent, root_workflow_id = :root, trace_id =
  iif(trace_id = replace(run_id, '-', ''), :trace_id, trace_id)
WHERE run_id = :child AND parent_workflow_id IS NULL AND workflow_id <> :root
  AND workflow_id <> :parent
"""
_BELOW = """
UPDATE runs SET root_workflow_id = :root WHERE run_id IN (
  WITH RECURSIVE below (run_id, workflow_id) AS (
    SELECT run_id, workflow_id FROM runs WHERE parent_workflow_id = :child_workflow
    UNION
    SELECT r.run_id, r.workflow_id FROM below b JOIN runs r ON r.parent_workflow_id = b.workflow_id)
  SELECT run_id FROM below)
"""


class Lineage(NamedTuple):
    """The workflow ids of parent and root, and the trace id that they share."""

    parent_workflow_id: str | None
    root_workflow_id: str | None
    trace_id: str | None


class _Around(NamedTuple):
    session_id: str | None
    parent_workflow_id: str | None
    root_workflow_id: str | None
    trace_id: str


def trusted(
    connection: sqlite3.Connection, parent_id: str, root_id: str, session_id: str | None
) -> Lineage:
    """Return what can be trusted of the lineage that a start names."""
    parent = _find(connection, parent_id)
    if parent is not None and _may_be_around(parent, session_id):
        return Lineage(parent_id, parent.root_workflow_id or parent_id, parent.trace_id)
    root = None if parent_id else _find(connection, root_id)
    if root is not None and _may_be_around(root, session_id):
        return Lineage(None, root_id, root.trace_id)
    return Lineage(None, None, None)


def of_uploader(connection: sqlite3.Connection, parent_id: object, root_id: object) -> Lineage:
    """Return the lineage that our own uploader sends; it is right even without that parent here."""
    parent, root = as_text(parent_id) or None, as_text(root_id) or None
    if parent and not root:
        known = _find(connection, parent)
        root = (known and known.root_workflow_id) or parent
    return Lineage(parent, root, None)


def adopt(connection: sqlite3.Connection, parent_run_id: str, child_ids: Sequence[str]) -> None:
    """Make these runs children of the run whose spans list them."""
    if not child_ids:
        return
    parent_id = workflow_id_of(parent_run_id)
    parent = _find(connection, parent_id)
    if parent is None:
        return
    root_id = parent.root_workflow_id or parent_id
    for child in child_ids:
        named = {
            "parent": parent_id,
            "root": root_id,
            "trace_id": parent.trace_id,
            "child": child,
            "child_workflow": workflow_id_of(child),
        }
        if connection.execute(_ADOPT, named).rowcount:
            connection.execute(_BELOW, named)


def _find(connection: sqlite3.Connection, workflow_id: str) -> _Around | None:
    run_id = run_id_of(workflow_id)
    if run_id is None:
        return None
    for row in connection.execute(_RUN, (run_id,)).fetchall():
        return _Around(*row)
    return None


def _may_be_around(run: _Around, session_id: str | None) -> bool:
    return run.session_id is None or session_id is None or run.session_id == session_id
