from __future__ import annotations

import pytest

from waxlocal.queries.texts import answer_text, decoded, message_text, title


def test_a_title_is_one_short_line() -> None:
    """White space folds, and a long message is cut to 80 characters with a mark."""
    assert title("a\n\n  b\tc") == "a b c"
    long = title("word " * 100)
    assert (len(long) <= 80, long[-1]) == (True, "…")
    assert title("x" * 80) == "x" * 80


@pytest.mark.parametrize("stored", ["{broken", '{"message":', "not json", "[" * 500])
def test_text_that_is_no_json_is_kept(stored: str) -> None:
    """Foreign text in a JSON column is shown as it is."""
    assert decoded(stored) == stored
    assert message_text(stored) == answer_text(stored) == stored


def test_what_is_missing_says_nothing() -> None:
    """A run without inputs, or without a result, has no words."""
    assert decoded(None) is None
    assert message_text(None) == answer_text(None) == ""
