"""Loops and the blocks around them: where a signal handler raises, a lock must be given back.

Python 3.12 and 3.13 leave the jump back of some loops out of the table that says which block an
instruction stands in (https://github.com/python/cpython/issues/108214), and look for signals just
there: what a handler raises then leaves a `with` or `try` around the loop without its end. So a
loop stands in a function of its own, called within the block.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import waxlocal

PACKAGE = Path(waxlocal.__file__).parent
# What runs in threads that a program records in. The daemon and the server take signals otherwise,
# and a command that one ends has nothing to give back.
RECORD = ("capture", "maintenance", "recording", "sdk", "shim", "storage")
# After these the next instruction is not the next one in the code.
LEAVE = ("JUMP_BACKWARD", "JUMP_FORWARD", "RAISE", "RERAISE", "RETURN")
_gate = threading.RLock()


def _loop_within_a_block(values: list[int]) -> None:
    with _gate:
        for value in values:
            if value is not None and value:
                values.remove(value)


def _loop_of_its_own(values: list[int]) -> None:
    for value in values:
        if value is not None and value:
            values.remove(value)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _without_exceptions(steps: dict[int, dis.Instruction]) -> Iterator[dis.Instruction]:
    """Yield the instructions that are reached while nothing is raised."""
    after = dict(zip(steps, list(steps)[1:], strict=False))
    waiting, seen = [0], set[int]()
    while waiting:
        offset = waiting.pop()
        if offset in seen:
            continue
        seen.add(offset)
        step = steps[offset]
        yield step
        if step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            waiting.append(step.argval)
        if not step.opname.startswith(LEAVE):
            waiting.append(after[offset])


def _uncovered(code: CodeType) -> list[int]:
    """Return where loops jump back that stand in a block, but not in its part of the table."""
    dis_: Any = dis
    if sys.version_info < (3, 11):  # it has no such table: blocks are entered and left as it runs
        return []
    table = dis_._parse_exception_table(code)
    if not table:
        return []
    steps = {step.offset: step for step in dis.get_instructions(code)}

    def handler(offset: int) -> int | None:
        return next((part.target for part in table if part.start <= offset < part.end), None)

    return [
        step.offset
        for step in _without_exceptions(steps)
        if step.opname == "JUMP_BACKWARD"
        and (block := handler(step.argval)) is not None
        and steps[block].opname == "PUSH_EXC_INFO"  # not that of a generator or a comprehension
        and handler(step.offset) != block
    ]


def test_no_loop_of_what_records_is_left_without_the_end_of_its_block() -> None:
    """Move one that is found here into a function of its own."""
    paths = list(PACKAGE.glob("*.py"))
    paths += [path for name in RECORD for path in (PACKAGE / name).rglob("*.py")]
    assert len(paths) > 100
    found = [
        f"{path.relative_to(PACKAGE)}: {code.co_name}"
        for path in paths
        for code in _codes(compile(path.read_text(encoding="utf-8"), str(path), "exec"))
        if _uncovered(code)
    ]
    assert found == []


def test_the_search_finds_such_a_loop() -> None:
    """On the Pythons that have it."""
    if (3, 12) <= sys.version_info < (3, 14):
        assert _uncovered(_loop_within_a_block.__code__)
    assert _uncovered(_loop_of_its_own.__code__) == []
