"""What many runs recorded, in brief."""

from __future__ import annotations

from pathlib import Path

from tests.tools.builders import recording
from waxlocal.queries.records import PREVIEW_CHARS, list_records


def test_records_of_all_kinds_come_in_the_order_of_their_making(tmp_path: Path) -> None:
    """Each run's own, in brief: names, figures, the start of an error or output."""
    with recording(tmp_path) as (to, conn):
        one, other = to.run("s"), to.run("s", at=1)
        to.step(one, "plan", output={"a": 1})
        to.llm(one, 100, 20, cost=0.5, duration_ms=900, task="answer")
        to.span(one, "tool", name="look up", seconds=0.25, status="error", error="x" * 1_000)
        to.score(one, "helpful", numeric_value=0.5, comment="thanks")
        to.score(one, "tone", data_type="categorical", string_value="kind")
        to.event(other, "policy_check", data={"allowed": True})
        found = list_records(conn, [other, one, "unknown"])
    assert list(found) == [other, one, "unknown"]
    assert found["unknown"] == []
    assert [record.source for record in found[one]] == ["step", "llm", "span", "score", "score"]
    step, call, span, helpful, tone = found[one]
    assert step.text == '{"a":1}'
    assert (call.tokens_in, call.cost, call.duration_ms) == (100, 0.5, 900.0)
    assert (span.name, span.duration_ms, span.status) == ("look up", 250.0, "error")
    assert len(span.text) == PREVIEW_CHARS
    assert (helpful.value, helpful.text) == (0.5, "thanks")
    assert (tone.value, tone.status) == (None, "kind")
    assert found[other][0].name == "policy_check"


def test_there_is_an_end_to_them(tmp_path: Path) -> None:
    """A page takes so many records and no more."""
    with recording(tmp_path) as (to, conn):
        run = to.run("s")
        for _ in range(10):
            to.step(run, "one")
        assert len(list_records(conn, [run], most=7)[run]) == 7
