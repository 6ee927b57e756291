"""Agents, tools and chains of frameworks, as they stand in the file."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, StatusCode

from tests.capture.stored import said, stored
from tests.tools.sdk_rows import queried
from waxlocal import WaxellContext, session
from waxlocal.capture.captured_span import captured
from waxlocal.capture.provider import provider
from waxlocal.process import FIRST_VARIABLE

pytestmark = pytest.mark.usefixtures("recorder")

KIND = "openinference.span.kind"
TRACER = provider().get_tracer("openinference.instrumentation.some_framework")


def _span(name: str, kind: str, **attributes: Any) -> Any:
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    return TRACER.start_as_current_span(name, attributes={KIND: kind, **given})


def _call(model: str = "m", tokens: int = 5, **attributes: Any) -> Any:
    return _span(
        "chat", "LLM", llm__model_name=model, llm__token_count__prompt=tokens, **attributes
    )


def test_an_agent_outside_any_run_is_a_run_with_its_tools(db_path: Path) -> None:
    """In the session that it names; a tool is a span, and what it asks a model is its call."""
    asked = json.dumps([{"role": "user", "content": "find it"}])
    with _span("guide", "AGENT", session__id="s-1", user__id="u-1", input__value=asked) as agent:
        with _span("look_up", "TOOL", tool__name="look_up", input__value='{"word": "it"}') as tool:
            (running,) = queried(db_path, "SELECT status FROM spans")
            assert running == {"status": "running"}
            with _call():
                pass
            tool.set_attribute("output.value", "found")
        agent.set_attribute("output.value", "It is found.")
    (run,) = queried(db_path, "SELECT * FROM runs")
    assert (run["agent_name"], run["status"]) == ("guide", "success")
    assert (run["session_id"], run["user_id"]) == ("s-1", "u-1")
    assert json.loads(run["inputs"])["message"] == "find it"
    (span,) = queried(db_path, "SELECT * FROM spans")
    assert (span["name"], span["kind"], span["status"]) == ("look_up", "tool", "ok")
    assert json.loads(span["input"]) == {"word": "it"}
    assert json.loads(span["output"]) == "found"
    (call,) = queried(db_path, "SELECT run_id, tokens_in FROM llm_calls")
    assert call == {"run_id": run["run_id"], "tokens_in": 5}


@pytest.mark.parametrize(
    ("framework", "scope"),
    [
        ("LANGGRAPH", "opentelemetry.instrumentation.genai.langchain"),
        ("PYDANTICAI", "pydantic-ai"),
        ("OPENAI_AGENTS", "opentelemetry.instrumentation.genai.openai_agents"),
        ("LLAMAINDEX", "openinference.instrumentation.llama_index"),
    ],
)
def test_a_framework_may_be_told_to_begin_no_run(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, framework: str, scope: str
) -> None:
    """Its calls are then what calls outside any run are; inside a run nothing is different."""
    monkeypatch.setenv(f"WAXELL_{framework}_AUTOCONTEXT", "false")
    tracer = provider().get_tracer(scope)
    with tracer.start_as_current_span("graph", attributes={KIND: "AGENT"}):
        with _call("first"):
            pass
        with tracer.start_as_current_span("tool", attributes={KIND: "TOOL"}), _call("second"):
            pass
    with WaxellContext("mine"), tracer.start_as_current_span("graph", attributes={KIND: "AGENT"}):
        pass
    runs = queried(db_path, "SELECT agent_name, status FROM runs ORDER BY id")
    assert [(run["agent_name"], run["status"]) for run in runs] == [
        ("auto:first", "success"),
        ("auto:second", "success"),
        ("mine", "success"),
    ]
    assert [row["n"] for row in queried(db_path, "SELECT count(*) AS n FROM llm_calls")] == [2]
    assert [row["name"] for row in queried(db_path, "SELECT name FROM spans")] == ["graph"]


@pytest.mark.parametrize(
    ("conversation", "generated"), [("0192f0c1-2b3c-7d4e-8f50-123456789abc", True), ("c-1", None)]
)
def test_a_session_that_only_the_library_knows_is_marked(
    db_path: Path, conversation: str, generated: bool | None
) -> None:
    """pydantic-ai makes up a conversation for each run of which the program names none."""
    tracer = provider().get_tracer("pydantic-ai")
    named = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": conversation}
    with tracer.start_as_current_span("agent run", attributes=named):
        pass
    (run,) = queried(db_path, "SELECT session_id, metadata FROM runs")
    assert run["session_id"] == conversation
    assert json.loads(run["metadata"]).get("session_generated") is generated


@pytest.mark.parametrize(
    ("kind", "has_session"),
    [("AGENT", True), ("CHAIN", True), ("TOOL", False), ("RETRIEVER", False)],
)
def test_an_invocation_that_names_no_session_has_its_own_under_waxlocal_run(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, has_session: bool
) -> None:
    """With all that is inside; a tool that a program uses by itself is no conversation."""
    monkeypatch.setenv(FIRST_VARIABLE, str(os.getpid()))
    for _ in range(2):
        with _span("outer", kind), _span("inner", "AGENT"), _call():
            pass
    runs = queried(db_path, "SELECT session_id FROM runs WHERE agent_name = 'outer' ORDER BY id")
    first, second = [run["session_id"] for run in runs]
    assert [first is not None, first != second] == [has_session, has_session]
    inner = queried(db_path, "SELECT session_id FROM runs WHERE agent_name = 'inner' ORDER BY id")
    assert [run["session_id"] for run in inner] == [first, second]


def test_an_agent_inside_an_agent_is_a_child_run(db_path: Path) -> None:
    """As a context of the program inside another."""
    with _span("outer", "AGENT", session__id="s"), _span("inner", "AGENT"), _call():
        pass
    outer, inner = queried(db_path, "SELECT * FROM runs ORDER BY id")
    assert (outer["agent_name"], inner["agent_name"]) == ("outer", "inner")
    assert inner["parent_workflow_id"] == outer["workflow_id"]
    assert inner["session_id"] == "s"
    (call,) = queried(db_path, "SELECT run_id FROM llm_calls")
    assert call["run_id"] == inner["run_id"]


def test_an_agent_inside_a_run_of_the_program_is_a_span_of_it(db_path: Path) -> None:
    """The program has said already what the run is."""
    with WaxellContext("mine"), _span("graph", "AGENT"), _span("node", "CHAIN"), _call():
        pass
    assert [row["agent_name"] for row in queried(db_path, "SELECT agent_name FROM runs")] == [
        "mine"
    ]
    outer, inner = queried(db_path, "SELECT * FROM spans ORDER BY position")
    assert (outer["kind"], inner["kind"]) == ("agent", "chain")
    assert inner["parent_position"] == outer["position"]


def test_a_run_of_the_program_inside_a_captured_tool_is_a_run_of_its_own(db_path: Path) -> None:
    """What it records lies in it, and what follows in the agent's run again."""
    with _span("guide", "AGENT"):
        with _span("tool", "TOOL"), WaxellContext("mine"), _call("inside"):
            pass
        with _call("after"):
            pass
    runs = {row["run_id"]: row["agent_name"] for row in queried(db_path, "SELECT * FROM runs")}
    calls = queried(db_path, "SELECT run_id, model FROM llm_calls")
    assert {row["model"]: runs[row["run_id"]] for row in calls} == {
        "inside": "mine",
        "after": "guide",
    }


