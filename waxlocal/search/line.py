"""The line that is searched for: words, phrases in quotes, and filters such as `user:42`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timezone, tzinfo

from waxlocal.clock import SYSTEM_CLOCK, Clock
from waxlocal.errors import InvalidQuery
from waxlocal.queries.criteria import check_status
from waxlocal.queries.times import parse_time
from waxlocal.search.facets import FACETS, facet
from waxlocal.search.words import words_of

__all__ = ["Figure", "Line", "Term", "loosened", "parse_line"]

# Of the session: what is compared with a number.
_FIGURES = ("cost", "turns")
_TIMES = ("before", "after")
# `-` in front, a name, and a value in quotes or without: or a phrase, or a word.
_TERM = re.compile(
    r"(?P<no>-)?(?:(?P<name>[A-Za-z]+):)?"
    r'(?:(?P<key>[^\s":=]+=)?"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+)|(?<=:))'
)
_COMPARED = re.compile(r"(?P<how>>=|<=|>|<|=|)\$?(?P<number>\d+\.?\d*(?:e[-+]?\d+)?|\.\d+)")
# More would be a text that somebody has pasted.
MOST_TERMS = 100


@dataclass(frozen=True)
class Term:
    """A word, or the words of a phrase in order, folded. `is_prefix`: words may go on after it.

    `is_quoted`: it is meant as it stands.
    """

    words: tuple[str, ...]
    is_prefix: bool = False
    is_quoted: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure of a session, compared with a number: `cost > 0.5`."""

    name: str
    how: str
    number: float


@dataclass(frozen=True)
class Line:
    """What a run must have: every term and facet, none of those in `no_…`, and the figures.

    `after` and `before` are times in the format of the file: a run began at or after the one, and
    before the other.
    """

    terms: tuple[Term, ...] = ()
    facets: tuple[str, ...] = ()
    no_terms: tuple[Term, ...] = ()
    no_facets: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    after: str | None = None
    before: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing."""
        return self == Line()


def loosened(line: Line) -> Line:
    """Return a line whose words may go on: `refund` is `refund*`. What is in quotes stays."""

    def may_go_on(one: Term) -> bool:
        return one.is_prefix or (len(one.words) == 1 and not one.is_quoted)

    return replace(line, terms=tuple(replace(one, is_prefix=may_go_on(one)) for one in line.terms))


def parse_line(text: str, *, zone: tzinfo = timezone.utc, clock: Clock = SYSTEM_CLOCK) -> Line:
    """Return what a line asks for.

    `refund "14 days" user:42 cost:>0.5`: words and phrases in any order, all of which a run must
    have; `refund*` is any word that begins so, `-refund` must not occur. The names are `user`,
    `agent`, `model`, `tool`, `status`, `tag`, `session`, `error`, `cost`, `turns`, `before` and
    `after`; a value with spaces stands in quotes. Any other name is a word. A date is a day in
    `zone`. Raises `InvalidQuery`.
    """
    reading = _Reading(zone, clock)
    for count, found in enumerate(_TERM.finditer(text)):
        if count >= MOST_TERMS:
            raise InvalidQuery(f"more than {MOST_TERMS} words", hint="leave some out")
        reading.take(found)
    return reading.line()


class _Reading:
    """The terms of a line so far."""

    def __init__(self, zone: tzinfo, clock: Clock) -> None:
        self._zone = zone
        self._clock = clock
        self._terms: dict[bool, list[Term]] = {False: [], True: []}
        self._facets: dict[bool, list[str]] = {False: [], True: []}
        self._figures: list[Figure] = []
        self._times: dict[str, str] = {}

    def take(self, found: re.Match[str]) -> None:
        name, no = (found["name"] or "").lower(), bool(found["no"])
        quoted = found["quoted"]
        value = (found["key"] or "") + (quoted or "") + (found["plain"] or "")
        if name in FACETS:
            if name == "status":
                check_status(_given(name, value).lower())
            self._facets[no].append(facet(name, _given(name, value)))
        elif name in _FIGURES:
            self._figures.append(_figure(name, _given(name, value), no))
        elif name in _TIMES:
            self._take_time(name, _given(name, value), no)
        else:
            said = f"{name}:{value}" if name else value
            self._terms[no] += _terms(said, is_quoted=quoted is not None)

    def _take_time(self, name: str, value: str, no: bool) -> None:
        name = _TIMES[1 - _TIMES.index(name)] if no else name
        time = parse_time(value, zone=self._zone, clock=self._clock)
        pick: Callable[[str, str], str] = max if name == "after" else min
        self._times[name] = pick(time, self._times.get(name, time))

    def line(self) -> Line:
        return Line(
            terms=tuple(self._terms[False]),
            facets=tuple(self._facets[False]),
            no_terms=tuple(self._terms[True]),
            no_facets=tuple(self._facets[True]),
            figures=tuple(self._figures),
            after=self._times.get("after"),
            before=self._times.get("before"),
        )


def _given(name: str, value: str) -> str:
    if not value:
        raise InvalidQuery(f"{name}: without a value", hint=f"write it behind the colon: {name}:…")
    return value


def _figure(name: str, value: str, no: bool) -> Figure:
    found = _COMPARED.fullmatch(value)
    if found is None:
        raise InvalidQuery(
            f"{name}:{value} is no comparison", hint=f"write {name}:>2, {name}:<=3 or {name}:2"
        )
    how = found["how"] or "="
    if no:
        how = _OPPOSITES[how]
    return Figure(name, how, float(found["number"]))


_OPPOSITES = {">": "<=", "<=": ">", "<": ">=", ">=": "<", "=": "<>"}


def _terms(text: str, *, is_quoted: bool) -> Iterator[Term]:
    words = tuple(words_of(text))
    if words:
        yield Term(words, is_prefix=text.endswith("*") and not is_quoted, is_quoted=is_quoted)
