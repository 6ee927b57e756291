"""Which run is around another, as far as it can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.ingest import Hub, agent_span


@pytest.fixture
def hub(db_path: Path) -> Hub:
    """Return a file that requests arrive at."""
    return Hub(db_path)


def lineage(hub: Hub, run_id: str) -> tuple[Any, Any]:
    """Return the workflow ids of parent and root."""
    row = hub.run(run_id)
    return row["parent_workflow_id"], row["root_workflow_id"]


def nested(hub: Hub, parent: str, name: str = "child", **fields: Any) -> str:
    """Begin a run that names another one as its parent."""
    return hub.start(name, parent_workflow_id=f"wf_{parent}", root_workflow_id="wf_x", **fields)


@pytest.mark.parametrize(("outer", "inner"), [("s", "s"), ("", "s"), ("s", ""), ("", "")])
def test_a_parent_of_the_same_session_is_believed(hub: Hub, outer: str, inner: str) -> None:
    """A parent that is here, and not of another session, is kept; the root is its root."""
    parent = hub.start(session_id=outer)
    child = nested(hub, parent, session_id=inner)
    grandchild = nested(hub, child, session_id=inner)
    assert lineage(hub, child) == (f"wf_{parent}", f"wf_{parent}")
    assert lineage(hub, grandchild) == (f"wf_{child}", f"wf_{parent}")
    assert hub.run(grandchild)["trace_id"] == hub.run(parent)["trace_id"]


def test_a_parent_of_another_session_is_not_believed(hub: Hub) -> None:
    """The SDK names whatever run another thread has open."""
    parent = hub.start(session_id="A")
    child = nested(hub, parent, session_id="B")
    assert lineage(hub, child) == (None, None)
    assert hub.run(child)["trace_id"] == child.replace("-", "")


def test_a_parent_that_is_not_here_is_not_believed(hub: Hub) -> None:
    """A workflow id of another server means nothing here."""
    assert lineage(hub, nested(hub, "elsewhere")) == (None, None)
    assert lineage(hub, hub.start(root_workflow_id="elsewhere")) == (None, None)


def test_a_true_child_of_another_session_is_adopted_when_its_parent_ends(hub: Hub) -> None:
    """The spans of a run list its children; what is below a child gets the root, too."""
    parent = hub.start(session_id="A")
    child = nested(hub, parent, session_id="B")
    below = nested(hub, child, session_id="B")
    stranger = nested(hub, parent, session_id="C")
    assert lineage(hub, below) == (f"wf_{child}", f"wf_{child}")
    hub.spans(parent, agent_span(0), agent_span(2, child))
    assert lineage(hub, child) == (f"wf_{parent}", f"wf_{parent}")
    assert lineage(hub, below) == (f"wf_{child}", f"wf_{parent}")
    assert lineage(hub, stranger) == (None, None)
    assert hub.run(child)["trace_id"] == hub.run(parent)["trace_id"]


def test_a_run_is_never_inside_itself(hub: Hub) -> None:
    """Spans that list their own run, or the one around it, as a child change nothing."""
    parent = hub.start()
    child = nested(hub, parent)
    hub.spans(child, agent_span(1, child), agent_span(2, parent), agent_span(3, "nobody"))
    assert lineage(hub, parent) == (None, None)
    assert lineage(hub, child) == (f"wf_{parent}", f"wf_{parent}")


def test_an_uploader_of_ours_is_believed(hub: Hub) -> None:
    """What waxlocal recorded elsewhere has true parents, here or not, of whatever session."""
    parent, child = (f"01942000-0000-7000-8000-00000000000{n}" for n in (1, 2))
    own = {"run_id": child, "parent_workflow_id": f"wf_{parent}"}
    hub.start(session_id="B", metadata={"waxlocal": own})
    assert lineage(hub, child) == (f"wf_{parent}", f"wf_{parent}")
