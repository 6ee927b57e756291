from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import recording
from waxlocal.errors import NotFound
from waxlocal.queries import Money, money
from waxlocal.records import LLM_CALLS
from waxlocal.storage.contents import put


def costs_of(tmp_path: Path, *calls: tuple[int, int, float | None], model: str = "m") -> Money:
    """Return where the money went in a session with one such call in each run."""
    with recording(tmp_path) as (make, conn):
        for number, (tokens_in, tokens_out, cost) in enumerate(calls):
            run = make.run(at=number * 10)
            make.llm(run, tokens_in, tokens_out, cost=cost, model=model)
        return money(conn, "s1")


def test_of_an_input_that_grows_a_part_was_sent_before(tmp_path: Path) -> None:
    """Of a call without messages: what the call before had sent and got; the rest is new."""
    spent = costs_of(tmp_path, (100, 50, 0.1), (180, 40, 0.2), (230, 10, 0.1))
    assert [turn.resent_tokens for turn in spent.turns] == [0, 150, 220]
    assert [turn.new_tokens for turn in spent.turns] == [100, 30, 10]
    assert [turn.estimated_tokens for turn in spent.turns] == [0, 180, 230]
    assert (spent.tokens_in, spent.new_tokens, spent.resent_tokens) == (510, 140, 370)
    assert (spent.unsplit_tokens, spent.estimated_tokens) == (0, 410)
    assert spent.cost == pytest.approx(0.4)


@pytest.mark.parametrize("later", [(100, 100), (120, 100), (90, 40)])
def test_of_an_input_that_does_not_grow_nobody_knows(
    tmp_path: Path, later: tuple[int, int]
) -> None:
    """Three prompts that have nothing to do with each other look the same."""
    spent = costs_of(tmp_path, (120, 40, 0.0001), *((tokens, 40, 0.0001) for tokens in later))
    assert [turn.resent_tokens for turn in spent.turns] == [0, None, None]
    assert [turn.new_tokens for turn in spent.turns] == [120, None, None]
    assert (spent.new_tokens, spent.resent_tokens, spent.unsplit_tokens) == (120, 0, sum(later))
    assert spent.verdict.startswith("Nothing stands out")


def test_a_turn_may_be_known_in_part(tmp_path: Path) -> None:
    """Its parts add up to its input."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run(at=0), 100, 50)
        run = make.run(at=1)
        make.llm(run, 180, 20)
        make.llm(run, 70, 20)
        (_, turn) = money(conn, "s1").turns
    assert (turn.new_tokens, turn.resent_tokens, turn.unsplit_tokens) == (30, 150, 70)
    assert turn.tokens_in == 250


def test_each_agent_has_a_context_of_its_own(tmp_path: Path) -> None:
    """What one agent was sent is new to another."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run(at=0, agent="a"), 1_000, 100)
        make.llm(make.run(at=1, agent="b"), 1_000, 100)
        make.llm(make.run(at=2, agent="a"), 1_500, 100)
        spent = money(conn, "s1")
    assert [turn.resent_tokens for turn in spent.turns] == [0, 0, 1_100]


def lists_of(tmp_path: Path, *lists: str) -> Money:
    """Return the money of a session whose calls had these messages, one letter each, of 100 tokens.

    A capital letter is said by the system.
    """
    with recording(tmp_path) as (make, conn):
        for number, letters in enumerate(lists):
            said = [
                {"role": "system" if one.isupper() else "user", "content": one} for one in letters
            ]
            row = {"messages": json.dumps(said, separators=(",", ":"))}
            (stored,) = put(make.conn, LLM_CALLS, [row])
            make.llm(make.run(at=number), len(letters) * 100, 10, **stored)
        return money(conn, "s1")


@pytest.mark.parametrize(
    ("lists", "resent", "forks", "compactions"),
    [
        (("a", "abc", "abcde"), [0, 100, 300], 0, 0),
        (("abc", "abc"), [0, 300], 0, 0),
        (("abc", "abd"), [0, 200], 1, 0),
        (("abc", "abcde", "xy"), [0, 300, 0], 0, 1),
        (("abcde", "xy"), [0, 0], 0, 0),
        (("a", "abc", "abcde", "x", "xyz"), [0, 100, 300, 0, 100], 0, 0),
        (("ab", "x", "abc", "xy"), [0, 0, 200, 100], 0, 0),
    ],
)
def test_what_is_sent_again_is_known_by_the_messages(
    tmp_path: Path, lists: tuple[str, ...], resent: list[int], forks: int, compactions: int
) -> None:
    """The common beginning of two lists; also where an agent holds two conversations."""
    spent = lists_of(tmp_path, *lists)
    assert [turn.resent_tokens for turn in spent.turns] == resent
    assert (spent.forks, spent.compactions) == (forks, compactions)


