"""The line of a search: words, phrases, filters."""

from __future__ import annotations

from contextlib import suppress
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.builders import FixedClock, moment
from waxlocal.errors import InvalidQuery
from waxlocal.search.facets import facet
from waxlocal.search.line import Figure, Line, Term, loosened, parse_line


def test_words_phrases_and_filters_stand_in_any_order() -> None:
    """All of them count."""
    line = parse_line('Refund "within 14 days" user:42 -draft order* cost:>0.5 turns:<=10')
    assert line == Line(
        terms=(
            Term(("refund",)),
            Term(("within", "14", "days"), is_quoted=True),
            Term(("order",), is_prefix=True),
        ),
        facets=(facet("user", "42"),),
        no_terms=(Term(("draft",)),),
        figures=(Figure("cost", ">", 0.5), Figure("turns", "<=", 10.0)),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('agent:"help desk"', Line(facets=(facet("agent", "help desk"),))),
        ("AGENT:Desk", Line(facets=(facet("agent", "desk"),))),
        ("-model:gpt-4o", Line(no_facets=(facet("model", "gpt-4o"),))),
        ("tag:plan=pro", Line(facets=(facet("tag", "plan=pro"),))),
        ('tag:plan="very pro"', Line(facets=(facet("tag", "plan=very pro"),))),
        ("cost:>1e-3", Line(figures=(Figure("cost", ">", 0.001),))),
        ("https://example.com/a", Line(terms=(Term(("https", "example", "com", "a")),))),
        ("order_id", Line(terms=(Term(("order", "id")),))),
        ("-cost:>2", Line(figures=(Figure("cost", "<=", 2.0),))),
        ("cost:$.5", Line(figures=(Figure("cost", "=", 0.5),))),
        ('"an open quote', Line(terms=(Term(("an", "open", "quote"), is_quoted=True),))),
        ("  … ", Line()),
        ('""', Line()),
    ],
)
def test_a_line_means(text: str, line: Line) -> None:
    """A name that is none belongs to the word."""
    assert parse_line(text) == line


def test_dates_are_days_of_the_reader() -> None:
    """And `7d` counts from now."""
    line = parse_line("after:2026-01-31 before:1h", zone=ZoneInfo("Asia/Tokyo"), clock=FixedClock())
    assert (line.after, line.before) == ("2026-01-30T15:00:00.000000Z", moment(-3_600))


def test_of_two_periods_the_common_part_counts() -> None:
    """`-after:` is before."""
    line = parse_line("after:2026-01-01 after:2026-01-05 -after:2026-01-20 before:2026-02-01")
    assert line.after == "2026-01-05T00:00:00.000000Z"
    assert line.before == "2026-01-20T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cost:cheap", "cost:cheap is no comparison"),
        ("turns:", "turns: without a value"),
        ("status:foo", "unknown status 'foo'"),
        ('user:""', "user: without a value"),
        ("before:someday", "someday"),
        ("a " * 101, "more than 100 words"),
    ],
)
def test_what_makes_no_sense_is_said(text: str, said: str) -> None:
    """With what would."""
    with pytest.raises(InvalidQuery, match=said) as caught:
        parse_line(text)
    assert caught.value.hint


@given(st.text(max_size=80))
def test_any_text_is_a_line_or_a_clear_error(text: str) -> None:
    """Whoever pastes something gets no traceback."""
    with suppress(InvalidQuery):
        parse_line(text)


def test_a_loose_line_has_words_that_go_on() -> None:
    """Its phrases stay."""
    line = loosened(parse_line('loan "two words" "one"'))
    assert line.terms == (
        Term(("loan",), is_prefix=True),
        Term(("two", "words"), is_quoted=True),
        Term(("one",), is_quoted=True),
    )
