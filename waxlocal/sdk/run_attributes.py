"""What a run keeps in memory: tags, metadata and result, and records made before its beginning.

A run often sets several attributes in a row. Writing each one at once would cost a commit each;
written together with a record that is due anyway, they cost an `UPDATE`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from waxlocal.clock import utc_text
from waxlocal.encode import dumps, read_back
from waxlocal.errors import ObserveError
from waxlocal.recording.recorder import Recorder
from waxlocal.recording.statements import SET_ATTRIBUTES
from waxlocal.recording.transactions import Bound
from waxlocal.records import EVENTS, Table
from waxlocal.storage.record_sql import Statement

__all__ = ["RunAttributes"]

# A context that is never entered must not fill the memory.
MAX_EARLY = 1_000
_TOO_EARLY = f"a run keeps {MAX_EARLY:,} records until its block is entered"
_BEGIN_FIRST = "enter the block of the run before recording so much"

Row = tuple[object, ...]


class RunAttributes:
    """What a run says about itself, and the one door through which its rows go to the store.

    `Run.__init__` sets the fields: a constructor here would be one more call for each run.
    """

    __slots__ = (
        "_attributes_dirty",
        "_early",
        "_ended",
        "_metadata",
        "_metadata_json",
        "_recorder",
        "_result_json",
        "_run_id",
        "_started_ns",
        "_tags",
        "_tags_json",
    )

    _attributes_dirty: bool
    # Records that wait for the beginning, and whether content was kept when they were made. Threads
    # append and pop without a lock: both are atomic.
    _early: list[tuple[Statement, Row, bool]]
    _ended: bool
    # The members of the JSON object by their keys; None until `set_metadata` needs them.
    _metadata: dict[str, str] | None
    _metadata_json: str | None
    _recorder: Recorder
    _result_json: str | None
    _run_id: str
    _started_ns: int
    _tags: dict[str, str] | None
    _tags_json: str | None

    def _set_metadata(self, key: str, value: object) -> None:
        if not self._recorder.enabled:
            return
        if self._metadata is None:
            given = self._metadata_json
            self._metadata = {} if given is None else _members(given)
        self._metadata[key] = f"{dumps(key)}:{dumps(value)}"
        self._metadata_json = None
        self._set_attribute()

    def _set_tag(self, key: str, value: str) -> None:
        if self._tags is None:
            self._tags = {}
        self._tags[key] = value
        self._tags_json = None
        self._set_attribute()

    def _set_result(self, result: dict[str, Any]) -> None:
        recorder = self._recorder
        wanted = result and recorder.enabled and recorder.capture_content
        self._result_json = dumps(result) if wanted else ""
        self._set_attribute()

    def _set_attribute(self) -> None:
        """Write with the next record what was set, or now when the run has ended already."""
        self._attributes_dirty = True
        if self._ended:
            self._flush()

    def _join_attributes(self) -> None:
        """Make the JSON of tags and metadata from their parts."""
        if self._metadata_json is None and self._metadata:
            self._metadata_json = "{" + ",".join(self._metadata.values()) + "}"
        if self._tags_json is None and self._tags:
            self._tags_json = dumps(self._tags)

    def _take_attributes(self) -> None:
        """Make the JSON of what was set, and take it as written."""
        self._attributes_dirty = False
        self._join_attributes()

    def _row_of_attributes(self) -> Row:
        """Return the values of `SET_ATTRIBUTES`, and take them as written."""
        self._take_attributes()
        return (self._metadata_json, self._tags_json, self._result_json or None, self._run_id)

    def _write(self, statement: Statement, row: Row) -> None:
        """Write a record, and the attributes that were set since the last one."""
        if not self._run_id:
            self._wait_for_beginning(statement, row)
            return
        store = self._recorder.store
        if self._attributes_dirty:
            store.write_together((statement, row), (SET_ATTRIBUTES, self._row_of_attributes()))
        else:
            store.write(statement, row)

    def _write_together(self, *unit: Bound) -> None:
        """Write a record of a run that has begun, with what belongs into its transaction."""
        if self._attributes_dirty:
            unit += ((SET_ATTRIBUTES, self._row_of_attributes()),)
        self._recorder.store.write_together(*unit)

    def _wait_for_beginning(self, statement: Statement, row: Row) -> None:
        if len(self._early) >= MAX_EARLY:
            self._recorder.store.lose(ObserveError(_TOO_EARLY, hint=_BEGIN_FIRST))
            return
        self._early.append((statement, row, self._recorder.capture_content))
        if self._run_id:  # it has begun meanwhile, in another thread
            self._write_early()

    def _write_early(self) -> None:
        """Write the records that were made before the beginning, as made at the beginning."""
        started_at = utc_text(self._started_ns)
        content = self._recorder.capture_content
        for statement, row, captured in self._taken_early():
            if statement.adds is None:
                self._recorder.store.write(statement, row)
                continue
            new: dict[str, object] = {"run_id": self._run_id, statement.adds.moment: started_at}
            if captured and not content:
                new |= _without_content(statement.adds)
            begun = (
                new.get(name, value) for name, value in zip(statement.columns, row, strict=True)
            )
            self._write(statement, tuple(begun))

    def _taken_early(self) -> Iterator[tuple[Statement, Row, bool]]:  # loop apart
        while self._early:
            try:
                early = self._early.pop(0)
            except IndexError:  # another thread took the last one
                return
            yield early

    def _flush(self) -> None:
        if self._run_id:
            if self._attributes_dirty:
                self._recorder.store.write(SET_ATTRIBUTES, self._row_of_attributes())
            elif self._recorder.store.backlog:
                self._recorder.store.drain()


def _without_content(table: Table) -> dict[str, object]:
    """Return what stands in the columns of content where none is kept."""
    if table is EVENTS:  # which of its fields are content, only the method that made it knows
        return {"data": None}
    return {column.name: column.default for column in table.columns if column.content}


def _members(json: str) -> dict[str, str]:
    """Return the members of a JSON object, `"key":value`, by their keys."""
    return {key: f"{dumps(key)}:{dumps(value)}" for key, value in read_back(json).items()}
