"""Scores: those of the program, and those that the original SDK makes of other records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waxlocal.records import SCORES
from waxlocal.wire.exact import DERIVED, Item, told, written
from waxlocal.wire.recorded_run import RecordedRun
from waxlocal.wire.values import Json, as_text, number_of, text_of

__all__ = ["FIELDS", "Scores", "columns_of_score", "exact_score", "score_body"]

Row = Mapping[str, Any]
_DEFAULTS = SCORES.defaults

# The fields of a score, each with what it holds.
FIELDS = {
    "name": "text",
    "data_type": "text: numeric, boolean or categorical",
    "numeric_value": "number",
    "string_value": "text",
    "comment": "text",
}
_COUNTED = (("citations", "citation_count"), ("unsupported_claims", "unsupported_claims"))


# -- to the wire -----------------------------------------------------------------------------------


def score_body(row: Row) -> Json:
    """Return a row of `scores` as a score."""
    body: Json = {
        "name": text_of(row["name"]),
        "data_type": text_of(row["data_type"]),
        "comment": text_of(row["comment"]),
    }
    number = number_of(row["numeric_value"])
    if number is not None:
        body["numeric_value"] = float(number)
    if row["string_value"] is not None:
        body["string_value"] = text_of(row["string_value"])
    return body


class Scores:
    """The scores of a run, with those that the original makes of other records."""

    def __init__(self, run: RecordedRun) -> None:
        self._items: list[Item] = []
        # What comes after the next score: the recorder has written that one only.
        self._held: list[Item] = []
        self._relevance = 0.0
        self._results = 0
        # In a run of the original SDK these are there already: it has made them itself.
        self._known = {text_of(row["name"]) for row in run.scores} if run.events else set()

    def result(self) -> list[Item]:
        """Return all, in order."""
        return self._items + self._held

    def add(self, row: Row) -> None:
        """Take a row of `scores`."""
        body = score_body(row)
        said = told(SCORES, row, columns_of_score(body))
        self._items.append(Item(row["position"], body, said))
        self._items += self._held
        self._held = []

    def _made(self, position: int, name: str, number: float, comment: str = "") -> list[Item]:
        if name in self._known:
            return []
        body = {
            "name": name,
            "data_type": "numeric",
            "comment": comment,
            "numeric_value": float(number),
        }
        return [Item(position, body, DERIVED)]

    def add_of_grounding(self, position: int, data: Json) -> None:
        """Add the score of how well an answer is backed by its sources."""
        confidence = number_of(data.get("output_confidence"))
        if confidence is not None:
            self._held += self._made(position, "output_confidence", confidence)
        for counted, name in _COUNTED:
            found = data.get(counted)
            if isinstance(found, list) and found:
                self._held += self._made(position, name, len(found))
        if not data.get("grounding_scores"):
            self._items += self._held
            self._held = []

    def add_of_retrieval(self, position: int, data: Json) -> None:
        """Add the score of a retrieval: the mean over all documents so far."""
        self._relevance += number_of(data.get("relevance_score")) or 0.0
        self._results += 1
        comment = f"Avg across {self._results} documents"
        mean = self._relevance / self._results
        self._items += self._made(position, "retrieval_relevance", mean, comment)


# -- from the wire ---------------------------------------------------------------------------------


def columns_of_score(score: Json) -> Json:
    """Return the columns that a score gives."""
    number = score.get("numeric_value", score.get("value"))
    word = score.get("string_value")
    if isinstance(number, str):
        try:
            number = float(number)
        except ValueError:
            word = number if word is None else word
    if not isinstance(number, int | float):
        number = None
    elif number != number:  # NaN, which SQLite does not have; isnan() raises for 10**400
        number, word = None, word or "nan"
    return {
        **_DEFAULTS,
        "name": as_text(score.get("name")),
        "data_type": as_text(score.get("data_type")) or "numeric",
        "numeric_value": None if number is None else _float(number),
        "string_value": None if word is None else as_text(word),
        "comment": as_text(score.get("comment")),
    }


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def exact_score(score: Json, said: Json) -> Json:
    """Return the row that a score carries. Raises `Refused`."""
    return written(SCORES, said, columns_of_score(score))
