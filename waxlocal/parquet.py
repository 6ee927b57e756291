"""Rows as Parquet, for pandas, DuckDB and the like; it needs pyarrow, an extra.

The columns are those of CSV, each of a kind: times are microseconds in UTC, unknown values are
nulls. See https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Any

from waxlocal.clock import stored_ns
from waxlocal.errors import ConfigurationError
from waxlocal.exports import REAL_NUMBERS, TEXT_LISTS, WHOLE_NUMBERS
from waxlocal.records import LARGEST_INTEGER

__all__ = ["ParquetRows", "can_write"]


def can_write() -> bool:
    """Return whether pyarrow is installed; it is not loaded for that."""
    return importlib.util.find_spec("pyarrow") is not None


class _Pieces(io.RawIOBase):
    """A file that is taken away as it is written."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        # A copy: the buffer belongs to pyarrow, which uses it again.
        self._written.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        found = b"".join(self._written)
        self._written.clear()
        return found


class ParquetRows:
    """Writes rows piece by piece: one that is given, and not more, is in memory.

    All that `begin`, `piece` and `end` return is the file; by one thread at a time. Raises
    `ConfigurationError` without pyarrow.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ConfigurationError(
                "Parquet needs the package pyarrow, which is not installed",
                hint="pip install 'waxlocal[parquet]', or take CSV or JSON lines",
            ) from error
        self._arrow = pyarrow
        types = {
            _Kind.TIME: pyarrow.timestamp("us", tz="UTC"),
            _Kind.TEXTS: pyarrow.list_(pyarrow.string()),
            _Kind.WHOLE: pyarrow.int64(),
            _Kind.REAL: pyarrow.float64(),
            _Kind.TEXT: pyarrow.string(),
        }
        kinds = {name: _kind_of(name) for name in columns}
        self._readers = {name: _READERS[kind] for name, kind in kinds.items()}
        self._schema = pyarrow.schema([(name, types[kind]) for name, kind in kinds.items()])
        self._out = _Pieces()
        self._writer = pyarrow.parquet.ParquetWriter(self._out, self._schema, compression="zstd")

    def begin(self) -> bytes:
        """Return the beginning of the file."""
        return self._out.taken()

    def piece(self, rows: Iterable[Mapping[str, Any]]) -> bytes:
        """Return these rows; without any, nothing."""
        readers = self._readers.items()
        plain = [{name: read(row[name]) for name, read in readers} for row in rows]
        if plain:
            self._writer.write_table(self._arrow.Table.from_pylist(plain, schema=self._schema))
        return self._out.taken()

    def end(self) -> bytes:
        """Return the end of the file, without which nobody can read it."""
        self._writer.close()
        return self._out.taken()


class _Kind(Enum):
    """What a column holds."""

    TIME = auto()
    TEXTS = auto()
    WHOLE = auto()
    REAL = auto()
    TEXT = auto()


def _kind_of(name: str) -> _Kind:
    if name.endswith("_at"):
        return _Kind.TIME
    if name in TEXT_LISTS:
        return _Kind.TEXTS
    if name in WHOLE_NUMBERS:
        return _Kind.WHOLE
    return _Kind.REAL if name in REAL_NUMBERS else _Kind.TEXT


# Of a value that another program has written, and that its column cannot hold, there is nothing.


def _microseconds(value: Any) -> int | None:
    moment = stored_ns(value)
    return None if moment is None else moment // 1_000


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_one = isinstance(value, int) and -LARGEST_INTEGER - 1 <= value <= LARGEST_INTEGER
    return value if is_one else None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _texts(value: Any) -> list[str | None]:
    return [_text(one) for one in value] if isinstance(value, list | tuple) else []


def _text(value: Any) -> str | None:
    if value is None:
        return None
    said = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    # Recorded JSON may contain an escaped lone surrogate.
    return said.encode("utf-8", "replace").decode()


_READERS: dict[_Kind, Callable[[Any], Any]] = {
    _Kind.TIME: _microseconds,
    _Kind.TEXTS: _texts,
    _Kind.WHOLE: _whole,
    _Kind.REAL: _real,
    _Kind.TEXT: _text,
}
