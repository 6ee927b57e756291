"""The backlog is bounded, ordered, and counts what it loses."""

from __future__ import annotations

from waxlocal.errors import DiskFull, FileLocked
from waxlocal.recording.backlog import MAX_BYTES, MAX_RECORDS, Backlog
from waxlocal.recording.transactions import Unit
from waxlocal.storage.record_sql import Statement

REASON = FileLocked("held")


def _unit(number: int, text: str = "") -> Unit:
    return ((Statement("INSERT"), (number, text)),)


def test_units_come_out_in_order() -> None:
    """First in, first out."""
    backlog = Backlog()
    for number in range(3):
        backlog.keep(_unit(number), REASON)
    out = []
    while backlog:
        out += backlog.first()
        backlog.remove_first(None)
    assert out == [_unit(0), _unit(1), _unit(2)]
    assert backlog.lost == 0


def test_the_number_of_records_is_bounded() -> None:
    """The 10,001st record is refused and counted; the first stays."""
    assert MAX_RECORDS == 10_000
    backlog = Backlog()
    for number in range(MAX_RECORDS + 5):
        backlog.keep(_unit(number), REASON)
    assert (len(backlog), backlog.lost) == (MAX_RECORDS, 5)
    assert backlog.first(2) == [_unit(0), _unit(1)]


def test_the_bytes_are_bounded() -> None:
    """Records of 64 MB together are the most that is kept."""
    assert MAX_BYTES == 64 * 1024 * 1024
    backlog = Backlog()
    megabyte = "x" * (1024 * 1024)
    for number in range(70):
        backlog.keep(_unit(number, megabyte), REASON)
    assert 60 <= len(backlog) <= 64
    assert len(backlog) + backlog.lost == 70
    backlog.remove_first(None)
    backlog.keep(_unit(99, megabyte), REASON)
    assert len(backlog) + backlog.lost == 70


def test_every_text_counts_by_its_size_in_memory() -> None:
    """Text that takes four bytes a character counts as four."""
    backlog = Backlog(max_bytes=3_000)
    backlog.keep(_unit(1, "\N{GRINNING FACE}" * 1_000), REASON)
    assert (len(backlog), backlog.lost) == (0, 1)


def test_a_report_is_one_sentence_with_a_hint() -> None:
    """The report names the count, the reason and what to do; the next one is empty."""
    backlog = Backlog()
    backlog.lose(_unit(1), DiskFull("no space"))
    backlog.keep(_unit(2), DiskFull("no space"))
    backlog.give_up()
    assert backlog.report() == (
        "2 records were lost: no space. Try: free some space; recording resumes by itself"
    )
    assert backlog.report() == ""
    assert backlog.lost == 2  # what was told stays counted
    backlog.lose(_unit(3), DiskFull("no space"))
    assert backlog.report().startswith("1 record was lost")


def test_a_reason_keeps_no_frames() -> None:
    """What is kept of an error does not hold the program's variables in memory."""
    backlog = Backlog()
    try:
        try:
            raise ValueError("cause")
        except ValueError as cause:
            raise FileLocked("held") from cause
    except FileLocked as error:
        backlog.note(error)
    assert backlog.reason is not None
    assert (backlog.reason.__traceback__, backlog.reason.__cause__) == (None, None)


def test_a_child_process_starts_without_its_parents_backlog() -> None:
    """clear() forgets units, counts and reason."""
    backlog = Backlog()
    backlog.keep(_unit(1), REASON)
    backlog.lose(_unit(2), REASON)
    backlog.clear()
    assert (len(backlog), backlog.lost, backlog.reason) == (0, 0, None)


def test_a_reason_without_a_text_is_told_by_its_name() -> None:
    """Python's own `MemoryError` says nothing."""
    backlog = Backlog()
    backlog.lose(_unit(1), MemoryError())
    assert backlog.report() == "1 record was lost: MemoryError."
