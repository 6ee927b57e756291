"""The session tutorial's programs, as a person would write them down from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.sdk_programs import add_openai, run_python
from tests.tools.sdk_rows import only, rows
from waxlocal.prices.table import price_pending
from waxlocal.storage.connection import reader

SESSION_IDS = """
import asyncio

from PACKAGE import WaxellContext, generate_session_id

session_id = generate_session_id()


async def main():
    for _ in range(2):
        async with WaxellContext(
            agent_name="chatbot", session_id=session_id, user_id="user_alice"
        ) as ctx:
            pass
    print(session_id)


asyncio.run(main())
"""

CHATBOT = """
import asyncio

import openai
from PACKAGE import WaxellContext, WaxellObserveClient, generate_session_id

WaxellObserveClient.configure(api_url="https://acme.waxell.dev", api_key="wax_sk_secret")
oai = openai.OpenAI()


class ChatSession:
    def __init__(self, user_id: str):
        self.session_id = generate_session_id()
        self.user_id = user_id
        self.history = [{"role": "system", "content": "You are a helpful assistant."}]

    async def send_message(self, message: str) -> str:
        self.history.append({"role": "user", "content": message})
        async with WaxellContext(
            agent_name="chatbot",
            session_id=self.session_id,
            user_id=self.user_id,
            inputs={"message": message},
        ) as ctx:
            ctx.set_metadata("turn_number", len(self.history) // 2)
            ctx.set_tag("session_type", "chat")
            response = oai.chat.completions.create(model="gpt-4o", messages=self.history)
            answer = response.choices[0].message.content
            usage = response.usage
            ctx.record_llm_call(
                model="gpt-4o",
                tokens_in=usage.prompt_tokens,
                tokens_out=usage.completion_tokens,
                task="chat_response",
            )
            self.history.append({"role": "assistant", "content": answer})
            ctx.set_result({"response": answer})
            return answer


async def main():
    session = ChatSession(user_id="user_alice")
    for question in ("What is Waxell?", "How does it handle governance?", "An example?"):
        print("Bot:", await session.send_message(question))
    print(session.session_id)


if __name__ == "__main__":
    asyncio.run(main())
"""

DECORATED = """
import asyncio

from PACKAGE import waxell_agent, generate_session_id

session_id = generate_session_id()


async def call_llm(message):
    return f"About: {message}"


@waxell_agent(agent_name="chatbot", session_id=session_id)
async def chat(message: str, waxell_ctx=None) -> str:
    response = await call_llm(message)
    if waxell_ctx:
        waxell_ctx.record_llm_call(model="gpt-4o", tokens_in=100, tokens_out=50)
    return response


async def main():
    await asyncio.gather(*(chat(word) for word in ("one", "two", "three")))
    print(session_id)


asyncio.run(main())
"""


Program = Callable[[str], list[str]]


@pytest.fixture(params=["waxlocal", "waxell_observe"])
def printed_by(request: pytest.FixtureRequest, db_path: Path, tmp_path: Path) -> Program:
    """Return what runs a program that imports from waxlocal, or from the SDK, unchanged."""
    add_openai(tmp_path)
    program = tmp_path / "program.py"
    # What would capture the calls of openai says that it cannot, with the stand-in for it.
    under = ["-m", "waxlocal", "run", "--no-instrument"]
    command = [program] if request.param == "waxlocal" else [*under, program]

    def run(text: str) -> list[str]:
        program.write_text(text.replace("PACKAGE", request.param))
        return run_python(*command, db=db_path, path=(tmp_path,)).splitlines()

    return run


def test_runs_of_a_conversation_share_their_session_id(db_path: Path, printed_by: Program) -> None:
    """Step 1: one generated id, given to every run, makes them one session."""
    (session_id,) = printed_by(SESSION_IDS)
    assert re.fullmatch("sess_[0-9a-f]{16}", session_id)
    runs = rows(db_path, "runs")
    assert [(run["session_id"], run["user_id"]) for run in runs] == [(session_id, "user_alice")] * 2


def test_chatbot_records_each_turn(db_path: Path, printed_by: Program) -> None:
    """Step 2: three turns are three runs with inputs, result, call, tag, metadata and cost."""
    *answers, session_id = printed_by(CHATBOT)
    assert answers[0] == "Bot: About: What is Waxell?"
    price_pending(db_path)
    runs = rows(db_path, "runs")
    assert [run["status"] for run in runs] == ["success"] * 3
    assert {run["session_id"] for run in runs} == {session_id}
    assert [run["metadata"] for run in runs] == [{"turn_number": n} for n in (1, 2, 3)]
    assert [run["tags"] for run in runs] == [{"session_type": "chat"}] * 3
    assert runs[0]["inputs"] == {"message": "What is Waxell?"}
    assert runs[0]["result"] == {"response": "About: What is Waxell?"}
    calls = [only(db_path, "llm_calls", run_id=run["run_id"]) for run in runs]
    assert [call["tokens_in"] for call in calls] == [200, 400, 600]
    assert [call["task"] for call in calls] == ["chat_response"] * 3
    with reader(db_path) as connection:
        session = connection.execute("SELECT * FROM sessions").fetchone()
    assert (session["run_count"], session["user_id"]) == (3, "user_alice")
    assert session["total_tokens"] == 1200 + 150
    assert session["total_cost"] == pytest.approx(1200 * 2.5e-6 + 150 * 10e-6)


def test_decorated_chat_records_each_call(db_path: Path, printed_by: Program) -> None:
    """Step 8: the decorator's session holds for all calls, concurrent ones too."""
    (session_id,) = printed_by(DECORATED)
    runs = rows(db_path, "runs")
    assert {run["session_id"] for run in runs} == {session_id}
    assert {run["parent_workflow_id"] for run in runs} == {None}
    assert {run["inputs"]["message"]: run["result"]["output"] for run in runs} == {
        word: f"About: {word}" for word in ("one", "two", "three")
    }
    assert [call["tokens_out"] for call in rows(db_path, "llm_calls")] == [50] * 3
