"""Which request meets which fault: a seeded list of rules."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

__all__ = ["BEFORE_BODY", "KINDS", "Asked", "Rule", "Script", "as_json", "from_json"]

# What each does on the wire: tests/faults/behaviour.py.
KINDS = frozenset(
    (
        "close",
        "closing",
        "continue",
        "drip",
        "duplicate",
        "early",
        "hang",
        "html",
        "late",
        "poison",
        "redirect",
        "refuse",
        "reset-before-answer",
        "reset-in-answer",
        "reset-in-body",
        "short",
        "status",
        "truncated",
    )
)
# These happen while the body is still on its way.
BEFORE_BODY = frozenset(("continue", "early", "reset-in-body"))


@dataclass(frozen=True)
class Rule:
    """One kind of fault, and the requests that meet it: those that fulfil every condition.

    `nth`: of the requests that fit `method` and `path`, from 1. `attempt`: of the arrivals of one
    key, from 1. `times`: how often the rule applies at most. `over_items` counts the records of a
    single request, the lines of a bulk one. `store`: whether the request is carried out first;
    None: as is usual for the kind. `raw`: the body as text, instead of `body` as JSON.
    `retry_after` may be "date+N": the HTTP date in N seconds.
    """

    kind: str
    path: str = ""
    method: str = ""
    probability: float = 1.0
    nth: tuple[int, ...] = ()
    attempt: tuple[int, ...] = ()
    times: int | None = None
    contains: str = ""
    over_bytes: int | None = None
    over_items: int | None = None
    status: int = 503
    retry_after: str = ""
    body: Any = None
    raw: str = ""
    store: bool | None = None
    seconds: float | None = None
    at: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind!r}")
        if self.kind in BEFORE_BODY and self.looks_inside:
            raise ValueError(f"{self.kind} happens before there is a body to look at")

    @cached_property
    def looks_inside(self) -> bool:
        """Whether the body must be known to tell if the rule applies."""
        return bool(self.contains or self.over_bytes is not None or self.over_items is not None)

    def stores(self, usual: bool) -> bool:
        """Return whether the request is carried out before the fault."""
        return usual if self.store is None else self.store


class Asked(NamedTuple):
    """A request, as far as rules look at it; `name` is its key, or its path when it has none."""

    method: str
    path: str
    name: str
    attempt: int


class Script:
    """The rules in use. Chance depends on seed, rule, key and attempt alone.

    So a seed gives each request the same faults in whatever order requests arrive.
    """

    def __init__(self, rules: Sequence[Rule], seed: int) -> None:
        self._rules = [(index, rule, re.compile(rule.path)) for index, rule in enumerate(rules)]
        self._seed = seed
        self._seen: Counter[int] = Counter()
        self._used: Counter[int] = Counter()

    def fitting(self, asked: Asked) -> list[tuple[int, Rule]]:
        """Count the request and return the rules whose conditions on the head it fulfils."""
        found = []
        for index, rule, path in self._rules:
            if rule.method not in ("", asked.method) or not path.search(asked.path):
                continue
            self._seen[index] += 1
            if rule.nth and self._seen[index] not in rule.nth:
                continue
            if not rule.attempt or asked.attempt in rule.attempt:
                found.append((index, rule))
        return found

    def choose(
        self, fitting: Iterable[tuple[int, Rule]], asked: Asked, body: bytes | None, items: int = 0
    ) -> Rule | None:
        """Return the first rule that applies.

        Without a body only rules that need none are asked, with one only those that look inside.
        """
        for index, rule in fitting:
            if rule.looks_inside is not (body is not None):
                continue
            if body is not None and not _fits_inside(rule, body, items):
                continue
            if rule.times is not None and self._used[index] >= rule.times:
                continue
            if self._chance(index, asked) < rule.probability:
                self._used[index] += 1
                return rule
        return None

    def _chance(self, index: int, asked: Asked) -> float:
        text = f"{self._seed} {index} {asked.name} {asked.attempt}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / 2.0**56


def _fits_inside(rule: Rule, body: bytes, items: int) -> bool:
    if rule.contains and rule.contains.encode() not in body:
        return False
    if rule.over_bytes is not None and len(body) <= rule.over_bytes:
        return False
    return rule.over_items is None or items > rule.over_items


def as_json(rules: Iterable[Rule]) -> str:
    """Return rules as a JSON list of what differs from the defaults."""
    return json.dumps([{"kind": rule.kind, **_changed(rule)} for rule in rules])


def from_json(text: str) -> tuple[Rule, ...]:
    """Return the rules of a JSON list; raises ValueError or TypeError for what is none."""
    return tuple(_rule(given) for given in json.loads(text))


def _changed(rule: Rule) -> dict[str, Any]:
    values = {known.name: getattr(rule, known.name) for known in fields(rule)}
    return {
        known.name: values[known.name]
        for known in fields(rule)
        if known.default is not MISSING and values[known.name] != known.default
    } | ({"headers": dict(rule.headers)} if rule.headers else {})


def _rule(given: Mapping[str, Any]) -> Rule:
    numbers = {name: _numbers(given[name]) for name in ("nth", "attempt") if name in given}
    return Rule(**{**given, **numbers})


def _numbers(given: int | Sequence[int]) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)
