"""The page about recording: its examples run as they stand there, and its names exist."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import waxlocal
from tests.tools.patience import PATIENCE_S
from tests.tools.sdk_rows import only, rows, run_named
from waxlocal import WaxellContext, WaxellObserveClient
from waxlocal.recording.recorder import Health, Recorder
from waxlocal.sdk import run_attributes

PAGE = (Path(__file__).parents[2] / "docs" / "recording.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
A_RUN, HEALTH, DECORATORS, PROPAGATE = EXAMPLES

pytestmark = pytest.mark.usefixtures("recorder")


async def ask_model(question: str) -> tuple[str, Any]:
    """Answer as a provider's library does."""
    cached = SimpleNamespace(cached_tokens=60)
    usage = SimpleNamespace(prompt_tokens=100, completion_tokens=20, prompt_tokens_details=cached)
    return f"About: {question}", usage


def run_example(text: str, **given: object) -> dict[str, Any]:
    """Run an example of the page; return what it defined."""
    names: dict[str, Any] = {"__name__": "example", **given}
    exec(compile(text, "docs/recording.md", "exec"), names)
    return names


def test_a_run(db_path: Path) -> None:
    """The run has its session, tag, call and result."""
    names = run_example(A_RUN, ask_model=ask_model)
    assert asyncio.run(names["answer"]("rooms?")) == "About: rooms?"
    run = run_named(db_path, "helpdesk")
    assert (run["session_id"], run["user_id"]) == (names["session"], "ada")
    assert (run["inputs"], run["tags"]) == ({"message": "rooms?"}, {"channel": "web"})
    assert run["result"] == {"response": "About: rooms?"}
    call = only(db_path, "llm_calls")
    assert (call["tokens_in"], call["tokens_out"], call["cached_tokens"]) == (100, 20, 60)


def test_health(
    capsys: pytest.CaptureFixture[str], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said while all is well, and how many records are lost when some are."""
    run_example(HEALTH)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(recorder.store.backlog, "lost", 2)
    run_example(HEALTH)
    assert "2 were lost" in capsys.readouterr().out


def test_decorators(db_path: Path) -> None:
    """What the page says of inputs, result, `waxell_ctx`, `search` and `book` is in the file."""
    names = run_example(DECORATORS, session="sess_docs")
    assert asyncio.run(names["answer"]("a room?", user_id="bob")) == "Room 3 is yours"
    run = run_named(db_path, "helpdesk")
    assert (run["session_id"], run["user_id"]) == ("sess_docs", "bob")
    assert (run["inputs"], run["tags"]) == ({"question": "a room?"}, {"pages": "1"})
    assert run["result"] == {"output": "Room 3 is yours"}
    search, book = rows(db_path, "spans")
    assert (search["kind"], search["input"]["query"]) == ("retriever", "a room?")
    assert (book["kind"], book["input"]) == ("tool", {"room": "Room 3"})


def test_propagate(db_path: Path) -> None:
    """A call in the pool, a thread and a stream after the handler record into its run."""
    worked: list[threading.Event] = [threading.Event(), threading.Event()]
    left: Iterator[threading.Event] = iter(worked)

    def work() -> None:
        waxlocal.step("work")
        next(left).set()

    async def stream() -> Any:
        waxlocal.step("stream")
        yield "text"

    async def serve() -> None:
        response = await names["handler"](None)
        assert [part async for part in response.body_iterator] == ["text"]

    names = run_example(PROPAGATE, work=work, stream=stream)
    asyncio.run(serve())
    assert all(done.wait(PATIENCE_S) for done in worked)
    names["pool"].shutdown()
    assert sorted(step["step_name"] for step in rows(db_path, "steps")) == [
        "stream",
        "work",
        "work",
    ]
    assert {step["run_id"] for step in rows(db_path, "steps")} == {only(db_path, "runs")["run_id"]}


def test_every_field_of_health_stands_on_the_page() -> None:
    """And no other."""
    table = PAGE.partition("| `waxlocal.health()` |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    named = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    assert named == {*Health._fields, "ok"}


def test_every_decorator_stands_on_the_page() -> None:
    """And no other."""
    table = PAGE.partition("| decorator |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`@(\w+)`", table))
    modules = waxlocal.sdk.decorators.__all__
    assert named == set(modules)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+)\(", PAGE))))
def test_every_function_on_the_page_exists(name: str) -> None:
    """As a function of waxlocal, or a method of a run or of the client; or the page defines it."""
    holders = (waxlocal, WaxellContext, WaxellObserveClient)
    assert any(hasattr(holder, name) for holder in holders) or f"def {name}(" in PAGE


def test_the_limit_of_early_records_is_that_of_the_page() -> None:
    """So many wait for the beginning of their run."""
    assert f"up to {run_attributes.MAX_EARLY:,} records wait" in PAGE


RECORDING_METHODS = [
    name
    for name in sorted(dir(WaxellContext))
    if name.startswith(("record_", "remember_", "set_", "update_"))
]


def method_row(name: str) -> str:
    """Return the line of the page about a method of a run: its arguments and what it does."""
    method = inspect.unwrap(getattr(WaxellContext, name))
    given = list(inspect.signature(method).parameters.values())[1:]
    required = [one.name for one in given if one.default is one.empty]
    optional = [one.name for one in given if one.default is not one.empty]
    arguments = ", ".join([*required, *(f"[{name}]" for name in optional)])
    summary = (inspect.getdoc(method) or "").partition("\n")[0]
    return f"| `{name}({arguments})` | {summary} |"


@pytest.mark.parametrize("name", RECORDING_METHODS)
def test_the_page_lists_what_a_run_can_record(name: str) -> None:
    """Each method with its arguments, in the words of its docstring."""
    assert method_row(name) in PAGE.splitlines()
