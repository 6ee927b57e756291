"""Where a conversation went back and on from there, and where its history was compacted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tools.builders import recording
from tests.tools.talks import SYSTEM, Message, Talk, add_call, said, thirty_turns
from waxlocal.encode import dumps
from waxlocal.queries import HistoryChange, money


def changes(tmp_path: Path, calls: Sequence[object]) -> list[HistoryChange]:
    """Return the changes of a session; each item is the call of a run, or a list of its calls."""
    with recording(tmp_path) as (make, conn):
        for number, one in enumerate(calls):
            run = make.run(at=number * 10)
            in_run: Any = one if isinstance(one, tuple) else (one,)
            for messages in in_run:
                add_call(make, run, messages)
        spent = money(conn, "s1")
    assert (spent.forks, spent.compactions) == (
        sum(one.kind == "fork" for one in spent.history),
        sum(one.kind == "compaction" for one in spent.history),
    )
    return list(spent.history)


def test_a_compaction_and_an_edited_question_are_found_among_thirty_turns(tmp_path: Path) -> None:
    """And nothing else; the fork is from the turn before the edited question."""
    compacted, forked = changes(tmp_path, thirty_turns())
    assert (compacted.kind, compacted.turn, compacted.from_turn) == ("compaction", 12, None)
    assert compacted.text == "history compacted at turn 12: 22 messages became 3"
    assert compacted.mark == "history compacted"
    assert (forked.kind, forked.turn, forked.from_turn) == ("fork", 25, 16)
    assert forked.text == "turn 25 forked from turn 16: 12 of 27 messages kept"
    assert forked.mark == "forked from turn 16"


def test_a_summary_before_the_last_messages_is_a_compaction(tmp_path: Path) -> None:
    """As frameworks do it: also where the first question stays in front."""
    talk = Talk()
    talk.turns(*range(1, 9))
    talk.compact(keep=4)
    talk.turns(9, 10)
    pinned = Talk()
    pinned.turns(*range(1, 9))
    pinned.history[2:-3] = [said("user", "Summary: trains.")]
    pinned.turns(9)
    for calls in (talk.calls, pinned.calls):
        (only,) = changes(tmp_path / str(len(calls)), calls)
        assert (only.kind, only.turn, only.messages_before) == ("compaction", 9, 16)


def test_a_long_run_that_compacts_its_own_history_says_so(tmp_path: Path) -> None:
    """An agent in one run, by its tools."""
    steps: list[list[Message]] = [[SYSTEM, said("user", "Book a journey.")]]
    for number in range(20):
        steps.append([*steps[-1], said("assistant", f"call {number}"), said("tool", f"{number}")])
    after = [SYSTEM, said("user", "Book a journey. So far: 20 calls.")]
    (only,) = changes(tmp_path, [(*steps, after, [*after, said("assistant", "Done.")])])
    assert only.text == "history compacted at turn 1: 42 messages became 2"


def test_a_question_that_is_changed_in_its_place_is_a_fork(tmp_path: Path) -> None:
    """Everything after it is sent as it was."""
    talk = Talk()
    talk.turns(*range(1, 11))
    talk.history[9] = said("user", "question 5, corrected")
    talk.turns(11)
    (only,) = changes(tmp_path, talk.calls)
    assert only.text == "turn 11 forked from turn 4: 9 of 20 messages kept"


def test_an_answer_that_is_asked_for_again_forks_from_its_turn(tmp_path: Path) -> None:
    """The same question, sent again after the conversation went on."""
    talk = Talk()
    talk.turns(1, 2, 3)
    (only,) = changes(tmp_path, [*talk.calls, talk.calls[1]])
    assert only.text == "turn 4 forked from turn 2: 4 of 6 messages kept"


def without_memory() -> list[object]:
    """Each run begins anew, and calls tools."""
    runs: list[object] = []
    for turn in range(5):
        asked = [SYSTEM, said("user", f"question {turn}")]
        runs.append((asked, [*asked, said("assistant", f"call {turn}"), said("tool", f"{turn}")]))
    return runs


def with_titles() -> list[object]:
    """A second thing is asked of the model, with a text of its own, in each turn."""
    talk = Talk()
    talk.turns(*range(1, 7))
    ask = said("system", "Give the conversation a title.")
    return [(call, [ask, call[-1]]) for call in talk.calls]


def fan_out() -> list[object]:
    """One run asks several things about the same text, at the same time."""
    begun = [SYSTEM, said("user", "A long text.")]
    return [tuple([*begun, said("user", f"Question {n}?")] for n in range(5))]


def sliding() -> list[object]:
    """Only the last messages are sent."""
    talk = Talk()
    talk.turns(*range(1, 20))
    return [[SYSTEM, *call[1:][-9:]] for call in talk.calls]


def pinned_and_sliding() -> list[object]:
    """The first question, and the last messages."""
    talk = Talk()
    talk.turns(*range(1, 20))
    return [[*call[:2], *call[2:][-9:]] for call in talk.calls]


def marked(message: Message) -> Message:
    """Return a message that is marked for the provider's cache."""
    part = {"type": "text", "text": message["content"], "cache_control": {"type": "ephemeral"}}
    return message | {"content": [part]}


def cached() -> list[list[Message]]:
    """The mark for the cache moves to the last message."""
    talk = Talk()
    talk.turns(*range(1, 8))
    return [[marked(call[0]), *call[1:-1], marked(call[-1])] for call in talk.calls]


def beside() -> list[object]:
    """Two conversations with the same text of the system, in turns."""
    one, other = Talk(), Talk()
    for turn in range(1, 7):
        one.turns(turn)
        other.turns(turn, of="other question")
    return [call for pair in zip(one.calls, other.calls, strict=True) for call in pair]


QUIET = [without_memory, with_titles, fan_out, sliding, pinned_and_sliding, cached, beside]


@pytest.mark.parametrize("usual", QUIET)
def test_what_is_no_change_of_a_history_is_not_called_one(tmp_path: Path, usual: Any) -> None:
    """Ways to call a model in which lists are cut short as well."""
    assert changes(tmp_path, usual()) == []


def test_a_message_that_somebody_removed_is_like_no_other(tmp_path: Path) -> None:
    """Nobody can say what it was, whether or not the one in its place is marked for the cache."""
    first, second, *_ = cached()
    with recording(tmp_path) as (make, conn):
        for number, messages in enumerate((first, second)):
            add_call(make, make.run(at=number), messages, tokens_in=1_000)
        plain = (dumps(second[1]),)
        assert make.conn.execute("DELETE FROM contents WHERE content = ?", plain).rowcount == 1
        assert 0 < money(conn, "s1").resent_tokens < 800


def test_a_mark_for_the_cache_does_not_make_a_message_new(tmp_path: Path) -> None:
    """Nearly all of the last call was sent before."""
    with recording(tmp_path) as (make, conn):
        for number, messages in enumerate(cached()):
            add_call(make, make.run(at=number), messages, tokens_in=1_000)
        spent = money(conn, "s1")
    assert spent.turns[-1].resent_tokens > 800
