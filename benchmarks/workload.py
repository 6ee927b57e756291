"""The unit of work: one turn of a chatbot, with its inputs, its LLM call and its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from waxlocal import generate_session_id

__all__ = ["AGENT", "MODEL", "PRICE_IN", "PRICE_OUT", "Turn", "into_sessions", "sentences", "turns"]

AGENT = "chatbot"
MODEL = "gpt-4o"
# Dollars per million tokens; any known price will do, as the point is that it is known.
PRICE_IN = 2.5
PRICE_OUT = 10.0
TURNS_PER_SESSION = 10

_TEXT = (
    "the session was slow because our agent asked for each document twice and the model had to "
    "read all of them again before it could answer what the customer wanted to know about an "
    "order that had been sent to another address last week so we should look at how many tokens "
    "every step of the plan costs and whether a cheaper model would give the same result here"
)


class Turn(NamedTuple):
    """What the recorder is given for one run."""

    session_id: str
    user_id: str
    inputs: dict[str, Any]
    metadata: dict[str, Any]
    result: dict[str, Any]
    tokens_in: int
    tokens_out: int


def sentences(count: int, seed: int = 1) -> list[str]:
    """Return texts of 60 to 300 characters."""
    random, words = Random(seed), _TEXT.split()
    return [_sentence(random, words) for _ in range(count)]


def _sentence(random: Random, words: list[str]) -> str:
    length = random.randint(60, 300)
    said = " ".join(random.choices(words, k=length // 3))
    return said[: length - 1].rstrip().capitalize() + "?"


def turns(count: int, seed: int = 1) -> list[Turn]:
    """Return turns of new sessions, ten in each."""
    return list(into_sessions(_new_sessions(count), seed))


def _new_sessions(count: int) -> list[str]:
    ids = [generate_session_id() for _ in range(-(-count // TURNS_PER_SESSION))]
    return [ids[index // TURNS_PER_SESSION] for index in range(count)]


def into_sessions(session_ids: Sequence[str], seed: int = 1) -> Iterator[Turn]:
    """Yield one turn for each of these session ids, in their order."""
    random = Random(seed)
    texts = sentences(500, seed)
    for index, session_id in enumerate(session_ids):
        yield Turn(
            session_id=session_id,
            user_id=f"user_{index // TURNS_PER_SESSION % 1_000:04d}",
            inputs={"message": random.choice(texts)},
            metadata={"turn_number": index % TURNS_PER_SESSION + 1},
            result={"response": random.choice(texts)},
            tokens_in=random.randint(80, 4_000),
            tokens_out=random.randint(20, 600),
        )
