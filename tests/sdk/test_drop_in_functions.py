"""What the modules of the drop-in do, where they do something."""

from __future__ import annotations

from pathlib import Path

from tests.tools.cli import invoke
from tests.tools.sdk_programs import SHIM, run_python
from tests.tools.sdk_rows import only, rows


def test_cost_is_that_of_the_list_and_of_prices_set_by_hand(db_path: Path) -> None:
    """A price in the file comes first; a model without a price costs 0.0, as in the original."""
    program = """
from waxell_observe.cost import MODEL_COSTS, estimate_cost, estimate_embedding_cost
from waxell_observe.model_limits import get_context_limit
print(estimate_cost("gpt-4o", 1000, 500), estimate_cost("mine", 1_000_000, 0))
print(estimate_embedding_cost("text-embedding-3-small", 1000), MODEL_COSTS["gpt-4o"]["output"])
print(get_context_limit("gpt-4o"), get_context_limit("mine"))
"""
    ours = """
import logging, sys
logging.disable()
"""
    said = run_python("-c", ours + program, db=db_path, path=(SHIM,)).splitlines()
    assert said == ["0.0075 0.0", "2e-05 1e-05", "128000 None"]
    run_python("-c", "import waxlocal\nwith waxlocal.WaxellContext('a'): pass", db=db_path)
    invoke("prices", "set", "mine", "--input", 3, "--output", 4, db=db_path)
    said = run_python("-c", ours + program, db=db_path, path=(SHIM,)).splitlines()
    assert said[0] == "0.0075 3.0"


def test_spans_of_the_tracing_go_into_the_open_run(db_path: Path) -> None:
    """Name, kind, attributes and error of each; outside a run they are not recorded."""
    program = """
import waxell_observe
from waxell_observe.tracing import get_tracer, spans
from waxell_observe.utils import set_exception_attrs

spans.start_tool_span("nowhere").end()
with waxell_observe.WaxellContext("agent"):
    with spans.start_tool_span("search") as span:
        span.set_attribute("waxell.tool", "search")
    try:
        with get_tracer().start_as_current_span("work") as span:
            raise KeyError("gone")
    except KeyError as error:
        set_exception_attrs(spans.start_step_span("after"), error)
"""
    run_python("-c", program, db=db_path, path=(SHIM,))
    search, work = rows(db_path, "spans")
    assert (search["name"], search["kind"], search["status"]) == ("search", "tool", "ok")
    assert search["attributes"] == {"tool_type": "function", "waxell.tool": "search"}
    assert (work["status"], work["error"]) == ("error", "KeyError: 'gone'")


def test_run_can_be_the_child_of_a_run_elsewhere(db_path: Path) -> None:
    """A server gives the runs of a request the caller's run as parent, and its session."""
    program = """
from waxell_observe.context import WaxellContext, remote_parent_scope

with remote_parent_scope("wf-parent", "wf-root", session_id="s1"):
    with WaxellContext("called"):
        with WaxellContext("inner"):
            pass
with WaxellContext("alone"):
    pass
"""
    run_python("-c", program, db=db_path, path=(SHIM,))
    called = only(db_path, "runs", agent_name="called")
    assert (called["parent_workflow_id"], called["root_workflow_id"]) == ("wf-parent", "wf-root")
    assert called["session_id"] == "s1"
    inner = only(db_path, "runs", agent_name="inner")
    assert inner["parent_workflow_id"] not in (None, "wf-parent")
    assert inner["root_workflow_id"] == "wf-root"
    assert only(db_path, "runs", agent_name="alone")["parent_workflow_id"] is None


def test_instrumentors_import_nothing_and_can_be_derived_from(db_path: Path) -> None:
    """Detection finds libraries without importing them; a program's own instrumentor works."""
    program = """
import sys
from waxell_observe.instrumentors import BaseInstrumentor, detect_installed_libraries
from waxell_observe.instrumentors.openai_instrumentor import OpenAIInstrumentor

found = detect_installed_libraries()
print(found["langchain"], found["pinecone"], "langchain_core" in sys.modules)

class Mine(BaseInstrumentor):
    def instrument(self):
        with self.try_instrument_once() as to_do:
            type(self)._instrumented = True
        return to_do
    def uninstrument(self):
        type(self)._instrumented = False

print(Mine().instrument(), Mine().instrument(), Mine().is_instrumented())
print(issubclass(OpenAIInstrumentor, BaseInstrumentor), OpenAIInstrumentor().is_instrumented())
"""
    said = run_python("-c", program, db=db_path, path=(SHIM,)).splitlines()
    assert said == ["True False False", "True False True", "True False"]


def test_all_instrumentors_at_once_leave_out_what_is_excluded(db_path: Path) -> None:
    """By the argument, and by the variable; of a library that nothing captures it says so."""
    program = """
import os
from waxell_observe.instrumentors import instrument_all, uninstrument_all

print(instrument_all(["openai", "anthropic", "pinecone"], exclude=["anthropic"]))
uninstrument_all()
os.environ["WAXELL_EXCLUDE"] = "openai, pinecone"
print(instrument_all(["openai", "anthropic"]), "openai" in instrument_all())
"""
    said = run_python("-c", program, db=db_path, path=(SHIM,)).splitlines()
    assert said == ["{'openai': True, 'pinecone': False}", "{'anthropic': True} False"]


def test_context_has_the_attributes_of_the_original(db_path: Path) -> None:
    """They say what was given, and session and user of the run once it has begun."""
    program = """
from waxlocal import WaxellContext, WaxellObserveClient, session

given = {"q": 1}
run = WaxellContext("a", "w", inputs=given, user_group="g", enforce_policy=False, agent_type="t")
assert run.inputs is given and run.metadata == {}
assert (run.agent_name, run.workflow_name, run.user_group) == ("a", "w", "g")
assert (run.session_id, run.user_id, run.interaction_mode) == ("", "", "auto")
assert (run.enforce_policy, run.agent_type) == (False, "t")
assert isinstance(run.client, WaxellObserveClient)
run.user_id = "later"
with session("s1"), run:
    assert (run.session_id, run.user_id) == ("s1", "later")
try:
    run.session_id = 3
except TypeError as error:
    print(error)
"""
    said = run_python("-c", program, db=db_path)
    assert "session_id" in said
    run = only(db_path, "runs")
    assert (run["session_id"], run["user_id"]) == ("s1", "later")