def test_what_fails_is_recorded_as_failed(db_path: Path) -> None:
    """The span and the run, with the type and the text of the error."""
    agent, tool = _span("guide", "AGENT"), _span("look_up", "TOOL")
    with pytest.raises(ValueError, match="no such word"), agent, tool:
        raise ValueError("no such word")
    (run,) = queried(db_path, "SELECT status, error_type, error FROM runs")
    assert run["status"] == "error"
    assert "ValueError" in run["error_type"]
    (span,) = queried(db_path, "SELECT status, error FROM spans")
    assert (span["status"], "no such word" in span["error"]) == ("error", True)


def test_an_exception_that_cannot_be_printed_is_recorded_all_the_same(db_path: Path) -> None:
    """Not even one whose text ends the program does that."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    span = TRACER.start_span("guide", attributes={KIND: "AGENT"})
    span.record_exception(Unprintable())
    span.set_status(StatusCode.ERROR)
    span.end()
    (run,) = queried(db_path, "SELECT status, error FROM runs")
    assert run == {"status": "error", "error": "<unprintable Unprintable>"}


def test_a_call_reported_by_a_framework_and_its_client_is_one(db_path: Path) -> None:
    """Counts of the client, which is inside; what was said as the framework has it."""
    client = provider().get_tracer("opentelemetry.instrumentation.genai.openai")
    said = {"input.value": "what the framework asked", "llm.provider": "openai"}
    inside = client.start_as_current_span("chat m", attributes={"gen_ai.operation.name": "chat"})
    with WaxellContext("bot"), _call("m", 0, **said), inside as inner:
        inner.set_attributes({"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2})
        inner.set_attribute("gen_ai.response.model", "m-2026")
    (call,) = queried(db_path, "SELECT * FROM llm_calls")
    assert (call["model"], call["tokens_in"], call["tokens_out"]) == ("m-2026", 9, 2)
    assert call["prompt_preview"] == "what the framework asked"
    assert len(json.loads(call["details"])["merged"]) == 1


def test_a_framework_that_loses_a_message_leaves_it_to_its_client(db_path: Path) -> None:
    """AutoGen's instrumentation writes what a tool answered where nobody else does."""
    at = "llm.input_messages"
    outer = {
        f"{at}.0.message.role": "user",
        f"{at}.0.message.content": "weather?",
        f"{at}.1.message.role": "function",
        f"{at}.1.function.0": '{"name": "get_weather", "content": "sunny"}',
    }
    inner = {
        f"{at}.0.message.role": "user",
        f"{at}.0.message.content": "weather?",
        f"{at}.1.message.role": "tool",
        f"{at}.1.message.content": "sunny",
    }
    with WaxellContext("bot"), _call("gpt-4o", **outer):
        client = provider().get_tracer("openinference.instrumentation.openai")
        client.start_span("chat", attributes={KIND: "LLM", "llm.model_name": "m", **inner}).end()
    (call,) = stored(db_path).calls
    assert json.loads(call["messages"])[1]["content"] == "sunny"
    assert "messages" not in json.loads(call["details"])["sources"]


