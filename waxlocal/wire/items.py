"""One pass over the records of a run, which makes the items of all stages.

The original counts LLM calls, steps, spans and the runs that a run opens together, from 1, and
leaves out scores and events; so do the items, whatever the positions in the file are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from waxlocal.records import EVENTS, SPANS, RunStatus, Table
from waxlocal.wire import calls, spans
from waxlocal.wire.calls import call_body, llm_span, told_by_call
from waxlocal.wire.derived_spans import (
    agent_span,
    chain_span,
    child_span,
    memory_span,
    resumed_span,
)
from waxlocal.wire.events import event_item, is_sent
from waxlocal.wire.exact import DERIVED, Item
from waxlocal.wire.memory import (
    episodic_body,
    is_memory_write,
    remembered,
    semantic_body,
    told_by_memory,
)
from waxlocal.wire.recorded_run import ChildRun, RecordedRun
from waxlocal.wire.scores import Scores
from waxlocal.wire.spans import read_span, wire_span
from waxlocal.wire.steps import (
    Named,
    delegation_step,
    grounding_step,
    step_body,
    step_of_span,
    told_by_step,
)
from waxlocal.wire.turns import Turns
from waxlocal.wire.values import Json, Start, fields_of, text_of

__all__ = ["Items", "Untold"]

Row = Mapping[str, Any]


class Untold(NamedTuple):
    """A record that no item carries."""

    table: Table
    row: Row


class Items:
    """Takes records one by one, in order."""

    def __init__(self, run: RecordedRun, remote_ids: Mapping[str, str]) -> None:
        self._run = run.run
        self._depth = run.depth
        self._remote_ids = remote_ids
        local = text_of(self._run["workflow_id"])
        self._workflow_id = remote_ids.get(local, local)
        self._start = Start(run.run["started_at"])
        self._number = 0
        # Of spans that others may lie inside of, by their positions in the file.
        self._numbers: dict[int, int] = {}
        self._turns = Turns()
        self._scores = Scores(run)
        self._calls: list[Item] = []
        self._steps: list[Item] = []
        self._spans: list[Item] = []
        # What no item carries: it is in the state of the conversation, or nowhere.
        self._untold: list[Untold] = []
        self._sent: dict[str, list[Item]] = {"events": [], "episodic": [], "semantic": []}
        # One that was stopped before its first record has no spans; one that was interrupted had
        # no chance to send its own.
        status = run.run["status"]
        self._has_own_span = status not in (RunStatus.INTERRUPTED, RunStatus.RUNNING) and not (
            status == RunStatus.BLOCKED and not run.run["error_type"]
        )
        if self._has_own_span:
            self._spans.append(Item(0, agent_span(run), DERIVED))

    def result(self) -> dict[str, list[Item]]:
        """Return the items of each stage; stages of their own only where there are items."""
        items = {
            "llm-calls": self._calls,
            "steps": self._steps,
            "spans": self._spans,
            "scores": self._scores.result(),
        }
        return items | {stage: found for stage, found in self._sent.items() if found}

    def untold(self) -> list[Untold]:
        """Return the records that no item carries, in order."""
        return self._untold

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _add_step(self, position: int, named: Named, number: int) -> None:
        self._steps.append(Item(position, step_body(*named, number), DERIVED))

    # -- records ----------------------------------------------------------------------------------

    def llm_call(self, row: Row) -> None:
        """Take a row of `llm_calls`: a call and its span."""
        position, body = row["position"], call_body(row)
        self._calls.append(Item(position, body, told_by_call(body, row)))
        span = llm_span(row, self._turns.context(), self._next(), self._start)
        self._spans.append(Item(position, span, calls.told_by_span(span, row)))

    def step(self, row: Row) -> None:
        """Take a row of `steps`: a step and its span."""
        position, number = row["position"], self._next()
        body = step_body(text_of(row["step_name"]), fields_of(row["output"]), number)
        self._steps.append(Item(position, body, told_by_step(body, row)))
        self._spans.append(Item(position, chain_span(row, number, self._start), DERIVED))

    def span(self, row: Row) -> None:
        """Take a row of `spans`: a span and, for most kinds, a step."""
        span = read_span(row)
        if is_memory_write(span):
            self._untold.append(Untold(SPANS, row))
            return
        position, parent = row["position"], self._numbers.get(row["parent_position"])
        self._turns.add(span)
        named = step_of_span(span)
        if named is not None and named[0] == "io:user_message":
            number = 0  # as if it had come before the run, whenever it came
            body = wire_span(span, number, self._start, parent) | {"start_offset_ms": 0}
        else:
            number = self._next()
            body = wire_span(span, number, self._start, parent)
        self._numbers[position] = number
        self._spans.append(Item(position, body, spans.told_by_span(body, row)))
        if named is not None:
            self._add_step(position, named, number)

    def score(self, row: Row) -> None:
        """Take a row of `scores`."""
        self._scores.add(row)

    def event(self, row: Row) -> None:
        """Take a row of `events`; most kinds are only in the state of the conversation."""
        name, position = text_of(row["event"]), row["position"]
        data = fields_of(row["data"])
        if is_sent(row):
            self._sent["events"].append(event_item(row, self._run, self._workflow_id))
            return
        if name in ("memory_episodic", "memory_semantic"):
            self._remember(row, data)
            return
        self._untold.append(Untold(EVENTS, row))
        if name == "conversation_state":
            self._turns.replace(data)
        elif name == "grounding":
            self._add_step(position, grounding_step(data), self._next())
            self._scores.add_of_grounding(position, data)
        elif name == "retrieval_result":
            self._scores.add_of_retrieval(position, data)
        elif name == "delegation":
            named = delegation_step(text_of(data.get("delegate")), data.get("depth", 1))
            self._add_step(position, named, self._next())
        elif name == "resumed":
            self._resumed(position, data, row["recorded_at"])

    def _resumed(self, position: int, data: Json, at: object) -> None:
        span = resumed_span(text_of(data.get("from_run_id")), data.get("payload"), at)
        self._spans.append(Item(position, wire_span(span, self._next(), self._start), DERIVED))

    def _remember(self, row: Row, data: Json) -> None:
        name, position = row["event"], row["position"]
        fact = remembered(name, data, self._run)
        if fact is not None:
            span = memory_span(fact.tier, fact.slot_name, fact.content, row["recorded_at"])
            self._spans.append(Item(position, wire_span(span, self._next(), self._start), DERIVED))
        body: Json | None = episodic_body(data, self._run)
        tier = "episodic" if name == "memory_episodic" else "semantic"
        if tier == "semantic":
            body = semantic_body(data, self._run)
        if body is None:
            self._untold.append(Untold(EVENTS, row))
        else:
            self._sent[tier].append(Item(position, body, told_by_memory(tier, body, row)))

    # -- runs that this one opened ----------------------------------------------------------------

    def child_began(self, child: ChildRun) -> None:
        """Take the start of a run that this one opened: a step."""
        named = delegation_step(text_of(child.agent_name), self._depth + 1)
        self._add_step(-child.id, named, self._next())

    def child_ended(self, child: ChildRun) -> None:
        """Take the end of a run that this one opened: a span."""
        run_id = self._remote_ids.get(child.run_id, child.run_id)
        body = child_span(child, run_id, self._next(), self._start)
        self._spans.append(Item(-child.id, body, DERIVED))
