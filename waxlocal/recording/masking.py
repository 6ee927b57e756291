"""The program's mask: each text goes through it before it is written anywhere.

Only a program that sets one (`init(mask=...)`) loads this module, or one whose calls are captured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from waxlocal.encode import dumps, read_back
from waxlocal.encode import text as storable
from waxlocal.known_types import name_of_type
from waxlocal.recording.notices import warn
from waxlocal.recording.statements import INTERRUPT_RUN, UPDATES
from waxlocal.recording.store import Store
from waxlocal.recording.transactions import Bound, Parameters, Unit
from waxlocal.records import TABLES, Kind
from waxlocal.signal_handlers import raised_by_handler
from waxlocal.storage.contents import KEYED
from waxlocal.storage.record_sql import Statement

__all__ = ["FAILED", "Mask", "MaskedStore", "is_in_mask"]

# What is recorded instead of a text that the mask could not take.
FAILED = "[the mask failed]"
# Columns that hold what somebody or something said, or whatever a program put there, and whether it
# is JSON. Names, ids and times are not masked: runs are found by them. The name of a column means
# the same in every table.
_MASKED = {
    column.name: column.kind is Kind.JSON
    for table in TABLES
    for column in table.columns
    if (column.content or column.kind is Kind.JSON) and not column.local
} | {"string_value": False}


_inside: ContextVar[bool] = ContextVar("waxlocal_in_mask", default=False)


def is_in_mask() -> bool:
    """Return whether the mask of the program runs around this; not in a thread that it begins."""
    return _inside.get()


class Mask:
    """What a program makes of each text: `function(text)` returns the text to be recorded.

    In JSON it gets each text in turn, never a key. What it raises stops nothing, and neither does
    an answer that is not a text: then `FAILED` is recorded, and the first time a warning is logged.
    It runs in the thread that records, before the record waits for anything. What it records itself
    goes through it, too; the calls of models that it makes are not captured.
    """

    def __init__(self, function: Callable[[str], str]) -> None:
        self._function = function
        self._has_failed = False

    def text(self, value: str) -> str:
        """Return a text as it may be recorded."""
        token = _inside.set(True)
        try:
            masked = self._function(value)
            if type(masked) is str:
                return masked if masked.isascii() else storable(masked)
            reason = f"it returned {name_of_type(type(masked))}, not str"
        except (Exception, SystemExit) as error:
            if raised_by_handler(error):  # a time limit of the program, or its end
                raise
            # What it says may hold the text itself.
            reason = f"it raised {name_of_type(type(error))}"
        finally:
            _inside.reset(token)
        if not self._has_failed:
            self._has_failed = True
            warn(f"waxlocal: the mask failed ({reason}): {FAILED!r} is recorded instead.")
        return FAILED

    def json(self, value: str) -> str:
        """Return JSON with each text in it as it may be recorded."""
        return dumps(self._parts(read_back(value)))

    def _parts(self, value: Any) -> Any:
        if type(value) is str:
            return self.text(value)
        if type(value) is list:
            return [self._parts(item) for item in value]
        if type(value) is dict:
            return {key: self._parts(item) for key, item in value.items()}
        return value

    def lists(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row with what is stored by keys masked: a key is made of the masked text."""
        found = ((name, row.get(name)) for name in KEYED)
        return {**row, **{name: self.json(text) for name, text in found if text is not None}}

    def values(self, statement: Statement, parameters: Parameters) -> Parameters:
        """Return the values of a statement with all texts masked."""
        places = _places(statement)
        if not places or isinstance(parameters, Mapping):
            return parameters
        values = list(parameters)
        for place, is_json in places:
            value = values[place]
            if type(value) is str and value:
                values[place] = self.json(value) if is_json else self.text(value)
        return tuple(values)


def _places(statement: Statement) -> tuple[tuple[int, bool], ...]:
    """Return where the values of a statement are that are masked, and whether each is JSON."""
    places = _known.get(statement.sql)
    if places is None:
        names = statement.columns
        if not names and statement is not INTERRUPT_RUN:  # all that this says are our own words
            update = UPDATES.get(statement.sql)
            names = update.columns if update else ()
        found = ((place, _MASKED.get(name)) for place, name in enumerate(names))
        places = tuple((place, is_json) for place, is_json in found if is_json is not None)
        _known[statement.sql] = places
    return places


_known: dict[str, tuple[tuple[int, bool], ...]] = {}


class MaskedStore(Store):
    """A store that gets nothing but what the mask has seen; all else is as in `Store`."""

    def __init__(
        self, mask: Mask, path: Path, *, starts: Callable[[], Iterable[Unit]], **options: Any
    ) -> None:
        self._mask = mask
        super().__init__(path, starts=lambda: map(self._masked, starts()), **options)

    def write(self, statement: Statement, parameters: Parameters) -> None:
        """Execute one statement and commit it."""
        super().write(statement, self._mask.values(statement, parameters))

    def write_together(self, *unit: Bound) -> None:
        """Execute several statements in one transaction."""
        super().write_together(*self._masked(unit))

    def _masked(self, unit: Unit) -> Unit:
        return tuple(
            (statement, self._mask.values(statement, parameters)) for statement, parameters in unit
        )
