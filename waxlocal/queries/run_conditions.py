"""The conditions on a run that sessions are chosen by, too, as SQL with bound values."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from waxlocal.decode import loads
from waxlocal.encode import text
from waxlocal.queries.criteria import Criteria, ScoreWanted, beginning

__all__ = ["JSON_OBJECT", "PAIR_VALUE", "as_recorded", "range_conditions", "run_conditions"]

# First a cheap test whether the key, and text as a value, occur in the text at all. The encoder
# stores non-ASCII text unescaped, so both must be quoted the same way here. Another program may
# write escapes, which begin with a backslash: that text is read.
_PAIR = """(instr(r.{column}, char(92)) OR instr(r.{column}, :{column}_quoted){occurs})
  AND EXISTS (SELECT 1 FROM json_each({json}) AS pair WHERE pair.key = :{column}_key{value})"""
# Another program may have written no JSON.
JSON_OBJECT = "iif(json_valid({column}), {column}, '{{}}')"
# Of a row `pair` of json_each.
PAIR_VALUE = """CASE
  WHEN pair.type IN ('true', 'false', 'null') THEN pair.type ELSE CAST(pair.value AS TEXT) END"""
_VALUE = f" AND :{{column}}_value = {PAIR_VALUE}"
# A value that JSON can only hold as this text, and hardly any program writes with escapes.
_PLAIN_TEXT = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][\w .:@-]*", re.ASCII)
_OCCURS = " AND instr(r.{column}, :{column}_text)"
_AT_PATH = """(instr(r.metadata, char(92)) OR instr(r.metadata, :metadata_last))
  AND {is_there}"""
_ANYTHING = "json_type({json}, :metadata_path) IS NOT NULL"
# json_each gives a scalar as its one row, and a list as its items; an object has no value to match.
_ITEM = f"""json_type({{json}}, :metadata_path) <> 'object' AND EXISTS (
  SELECT 1 FROM json_each({{json}}, :metadata_path) AS pair
  WHERE :metadata_value = {PAIR_VALUE})"""  # noqa: S608

_SEARCH = "(waxlocal_says(r.inputs, :search) OR waxlocal_says(r.result, :search))"
_MODEL = "EXISTS (SELECT 1 FROM llm_calls c WHERE c.run_id = r.run_id AND {named})"
_TOOL = """EXISTS (SELECT 1 FROM spans x
  WHERE x.run_id = r.run_id AND x.kind = 'tool' AND {named})"""
# There are few scores: all are looked through once, not those of every run.
_SCORE = "r.run_id IN (SELECT x.run_id FROM scores x WHERE x.name = :score_name{compared})"
_SCORE_IS = """ AND (x.string_value = :score_value OR x.numeric_value = :score_number
  OR (x.data_type = 'boolean' AND x.numeric_value = :score_answer))"""
_COMPARED = {how: f" AND x.numeric_value {how} :score_number" for how in ("<", "<=", ">", ">=")}


def as_recorded(values: Mapping[str, object]) -> dict[str, object]:
    """Return values to bind, texts as they are stored: those of a command line may be no UTF-8."""
    return {name: text(one) if isinstance(one, str) else one for name, one in values.items()}


def run_conditions(
    conn: sqlite3.Connection, wanted: Criteria, values: dict[str, object]
) -> dict[str, str]:
    """Return the conditions on a run `r`, by the names of the criteria; adds their values.

    They are those that need more than a column of the run, and the type of its error.
    """
    conditions: dict[str, str] = {}
    if wanted.error_type:
        values["error_type"] = wanted.error_type
        conditions["error_type"] = "r.error_type = :error_type"
    if wanted.tag:
        conditions["tag"] = _pair_condition("tags", wanted.tag, values)
    if wanted.metadata:
        conditions["metadata"] = _metadata_condition(wanted.metadata, values)
    if wanted.model:
        conditions["model"] = _MODEL.format(named=_named("c.model", "model", wanted.model, values))
    if wanted.tool:
        conditions["tool"] = _TOOL.format(named=_named("x.name", "tool", wanted.tool, values))
    if wanted.score:
        conditions["score"] = _score_condition(ScoreWanted.of(wanted.score), values)
    if wanted.search:
        # SQLite itself folds the case of ASCII letters only.
        conn.create_function("waxlocal_says", 2, _says, deterministic=True)
        values["search"] = wanted.search.casefold()
        conditions["search"] = _SEARCH
    return conditions


def range_conditions(
    wanted: Criteria, amounts: Mapping[str, str], values: dict[str, object]
) -> Iterator[str]:
    """Give the conditions for the ranges that are set; adds their values.

    `amounts` are the expressions to compare, by the names of the ranges. NULL is in no range.
    """
    for name, least, most in wanted.ranges():
        for end, how, number in (("min", ">=", least), ("max", "<=", most)):
            if number is not None:
                values[f"{end}_{name}"] = number
                yield f"{amounts[name]} {how} :{end}_{name}"


def _named(column: str, name: str, value: str, values: dict[str, object]) -> str:
    """Return the condition that a column is this name, or begins so if it ends with `*`."""
    begins = beginning(value)
    if begins is None:
        values[name] = value
        return f"{column} = :{name}"
    values[name] = begins
    return f"substr({column}, 1, length(:{name})) = :{name}"


def _score_condition(score: ScoreWanted, values: dict[str, object]) -> str:
    values["score_name"] = score.name
    if not score.how:
        return _SCORE.format(compared="")
    values["score_number"] = score.number
    if score.how != "=":
        return _SCORE.format(compared=_COMPARED[score.how])
    values["score_value"], values["score_answer"] = score.value, score.answer
    return _SCORE.format(compared=_SCORE_IS)


def _pair_condition(column: str, pair: str, values: dict[str, object]) -> str:
    key, equals, value = pair.partition("=")
    values[f"{column}_key"] = key
    values[f"{column}_quoted"] = json.dumps(key, ensure_ascii=False)
    stored = JSON_OBJECT.format(column=f"r.{column}")
    if not equals:
        return _PAIR.format(column=column, occurs="", value="", json=stored)
    values[f"{column}_value"] = value
    occurs = ""
    if _PLAIN_TEXT.fullmatch(value):
        values[f"{column}_text"] = json.dumps(value, ensure_ascii=False)
        occurs = _OCCURS.format(column=column)
    is_value = _VALUE.format(column=column)
    return _PAIR.format(column=column, occurs=occurs, value=is_value, json=stored)


def _metadata_condition(pair: str, values: dict[str, object]) -> str:
    """Return the condition for a key, which may be a path: `customer.plan=gold`."""
    by_key = _pair_condition("metadata", pair, values)
    key, equals, _ = pair.partition("=")
    parts = key.split(".")
    # A quote cannot be written in a path of SQLite, and NUL ends it:
    # https://sqlite.org/json1.html#path_arguments
    if '"' in key or "\0" in key or not all(parts):
        return by_key
    values["metadata_path"] = "$" + "".join(f'."{part}"' for part in parts)
    values["metadata_last"] = json.dumps(parts[-1], ensure_ascii=False)
    stored = JSON_OBJECT.format(column="r.metadata")
    is_there = (_ITEM if equals else _ANYTHING).format(json=stored)
    return f"(({by_key}) OR ({_AT_PATH.format(is_there=is_there)}))"


def _says(stored: str | None, wanted: str) -> bool:
    """Return whether a value in stored JSON contains the (already casefolded) text."""
    if stored is None:
        return False
    # Decoding is slow. Raw JSON differs from its values only by escapes, which contain a backslash.
    if "\\" not in stored and wanted not in stored.casefold():
        return False
    try:
        return any(wanted in text.casefold() for text in _texts(loads(stored)))
    except ValueError:
        return wanted in stored.casefold()


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, str):
            yield one
        elif one is not None:
            yield json.dumps(one)