def test_the_arguments_of_a_function_are_not_what_was_said(db_path: Path) -> None:
    """Guardrails' instrumentation reports the function of the program that calls the model."""
    outer = {"input.value": '{"args": ["is it \\"sunny\\"?"]}'}
    inner = {"llm.input_messages.0.message.content": 'is it "sunny"?'}
    with WaxellContext("bot"), _call("gpt-4o", **outer):
        client = provider().get_tracer("openinference.instrumentation.openai")
        client.start_span("chat", attributes={KIND: "LLM", "llm.model_name": "m", **inner}).end()
    (call,) = stored(db_path).calls
    assert json.loads(call["messages"]) == [{"role": "user", "content": 'is it "sunny"?'}]
    assert call["prompt_preview"] == 'is it "sunny"?'


def test_retries_inside_one_call_are_the_calls(db_path: Path) -> None:
    """The failed one, too; the framework's report around them has no row."""
    with WaxellContext("bot"), _call("m", 7):
        with _call("m", 0) as first:
            first.set_status(StatusCode.ERROR, "too many")
        with _call("m", 7):
            pass
    calls = queried(db_path, "SELECT status, tokens_in FROM llm_calls ORDER BY position")
    assert calls == [{"status": "error", "tokens_in": 0}, {"status": "ok", "tokens_in": 7}]


