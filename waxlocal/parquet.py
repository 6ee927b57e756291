"""Rows as Parquet, for pandas, DuckDB and the like; it needs pyarrow, an extra.

The columns are those of CSV, each of a kind: times are microseconds in UTC, unknown values are
nulls. See https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        self._schema = pyarrow.schema([(name, self._kind(name)) for name in columns])
        self._out = _Pieces()
        self._writer = pyarrow.parquet.ParquetWriter(self._out, self._schema, compression="zstd")

    def _kind(self, name: str) -> Any:
        if name.endswith("_at"):
            return self._arrow.timestamp("us", tz="UTC")
        if name in TEXT_LISTS:
            return self._arrow.list_(self._arrow.string())
        if name in WHOLE_NUMBERS:
            return self._arrow.int64()
        return self._arrow.float64() if name in REAL_NUMBERS else self._arrow.string()

    def begin(self) -> bytes:
        """Return the beginning of the file."""
        return self._out.taken()

    def piece(self, rows: Iterable[Mapping[str, Any]]) -> bytes:
        """Return these rows; without any, nothing."""
        names = self._schema.names
        plain = [{name: _reader_of(name)(row[name]) for name in names} for row in rows]
        if plain:
            self._writer.write_table(self._arrow.Table.from_pylist(plain, schema=self._schema))
        return self._out.taken()

    def end(self) -> bytes:
        """Return the end of the file, without which nobody can read it."""
        self._writer.close()
        return self._out.taken()


# Of a value that another program has written, and that its column cannot hold, there is nothing.


def _reader_of(name: str) -> Callable[[Any], Any]:
    if name.endswith("_at"):
        return _microseconds
    if name in TEXT_LISTS:
        return _texts
    if name in WHOLE_NUMBERS:
        return _whole
    return _real if name in REAL_NUMBERS else _text


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
