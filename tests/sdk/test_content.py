"""What stays out of the file: all that was said, where no content is kept; what the mask hides."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import waxlocal
from tests.tools.patience import wait_until
from waxlocal import ConfigurationError, WaxellContext, WaxellObserveClient
from waxlocal.recording.masking import FAILED
from waxlocal.recording.recorder import Recorder, use_recorder
from waxlocal.settings.config import Settings

SAID = "jane@example.com"
MESSAGES = [{"role": "user", "content": [{"type": "text", "text": f"I am {SAID}"}]}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "description": SAID}}]


@pytest.fixture
def settings(db_path: Path) -> Iterator[Settings]:
    """The settings of a process that records as it is told by `waxlocal.init` or by a test."""
    settings = Settings(db_path)
    before = use_recorder(Recorder(settings))
    yield settings
    made = use_recorder(before)
    assert made is not None
    made.close()


def stored(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Give each value of the file with its table and its column."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in rows.description]
            for row in rows:
                yield from ((table, name, value) for name, value in zip(names, row, strict=True))


def where_is(text: str, path: Path) -> set[tuple[str, str]]:
    return {(table, name) for table, name, value in stored(path) if text in str(value)}


def say_everything() -> None:
    """Say the same text wherever the SDK takes one that people, models or tools may have said."""
    context = WaxellContext("agent", inputs={"message": SAID})
    context.record_step("early", {"said": SAID})
    with suppress(ValueError), context:
        context.set_result({"answer": SAID})
        context.record_llm_call(
            model="model",
            tokens_in=1,
            tokens_out=2,
            prompt_preview=SAID,
            response_preview=SAID,
            full_messages=MESSAGES,
            full_response=SAID,
            prompt_variables={"who": SAID},
            config={"temperature": 0.5, "stop": SAID},
            status="error",
            error_type="ValueError",
            error_message=f"cannot answer {SAID}",
        )
        context.record_step("step", {"said": SAID})
        context.record_score("score", 0.5, comment=SAID)
        context.record_tool_call(name="tool", input={"to": SAID}, output=SAID, error=SAID)
        context.record_retrieval(query=SAID, documents=[{"text": SAID}])
        context.record_decision(name="choice", options=[SAID], chosen=SAID, reasoning=SAID)
        context.record_decision(name="sure", options=[SAID], chosen=SAID, confidence=0.5)
        context.record_reasoning(step="thought", thought=SAID, evidence=[SAID], conclusion=SAID)
        context.record_retry(attempt=1, reason=SAID, original_error=SAID)
        context.record_code_execution(language="python", code=SAID, output=SAID, error=SAID)
        span = context.enter_span("span", kind="tool", input_data={"said": SAID})
        context.exit_span(span, output_data={"said": SAID}, exc=KeyError(SAID))
        context.record_policy_check(policy_name="policy", action="warn", reason=SAID)
        context.record_approval_request(action_type="pay", reason=SAID)
        context.record_approval_response(action_type="pay", decision=f"no: {SAID}")
        context.record_bias_flag(flag=SAID)
        context.record_breach_signal(signal=SAID)
        context.request_stop(SAID)
        raise ValueError(SAID)
    asyncio.run(say_by_id())


async def say_by_id() -> None:
    client = WaxellObserveClient()
    run = await client.start_run("by id", inputs={"message": SAID})
    call = {"model": "model", "tokens_in": 1, "tokens_out": 2, "error_message": SAID}
    await client.record_llm_calls(run.run_id, [{**call, "full_messages": MESSAGES}])
    spans = [{"name": "span", "kind": "tool", "attributes": {"error": SAID}, "input_data": SAID}]
    await client.record_spans(run.run_id, spans)
    await client.record_scores(run.run_id, [{"name": "score", "value": 1.0, "comment": SAID}])
    await client.complete_run(
        run.run_id, result={"answer": SAID}, status="error", error=SAID, traceback=SAID
    )


def test_nothing_that_was_said_is_kept_without_content(settings: Settings) -> None:
    """Numbers, names, structure and the types of errors stay."""
    waxlocal.init(capture_content=False)
    say_everything()
    waxlocal.shutdown()
    assert where_is(SAID, settings.db) == set()
    with closing(sqlite3.connect(settings.db)) as connection:
        ends = connection.execute("SELECT status, error_type, error FROM runs ORDER BY id")
        assert ends.fetchall() == [("error", "ValueError", None), ("error", None, None)]
        errors = "SELECT status, error_type, error_message FROM llm_calls WHERE status = 'error'"
        assert connection.execute(errors).fetchall() == [("error", "ValueError", None)]
        (error,) = connection.execute("SELECT error FROM spans WHERE name = 'span'").fetchone()
        assert error == "KeyError"


def test_no_text_is_written_before_the_mask_has_seen_it(settings: Settings) -> None:
    """Also what waits for the beginning of its run, and each text within JSON."""
    waxlocal.init(mask=lambda text: text.replace(SAID, "<mail>"))
    with WaxellContext("labelled", metadata={"of": SAID}) as context:
        context.set_tag("by", SAID)
        context.record_step("step", attributes={"of": [{"it": SAID}]})
        context.record_score("word", SAID, data_type="categorical")
    say_everything()
    waxlocal.shutdown()
    assert where_is(SAID, settings.db) == set()
    masked = where_is("<mail>", settings.db)
    assert masked >= {("contents", "content"), ("llm_calls", "response"), ("runs", "traceback")}
    assert masked >= {("runs", "metadata"), ("runs", "tags"), ("steps", "attributes")}
    assert masked >= {("scores", "comment"), ("scores", "string_value"), ("events", "data")}


def test_messages_are_masked_before_they_get_their_keys(settings: Settings) -> None:
    """Messages that the mask makes equal are one content, and no key tells what was said."""
    waxlocal.init(mask=lambda text: re.sub(r"\S+@\S+", "<mail>", text))
    with WaxellContext("agent") as context:
        for who in ("a@example.com", "b@example.com"):
            said = [{"role": "user", "content": f"I am {who}"}]
            context.record_llm_call(model="model", tokens_in=1, tokens_out=1, full_messages=said)
    waxlocal.shutdown()
    with closing(sqlite3.connect(settings.db)) as connection:
        contents = connection.execute("SELECT content FROM contents").fetchall()
        keys = connection.execute("SELECT DISTINCT message_keys FROM llm_calls").fetchall()
    assert contents == [('{"role":"user","content":"I am <mail>"}',)]
    assert len(keys) == 1


def test_redact_is_a_mask(settings: Settings) -> None:
    """What looks like an address, a number or a key has its label in the file."""
    waxlocal.init(mask=waxlocal.redact)
    say_everything()
    waxlocal.shutdown()
    assert where_is(SAID, settings.db) == set()
    assert ("llm_calls", "response") in where_is("##EMAIL##", settings.db)


@pytest.mark.parametrize(
    "answer", [None, 5, b"bytes", ValueError(SAID), RecursionError(), SystemExit(SAID)]
)
def test_a_text_that_the_mask_cannot_take_is_not_recorded(
    settings: Settings, caplog: pytest.LogCaptureFixture, answer: object
) -> None:
    """The program goes on; one warning tells, without the text."""

    def mask(_text: str) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    waxlocal.init(mask=mask)
    with caplog.at_level(logging.WARNING, "waxlocal"):
        say_everything()
    waxlocal.shutdown()
    assert where_is(SAID, settings.db) == set()
    assert ("llm_calls", "response") in where_is(FAILED, settings.db)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("waxlocal: the mask failed (")
    assert SAID not in message


def test_a_time_limit_that_strikes_in_the_mask_reaches_the_program(settings: Settings) -> None:
    """It is no fault of the mask, and means to end what the program does."""

    def limit(_number: int, _frame: object) -> None:
        raise TimeoutError

    def mask(text: str) -> str:
        signal.raise_signal(signal.SIGUSR1)
        return text

    before = signal.signal(signal.SIGUSR1, limit)
    try:
        waxlocal.init(mask=mask)
        with WaxellContext("agent") as context, pytest.raises(TimeoutError):
            context.record_step("step", {"said": SAID})
    finally:
        signal.signal(signal.SIGUSR1, before)
        waxlocal.shutdown()
    assert where_is(FAILED, settings.db) == set()


def test_a_mask_that_records_does_not_stop_the_program(settings: Settings) -> None:
    """What it records goes through it, too."""
    depth = 0

    def mask(text: str) -> str:
        nonlocal depth
        if depth < 3:
            depth += 1
            with WaxellContext("within the mask", inputs={"text": text}):
                pass
            depth -= 1
        return text.upper()

    waxlocal.init(mask=mask)
    with WaxellContext("agent", inputs={"text": "said"}):
        pass
    waxlocal.shutdown()
    with closing(sqlite3.connect(settings.db)) as connection:
        inputs = connection.execute("SELECT inputs FROM runs WHERE agent_name = 'agent'")
        assert inputs.fetchall() == [('{"text":"SAID"}',)]


def test_what_is_no_function_is_no_mask(settings: Settings) -> None:
    """A typo is told at once, not by the first record."""
    with pytest.raises(ConfigurationError, match="mask is not a function but str"):
        waxlocal.init(mask="mask")  # type: ignore[arg-type]


def test_a_run_that_goes_on_in_another_file_is_masked_there(settings: Settings) -> None:
    """Its start is written once more, when the file was moved away."""
    waxlocal.init(mask=lambda text: text.replace(SAID, "<mail>"))
    with WaxellContext("agent", inputs={"message": SAID}) as context:
        settings.db.rename(settings.db.with_name("moved.db"))

        def is_found() -> bool:
            context.record_step("step")
            return settings.db.exists()

        wait_until(is_found)
    waxlocal.shutdown()
    assert where_is(SAID, settings.db) == set()
    assert ("runs", "inputs") in where_is("<mail>", settings.db)
