"""The pieces that conversations are made of, and how the words of one talk fill them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

__all__ = [
    "Act",
    "Agent",
    "Exchange",
    "Lookup",
    "SubAgent",
    "Tool",
    "Topic",
    "filled",
    "filled_exchange",
    "slots",
]

# Names and things that differ between conversations on the same topic.
_SLOTS: Mapping[str, tuple[str, ...]] = {
    "order": tuple(str(number) for number in range(40_117, 99_000, 1_213)),
    "item": (
        *("walking boots", "espresso machine", "reading lamp", "rain jacket", "desk chair"),
        *("cast-iron pan", "tent for two", "bicycle helmet", "wool blanket", "kettle"),
    ),
    "amount": ("18.90", "24.50", "49.00", "64.95", "79.90", "119.00", "249.00"),
    "city": ("Lisbon", "Oslo", "Kyoto", "Trieste", "Porto", "Ghent", "Ljubljana", "Valencia"),
    "home": ("Berlin", "Dublin", "Chicago", "Vienna", "Toronto", "Zurich"),
    "month": ("March", "April", "May", "June", "September", "October"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
    "count": ("two", "three", "four", "five"),
    "name": ("Ada", "Mehmet", "Chiara", "Jonas", "Priya", "Lucía", "Tomasz", "Aiko", "Noor"),
    "service": ("checkout", "search", "billing", "image-proxy", "mailer", "login"),
    "table": ("orders", "subscriptions", "page views", "support tickets", "invoices"),
    "region": ("the north", "the south", "Europe", "Canada", "the Nordics"),
    "module": ("parser", "cache", "scheduler", "upload queue", "date picker", "CSV export"),
    "author": ("Ursula Le Guin", "Italo Calvino", "Toni Morrison", "Stanisław Lem"),
    "percent": ("4", "7", "11", "18", "23"),
    "minutes": ("6", "14", "22", "35"),
}
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Tool:
    """A call of a tool, with what it was given and what it returned."""

    name: str
    given: Mapping[str, Any]
    found: Any
    seconds: float = 0.6


@dataclass(frozen=True)
class Lookup:
    """A retrieval: the query, and the titles of what it found."""

    query: str
    titles: tuple[str, ...]
    source: str = "knowledge base"


@dataclass(frozen=True)
class SubAgent:
    """Another agent that is asked on the way; it may ask further ones."""

    agent: str
    given: Mapping[str, Any]
    answer: str
    acts: tuple[Act, ...] = ()


Act = Tool | Lookup | SubAgent


@dataclass(frozen=True)
class Exchange:
    """What a person says, what the agent answers, and what it does in between."""

    asks: str
    says: str
    acts: tuple[Act, ...] = ()
    # An image that comes with the question.
    image: bool = False


@dataclass(frozen=True)
class Topic:
    """Exchanges that follow each other; a conversation may end after any of them."""

    exchanges: tuple[Exchange, ...]
    language: str = "en"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Agent:
    """An agent, what is talked about with it, and how its program records.

    `shape` is a name in `shapes.SHAPES`. `weight`: how often it is talked to.
    """

    name: str
    shape: str
    models: tuple[str, ...]
    system: str
    topics: tuple[Topic, ...]
    provider: str = ""
    weight: int = 1


def slots(random: Random) -> dict[str, str]:
    """Return one choice for each slot, for all of one conversation."""
    return {name: random.choice(choices) for name, choices in _SLOTS.items()}


def filled(value: Any, chosen: Mapping[str, str]) -> Any:
    """Return text, or a structure with text in it, with the slots filled: `{city}` is `Oslo`.

    Other braces stay: code has some.
    """
    if isinstance(value, str):
        return _SLOT.sub(lambda found: chosen.get(found[1], found[0]), value)
    if isinstance(value, Mapping):
        return {name: filled(inner, chosen) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, chosen) for inner in value]
    return value


def filled_exchange(exchange: Exchange, chosen: Mapping[str, str]) -> Exchange:
    """Return an exchange with its slots filled, also in what is done on the way."""
    acts = tuple(_filled_act(act, chosen) for act in exchange.acts)
    asks, says = filled(exchange.asks, chosen), filled(exchange.says, chosen)
    return replace(exchange, asks=asks, says=says, acts=acts)


def _filled_act(act: Act, chosen: Mapping[str, str]) -> Act:
    if isinstance(act, Tool):
        return replace(act, given=filled(act.given, chosen), found=filled(act.found, chosen))
    if isinstance(act, Lookup):
        titles = tuple(filled(act.titles, chosen))
        return replace(act, query=filled(act.query, chosen), titles=titles)
    return replace(
        act,
        given=filled(act.given, chosen),
        answer=filled(act.answer, chosen),
        acts=tuple(_filled_act(inner, chosen) for inner in act.acts),
    )
