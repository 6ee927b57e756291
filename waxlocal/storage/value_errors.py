"""What SQLite and its module say of a value that is to be stored, and not of the file."""

from __future__ import annotations

import sqlite3

from waxlocal.storage.schema import is_fence

__all__ = ["is_of_value"]

# Too large for the file; against a rule of the schema; a whole number of more than 64 bits; text
# with half a character in it.
_OF_VALUES = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError)
# A list, for example: InterfaceError until Python 3.10, ProgrammingError from 3.11 on. Both classes
# have other members, which are faults of ours.
_OF_BINDING = (sqlite3.InterfaceError, sqlite3.ProgrammingError)


def is_of_value(error: BaseException) -> bool:
    """Return whether a value was refused, so that the same one will be refused again."""
    if isinstance(error, _OF_BINDING):
        return "binding parameter" in str(error)
    # A trigger of a later version refuses any value.
    return isinstance(error, _OF_VALUES) and not is_fence(error)