def test_retries_outside_any_run_are_calls_of_one_run(db_path: Path) -> None:
    """Which ends with the framework's report around them."""
    with _call("m", 7):
        for _ in range(2):
            with _call("m", 7):
                pass
    (run,) = queried(db_path, "SELECT run_id, status FROM runs")
    assert run["status"] == "success"
    calls = queried(db_path, "SELECT run_id FROM llm_calls")
    assert calls == [{"run_id": run["run_id"]}] * 2


def test_a_call_that_two_instrumentations_report_apart_is_one(db_path: Path) -> None:
    """Without a common parent: by time and counts."""
    other = provider().get_tracer("openinference.instrumentation.openai")
    with WaxellContext("bot"):
        outer = TRACER.start_span("chat", attributes={KIND: "LLM", "llm.model_name": "m"})
        inner = other.start_span("chat", attributes={KIND: "LLM", "llm.model_name": "m"})
        for span in (inner, outer):
            span.set_attribute("llm.token_count.prompt", 5)
            span.end()
    assert len(queried(db_path, "SELECT 1 FROM llm_calls")) == 1


def test_the_run_around_a_chain_that_was_never_ended_is_not_the_run_of_what_follows(
    db_path: Path,
) -> None:
    """A stream that nobody reads to its end leaves its span open for ever."""
    TRACER.start_span("graph", attributes={KIND: "CHAIN"})
    with session("s-2"), _call():
        pass
    first, second = queried(db_path, "SELECT agent_name, status, session_id FROM runs ORDER BY id")
    assert (first["agent_name"], first["status"]) == ("graph", "running")
    assert (second["agent_name"], second["session_id"]) == ("auto:m", "s-2")


def test_the_programs_own_tracing_does_not_see_ours() -> None:
    """What it traces inside one of our spans has its own span as the parent."""
    mine = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    with trace.use_span(mine), _span("graph", "CHAIN"):
        assert trace.get_current_span().get_span_context().span_id == 2
    with _span("graph", "CHAIN"):
        assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("is_traced", [False, True])
def test_a_span_of_the_program_does_not_hide_what_it_is_in(db_path: Path, is_traced: bool) -> None:
    """Frameworks trace themselves, whether the program has an SDK of OpenTelemetry or not."""
    own = _OwnTracer() if is_traced else trace.NoOpTracer()
    mine = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    with (
        trace.use_span(mine),
        _span("guide", "AGENT"),
        own.start_as_current_span("process") as inner,
        _call(),
    ):
        assert inner.get_span_context().trace_id == 1
    (run,) = queried(db_path, "SELECT run_id, agent_name FROM runs")
    assert run["agent_name"] == "guide"
    assert queried(db_path, "SELECT run_id FROM llm_calls") == [{"run_id": run["run_id"]}]


class _OwnTracer(trace.NoOpTracer):
    """Starts spans that know the context of their parent, as those of the SDK do."""

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        parent = trace.get_current_span().get_span_context()
        span = trace.NonRecordingSpan(trace.SpanContext(parent.trace_id, 3, is_remote=False))
        span.parent = parent  # type: ignore[attr-defined]
        return span


def test_the_context_of_a_captured_span_is_copied_as_any_other() -> None:
    """A program may send the context of its span to another process."""
    mine = trace.SpanContext(1, 2, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(mine)), _span("guide", "AGENT") as agent:
        given = agent.get_span_context()
    assert given == mine
    assert type(pickle.loads(pickle.dumps(given))) is trace.SpanContext
    assert type(copy.deepcopy(given)) is trace.SpanContext


def test_a_proxy_of_a_span_is_known_as_the_span() -> None:
    """Instrumentations wrap spans to mask their attributes."""

    class Proxy:
        def __init__(self, wrapped: object) -> None:
            self.__wrapped__ = wrapped

    span = TRACER.start_span("x")
    assert captured(Proxy(Proxy(span))) is span
    assert captured(Proxy(None)) is None
    assert captured(trace.INVALID_SPAN) is None
    span.end()