PIXELS = base64.b64encode(bytes(range(256)) * 4_000).decode()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXELS}},
        {"inline_data": {"mime_type": "image/png", "data": PIXELS}},
    ],
    ids=["OpenAI", "Anthropic", "Gemini"],
)
def test_a_picture_does_not_outweigh_what_is_said(tmp_path: Path, part: dict[str, Any]) -> None:
    """A megabyte of base64 counts as 1,000 tokens of text do, whichever provider's part it is."""
    said = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]
    with recording(tmp_path) as (make, conn):
        for number, tokens_in in enumerate((1_000, 2_000)):
            row = {"messages": json.dumps(said, separators=(",", ":"))}
            (stored,) = put(make.conn, LLM_CALLS, [row])
            make.llm(make.run(at=number), tokens_in, 10, **stored)
            said.append({"role": "user", "content": "A long text. " * 300})
        spent = money(conn, "s1")
    assert [turn.new_tokens for turn in spent.turns] == [1_000, pytest.approx(1_000, rel=0.1)]


def test_after_the_system_text_alone_a_history_begins_anew(tmp_path: Path) -> None:
    """The system text is sent again; with the first message of the user, too, it is a fork."""
    spent = lists_of(tmp_path, "Sa", "Sab", "Sx", "Say")
    assert spent.turns[2].resent_tokens == pytest.approx(100, abs=5)
    assert (spent.forks, spent.compactions) == (1, 1)


def test_a_call_without_messages_is_taken_by_size(tmp_path: Path) -> None:
    """As all are that 0.2 has recorded, or that were recorded without content."""
    with recording(tmp_path) as (make, conn):
        (stored,) = put(make.conn, LLM_CALLS, [{"messages": '["a"]'}])
        make.llm(make.run(at=0), 100, 50)
        make.llm(make.run(at=1), 180, 20, **stored)
        make.llm(make.run(at=2), 220, 20)
        spent = money(conn, "s1")
    assert [turn.resent_tokens for turn in spent.turns] == [0, 150, 200]


def test_a_total_without_the_tokens_of_some_calls_says_so(tmp_path: Path) -> None:
    """What they cost is unknown, too."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run(), 100, 50, cost=0.5)
        make.llm(make.run(at=1), 0, 0, usage_known=0)
        spent = money(conn, "s1")
    assert spent.verdict.endswith("; total $0.5000; the tokens of 1 call are unknown.")


def test_a_failed_call_does_not_forget_the_conversation(tmp_path: Path) -> None:
    """A call without tokens is passed over; the next one still sends again what was before it."""
    spent = costs_of(tmp_path, (500, 100, 0.1), (0, 0, None), (650, 50, 0.1))
    assert [turn.resent_tokens for turn in spent.turns] == [0, 0, 600]


def test_the_calls_of_a_run_make_one_turn(tmp_path: Path) -> None:
    """A turn adds up its calls and names its models; a run without calls is a turn for nothing."""
    with recording(tmp_path) as (make, conn):
        run = make.run(at=0)
        make.llm(run, 100, 10, cost=0.25, model="big", cached_tokens=30)
        make.llm(run, 150, 10, model="small")
        make.llm(run, 10, 0, cost=0.0, model="big")
        make.run(at=5)
        spent = money(conn, "s1")
    first, second = spent.turns
    assert (first.llm_calls, first.tokens_in, first.cached_tokens) == (3, 260, 30)
    assert (first.cost, first.priced_tokens, first.models) == (0.25, 120, ("big", "small"))
    assert (second.llm_calls, second.cost, second.models) == (0, 0.0, ())
    assert [(one.model, one.calls, one.cost) for one in spent.models] == [
        ("big", 2, 0.25),
        ("small", 1, None),
    ]
    assert spent.priced_share == 120 / 280


def test_a_growing_context_is_named(tmp_path: Path) -> None:
    """Turns that send again all that was said before are the reason, with the share of it."""
    spent = costs_of(tmp_path, *((200 + 400 * n, 300, 0.01) for n in range(8)))
    assert spent.reason == "growing_context"
    assert spent.verdict == (
        "Growing context: about 93% of the 12,800 input tokens were sent before; "
        "the first turn sent 200, the last 3,000; total $0.0800."
    )
    assert sum(turn.resent_tokens for turn in spent.turns) == spent.resent_tokens == 11_900


def test_a_growing_context_begins_where_tokens_are_known(tmp_path: Path) -> None:
    """Nobody told those of the first turn, so nobody knows what it sent."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run(), 0, 0, usage_known=0)
        for turn in range(1, 8):
            make.llm(make.run(at=turn), 200 + 400 * turn, 300, cost=0.01)
        verdict = money(conn, "s1").verdict
    assert "; the first turn with known tokens sent 600, the last 3,000;" in verdict


def test_a_large_first_context_is_named(tmp_path: Path) -> None:
    """Documents sent from the start, and with every call after it, are the reason."""
    spent = costs_of(tmp_path, (20_000, 100, 0.05), (20_200, 100, 0.05), (20_400, 100, 0.05))
    assert spent.reason == "large_first_context"
    assert spent.verdict == (
        "Large first context: 20,000 tokens before the conversation, sent in 3 calls, are about "
        "99% of the 60,600 input tokens; total $0.1500."
    )


def test_first_contexts_of_several_agents_are_not_one_large_one(tmp_path: Path) -> None:
    """Ten agents that were sent 500 tokens each; one of 20,000 beside them is named alone."""
    with recording(tmp_path) as (make, conn):
        for number in range(10):
            make.llm(make.run(at=number, agent=f"agent {number}"), 500, 10, cost=0.0001)
        assert money(conn, "s1").reason == "many_turns"
        for at in (20, 21):
            make.llm(make.run(at=at, agent="reader"), 20_000 + at, 10, cost=0.01)
        verdict = money(conn, "s1").verdict
    assert verdict.startswith(
        "Large first context: 20,020 tokens before the conversation, sent in 2"
    )


def test_a_expensive_model_is_named(tmp_path: Path) -> None:
    """A model far more expensive than others of its day is the reason, with its price."""
    spent = costs_of(tmp_path, (600, 400, 0.04), (300, 200, 0.02), model="gpt-4")
    assert spent.reason == "expensive_model"
    assert spent.verdict == (
        "Expensive model: gpt-4 cost $0.0600, 100% of the session, at $40.00 per million tokens; "
        "total $0.0600."
    )


def test_many_small_turns_are_named(tmp_path: Path) -> None:
    """Where no call is large, growing or expensive, the number of turns is the reason."""
    with recording(tmp_path) as (make, conn):
        for number in range(12):
            run = make.run(at=number, agent=f"agent {number}")
            make.llm(run, 100, 100, cost=0.0005)
        spent = money(conn, "s1")
    assert spent.reason == "many_turns"
    assert spent.verdict.startswith("Many turns: 12 turns at $0.00050 and 200 tokens each;")


def test_a_small_session_has_no_reason(tmp_path: Path) -> None:
    """Nothing is blamed where nothing stands out."""
    spent = costs_of(tmp_path, (100, 50, 0.0004))
    assert spent.reason == "nothing"
    assert spent.verdict == "Nothing stands out: 1 turn with 1 LLM call; total $0.00040."


def test_an_unknown_cost_is_said_to_be_unknown(tmp_path: Path) -> None:
    """No price is never shown as $0, and a partly known one says how much is known."""
    assert costs_of(tmp_path, (100, 50, None)).verdict.endswith("; total cost unknown.")
    (tmp_path / "partly").mkdir()
    partly = costs_of(tmp_path / "partly", (50, 25, 0.01), (50, 25, None))
    assert partly.verdict.endswith("total $0.0100 for the 50% of its tokens that have a price.")


def test_the_verdict_words_figures_as_the_commands_do(tmp_path: Path) -> None:
    """100% means all of it, and many turns without a price have an unknown cost, not $0."""
    nearly = costs_of(tmp_path, (999, 1, 0.06), (1, 0, None), model="gpt-4")
    assert nearly.verdict.endswith("total $0.0600 for the 99% of its tokens that have a price.")
    with recording(tmp_path / "many") as (make, conn):
        for number in range(12):
            make.llm(make.run(at=number, agent=f"agent {number}"), 100, 100)
        verdict = money(conn, "s1").verdict
    assert verdict.startswith("Many turns: 12 turns at an unknown cost and 200 tokens each;")


def test_a_session_without_llm_calls_says_so(tmp_path: Path) -> None:
    """Runs alone cost nothing that could be explained."""
    with recording(tmp_path) as (make, conn):
        make.run()
        spent = money(conn, "s1")
    assert (spent.reason, spent.verdict) == ("no_calls", "No LLM calls were recorded.")
    assert (spent.cost, spent.priced_share) == (0.0, None)


def test_a_session_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """An unknown id raises `NotFound`."""
    with recording(tmp_path) as (_make, conn), pytest.raises(NotFound):
        money(conn, "s1")


def test_a_turn_and_a_model_say_whether_anybody_told_their_tokens(tmp_path: Path) -> None:
    """0 tokens of a failed call are not the 0 of an empty one."""
    with recording(tmp_path) as (make, conn):
        make.llm(make.run(), 100, 10, model="told")
        both = make.run(at=1)
        make.llm(both, 100, 10, model="told")
        make.llm(both, 0, 0, model="failed", usage_known=0)
        make.llm(make.run(at=2), 0, 0, model="failed", usage_known=0)
        make.run(at=3)
        spent = money(conn, "s1")
    assert [turn.unmetered_calls for turn in spent.turns] == [0, 1, 1, 0]
    assert [turn.metered_share for turn in spent.turns] == [1, 0.5, 0, None]
    assert {one.model: one.metered_share for one in spent.models} == {"told": 1, "failed": 0}