def test_a_span_answers_what_those_of_the_sdk_do() -> None:
    """Some instrumentations ask; an `AttributeError` would be the program's."""
    span = TRACER.start_span("step", start_time=1_795_648_170_000_000_000)
    assert span.status.status_code is StatusCode.UNSET
    assert (span.start_time, span.context) == (1_795_648_170_000_000_000, span.get_span_context())
    span.set_status(StatusCode.OK)
    assert span.status.status_code is StatusCode.OK
    span.set_status(StatusCode.ERROR, "out of paper")
    assert (span.status.is_ok, span.status.description) == (False, "out of paper")
    span.end()


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_span_that_is_left_in_another_context_prints_nothing(
    is_ours: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a generator that is closed elsewhere; of the program's own spans it is said as ever."""
    tracer = provider().get_tracer("some.framework") if is_ours else NoOpTracer()

    def events() -> Iterator[None]:
        with trace.use_span(tracer.start_span("agent"), end_on_exit=True):
            yield

    begun = events()
    copy_context().run(next, begun)
    begun.close()
    assert [record.name for record in caplog.records] == (
        [] if is_ours else ["opentelemetry.context"]
    )


def test_a_span_ends_once_and_says_nothing_afterwards(db_path: Path) -> None:
    """An instrumentation that ends it twice makes no second row."""
    with WaxellContext("bot"):
        span = TRACER.start_span("chat", attributes={KIND: "LLM", "llm.model_name": "m"})
        span.end()
        span.set_attribute("llm.model_name", "other")
        span.end()
    assert [row["model"] for row in queried(db_path, "SELECT model FROM llm_calls")] == ["m"]


@pytest.mark.parametrize("end_ns", [1_000_006_000_000_000, None])
def test_a_span_that_is_reported_when_it_is_over_has_the_time_it_took(
    db_path: Path, end_ns: int | None
) -> None:
    """The steps of a Bedrock agent come with the answer; one without an end goes on until now."""
    start_ns = 1_000_000_000_000_000 if end_ns else time.time_ns() - 6_000_000_000
    with WaxellContext("bot"):
        for kind in ("LLM", "TOOL"):
            attributes = {KIND: kind, "llm.model_name": "m"}
            span = TRACER.start_span("past", attributes=attributes, start_time=start_ns)
            span.end(end_ns)
    (call,) = queried(db_path, "SELECT duration_ms FROM llm_calls")
    (tool,) = queried(db_path, "SELECT duration_ms FROM spans")
    for row in (call, tool):
        assert row["duration_ms"] == 6000 if end_ns else row["duration_ms"] >= 6000


def test_a_fault_of_ours_does_not_reach_the_program(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and the program goes on."""
    from waxlocal.capture import ended_spans

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ended_spans, "call_facts", broken)
    with WaxellContext("bot"), _call():
        pass
    assert "a bug" in caplog.text


def test_a_span_that_says_only_after_its_start_what_it_is(db_path: Path) -> None:
    """A call is a call and no span; what says nothing is a span once something is inside."""
    with WaxellContext("mine"):
        with TRACER.start_as_current_span("completion") as span:
            span.set_attribute(KIND, "LLM")
            span.set_attributes({"llm.model_name": "m", "llm.token_count.prompt": 7})
        with TRACER.start_as_current_span("work"), _span("look_up", "TOOL"):
            pass
        TRACER.start_span("alone").end()
    (call,) = queried(db_path, "SELECT model, tokens_in FROM llm_calls")
    assert call == {"model": "m", "tokens_in": 7}
    spans = queried(db_path, "SELECT * FROM spans ORDER BY position")
    assert [(span["name"], span["kind"]) for span in spans] == [
        ("work", "other"),
        ("look_up", "tool"),
        ("alone", "other"),
    ]
    assert spans[1]["parent_position"] == spans[0]["position"]


def test_what_is_said_only_at_the_end_is_kept(db_path: Path) -> None:
    """What an agent was asked, and what a tool was called with."""
    with _span("guide", "AGENT") as agent:
        with _span("look_up", "TOOL") as tool:
            tool.set_attributes({"input.value": '{"word": "it"}', "output.value": "found"})
        asked = json.dumps([{"role": "user", "content": "find it"}])
        agent.set_attribute("gen_ai.input.messages", asked)
    (run,) = queried(db_path, "SELECT * FROM runs")
    (span,) = queried(db_path, "SELECT * FROM spans")
    assert json.loads(run["inputs"])["message"] == "find it"
    assert (json.loads(span["input"]), json.loads(span["output"])) == ({"word": "it"}, "found")


def test_what_begins_at_once_inside_a_span_that_says_nothing_is_in_one_run(db_path: Path) -> None:
    """Tools in several threads: the first one decides what is around them, and once."""
    rounds, threads = 20, 4
    for _ in range(rounds):
        outer = TRACER.start_span("outer")
        inside = trace.set_span_in_context(outer)
        together = threading.Barrier(threads)

        def work(inside: Context = inside, together: threading.Barrier = together) -> None:
            together.wait()
            TRACER.start_span("tool", inside, attributes={KIND: "TOOL"}).end()

        started = [threading.Thread(target=work) for _ in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        outer.end()
    found = queried(db_path, "SELECT agent_name, status, count(*) AS runs FROM runs GROUP BY 1, 2")
    assert found == [{"agent_name": "outer", "status": "success", "runs": rounds}]
    (spans,) = queried(db_path, "SELECT count(*) AS tools FROM spans")
    assert spans["tools"] == rounds * threads


def test_the_tags_of_an_agent_are_tags_of_its_run(db_path: Path) -> None:
    """Named ones, and a list of words."""
    with _span("guide", "AGENT", waxell__tag__team="search") as agent:
        agent.set_attribute("tag.tags", ["beta"])
    (run,) = queried(db_path, "SELECT tags FROM runs")
    assert json.loads(run["tags"]) == {"team": "search", "beta": "true"}


def test_a_run_whose_span_says_nothing_has_what_its_calls_say(db_path: Path) -> None:
    """The first question, and the last answer."""
    with _span("guide", "AGENT"):
        for number in (1, 2):
            with _call(input__value=f"question {number}", output__value=f"answer {number}"):
                pass
    (run,) = queried(db_path, "SELECT * FROM runs")
    assert json.loads(run["inputs"]) == {"message": "question 1"}
    assert json.loads(run["result"]) == {"response": "answer 2"}


@pytest.mark.parametrize(
    "printed",
    [
        {"messages": ["id='1' source='user' models_usage=None content='weather?'"]},
        {"messages": ["ChatMessage(_role=<ChatRole.USER: 'user'>, _content=[], _name=None)"]},
    ],
)
def test_a_message_that_was_printed_is_told_by_the_call(db_path: Path, printed: Any) -> None:
    """Some instrumentations write the objects of a framework as Python prints them."""
    asked = {"llm.input_messages.0.message.content": "weather?"}
    answered = {"llm.output_messages.0.message.content": "sunny"}
    given = {"input__value": json.dumps(printed), "output__value": json.dumps({"raw": 1})}
    with _span("writer.run_stream", "AGENT", **given), _call(**asked, **answered):
        pass
    (run,) = stored(db_path).runs
    assert (run["agent_name"], said(run)) == ("writer", ("weather?", "sunny"))
    assert json.loads(run["inputs"])["messages"][0]["content"] == printed["messages"][0]
    assert json.loads(run["result"])["output"] == {"raw": 1}


def test_a_conversation_of_the_context_is_the_session_from_the_start(db_path: Path) -> None:
    """OpenTelemetry's instrumentations write it into the span at its end."""
    from opentelemetry.util.genai._conversation_context import with_conversation_id

    tracer = provider().get_tracer("opentelemetry.instrumentation.genai.langchain")
    given = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "helper"}
    context = with_conversation_id("t-7")
    span = tracer.start_span("invoke_workflow helper", context, attributes=given)
    (run,) = queried(db_path, "SELECT * FROM runs")
    span.end()
    assert (run["session_id"], run["agent_name"]) == ("t-7", "helper")
    assert (run["workflow_name"], run["status"]) == ("langgraph", "running")


def test_a_tool_that_its_span_alone_names_has_no_method_in_its_name(db_path: Path) -> None:
    """CrewAI's instrumentation says `tool.name` only at the end."""
    with WaxellContext("bot"), _span("get_weather.run", "TOOL"):
        pass
    assert stored(db_path).spans_of() == [("tool", "get_weather", None)]


def test_a_tool_outside_any_run_is_a_run_with_the_span(db_path: Path) -> None:
    with _span("look_up", "TOOL", tool__name="look_up"):
        pass
    (run,) = queried(db_path, "SELECT status FROM runs")
    (span,) = queried(db_path, "SELECT name, status FROM spans")
    assert (run["status"], span) == ("success", {"name": "look_up", "status": "ok"})


ASKED = json.dumps([{"role": "user", "content": "find it"}])
ANSWERED = json.dumps([{"role": "assistant", "content": "It is found."}])


@pytest.mark.parametrize("says_kind", ["first", "last"])
@pytest.mark.parametrize("inside", [False, True])
def test_what_an_agent_says_at_its_end_is_parsed_once(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, says_kind: str, inside: bool
) -> None:
    """Whether it is a run or a span of one, and whenever it says that it is an agent."""
    parsed: list[str] = []

    def noting(text: str) -> Any:
        parsed.append(text)
        return json.loads(text)

    monkeypatch.setattr("waxlocal.decode.loads", noting)
    with WaxellContext("mine") if inside else nullcontext():
        agent = TRACER.start_span(
            "guide", attributes={KIND: "AGENT"} if says_kind == "first" else {}
        )
        agent.set_attribute("input.value", ASKED)
        agent.set_attribute("output.value", ANSWERED)
        if says_kind == "last":
            agent.set_attribute(KIND, "AGENT")
        agent.end()
    assert (parsed.count(ASKED), parsed.count(ANSWERED)) == (1, 1)
    (run,) = queried(db_path, "SELECT agent_name, inputs, result FROM runs")
    if inside:
        (span,) = queried(db_path, "SELECT input, output FROM spans")
        assert (json.loads(span["input"]), json.loads(span["output"])) == (
            json.loads(ASKED),
            json.loads(ANSWERED),
        )
    else:
        assert (run["agent_name"], said(run)) == ("guide", ("find it", "It is found."))


def test_an_agent_whose_calls_another_program_makes_has_their_sum_as_a_call(db_path: Path) -> None:
    """As the Claude Agent SDK reports it, which runs the command `claude`."""
    tracer = provider().get_tracer("openinference.instrumentation.claude_agent_sdk")
    at = "llm.output_messages"
    with tracer.start_as_current_span("ClaudeAgentSDK.query", attributes={KIND: "AGENT"}) as agent:
        with tracer.start_as_current_span("Bash", attributes={KIND: "TOOL", "tool.id": "toolu_1"}):
            pass
        agent.set_attributes(
            {
                "llm.provider": "anthropic",
                "llm.model_name": "claude-sonnet-4-5",
                "input.value": "What files are here?",
                "output.value": "There is a.txt.",
                f"{at}.0.message.role": "assistant",
                f"{at}.0.message.content.0": "Let me look.",
                f"{at}.1.message.role": "assistant",
                f"{at}.1.message.content.0": "There is a.txt.",
                "llm.token_count.prompt": 2043,
                "llm.token_count.completion": 30,
                "llm.token_count.prompt_details.cache_read": 1900,
                "llm.token_count.prompt_details.cache_write": 130,
            }
        )
    with tracer.start_as_current_span("ClaudeAgentSDK.query", attributes={KIND: "AGENT"}):
        pass  # it failed before it was told any usage
    found = stored(db_path)
    assert [run["agent_name"] for run in found.runs] == ["ClaudeAgentSDK"] * 2
    (call,) = found.calls
    assert (call["tokens_in"], call["cached_tokens"], call["tokens_out"]) == (2043, 1900, 30)
    assert (call["task"], call["model"]) == ("claude_agents", "claude-sonnet-4-5")
    assert call["response_preview"] == "There is a.txt."
    assert said(found.runs[0]) == ("What files are here?", "There is a.txt.")
    (span,) = found.spans
    assert json.loads(span["attributes"]) == {"tool_call_id": "toolu_1"}


def test_an_invocation_that_is_reported_when_it_is_over_has_no_call_twice(db_path: Path) -> None:
    """BeeAI's instrumentation reports so; the client's has recorded the calls by then."""
    client = provider().get_tracer("openinference.instrumentation.litellm")
    tokens = {"llm.token_count.prompt": 239, "llm.token_count.completion": 10}
    asked = {"llm.input_messages.0.message.content": "weather?", **tokens}
    began_ns, times = time.time_ns(), []
    for model in ("openai/gpt-4o", "openai/gpt-4o"):  # two equal calls stay two
        given = {KIND: "LLM", "llm.model_name": model, **asked}
        start = time.time_ns()
        client.start_span("completion", attributes=given).end()
        times.append((start, time.time_ns()))
        time.sleep(0.02)  # longer than what two instrumentations may differ by
    later = provider().get_tracer("openinference.instrumentation.beeai")
    kind = {KIND: "AGENT", "metadata.class_name": "RequirementAgent", "agent.name": "guide"}
    agent = later.start_span("guide", attributes=kind, start_time=began_ns)
    context = trace.set_span_in_context(agent)
    told = {KIND: "LLM", "llm.model_name": "gpt-4o", **asked}
    for start, end in times:
        later.start_span("Model", context, attributes=told, start_time=start).end(end)
    event = later.start_span("final", context, attributes={KIND: "AGENT"}, start_time=began_ns)
    event.end(began_ns)
    agent.end(time.time_ns())
    found = stored(db_path)
    assert len(found.calls) == 2
    assert all("beeai" in str(json.loads(call["details"])["merged"]) for call in found.calls)
    assert [run["agent_name"] for run in found.runs] == ["auto:openai/gpt-4o"] * 2 + ["guide"]
    assert found.spans_of(found.run("guide")) == [("chain", "final", None)]


def test_a_call_that_a_framework_reports_beside_its_client_is_one(db_path: Path) -> None:
    """Pipecat's instrumentation opens a span in a task where the client's call does not run."""
    told = {"gen_ai.request.model": "unknown", "metrics.model": "gpt-4o", KIND: "LLM"}
    counts = {"llm.token_count.prompt": 5, "llm.token_count.completion": 4}
    asked = "llm.input_messages.0.message.content"
    framework = provider().get_tracer("openinference.instrumentation.pipecat")
    client = provider().get_tracer("openinference.instrumentation.openai")
    with framework.start_as_current_span("turn", attributes={KIND: "CHAIN"}) as turn:
        context = trace.set_span_in_context(turn)
        call = framework.start_span("pipecat.llm", context)
        with trace.use_span(trace.INVALID_SPAN):
            for question in ("another user's", "weather?"):
                seen = {"llm.model_name": "gpt-4o", asked: question, **counts, KIND: "LLM"}
                client.start_span("chat", attributes=seen).end()
        call.set_attributes({**told, **counts, asked: "weather?"})
        call.end()
    found = stored(db_path)
    assert len(found.calls) == 2
    merged = {one["prompt_preview"]: "merged" in str(one["details"]) for one in found.calls}
    assert merged == {"another user's": False, "weather?": True}
    assert said(found.run("turn"))[0] == "weather?"
