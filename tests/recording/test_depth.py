"""A record made where the program's stack has hardly a frame left."""

from __future__ import annotations

from pathlib import Path

from tests.crash.files import assert_sound, run_program

# Records at each depth, and looks at the store after each: what it holds would stay held.
_PROGRAM = """
import json, sqlite3, sys, threading, os
from waxlocal import WaxellContext, health, shutdown
from waxlocal.recording.recorder import current_recorder
from waxlocal.recording.statements import ADD_STEP

def at(frames, act):
    return act() if frames == 0 else at(frames - 1, act)

def depth():
    frame, found = sys._getframe(), 0
    while frame is not None:
        frame, found = frame.f_back, found + 1
    return found

def is_free(store):
    found = []
    def look():
        # With the lock: the thread of the backlog may be writing.
        if store._lock.acquire(timeout=60):
            opened = store._file._connection
            found.append(not store._writing and not (opened and opened.in_transaction))
            store._lock.release()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found == [True]

def act(kind, name, number):
    at_ = "2026-01-31T09:30:00.000000Z"
    row = (run.run_id, 10_000 + number, at_, name, "chain", None, None)
    if kind == "write":
        store.write(ADD_STEP, row)
    elif kind == "together":
        second = (row[0], 20_000 + number, at_, name + "+", "chain", None, None)
        store.write_together((ADD_STEP, row), (ADD_STEP, second))
    elif kind == "step":
        run.record_step(name)
    else:
        turn = [{"role": "user", "content": name}]
        run.record_llm_call(model=name, tokens_in=1, tokens_out=1, full_messages=turn)

returned, held = [], []
with WaxellContext("agent") as run:
    act("step", "warm", 0)
    act("call", "warm", 1)
    store = current_recorder().store
    here, number = depth(), 2
    for closed in (False, True):
        for kind in ("write", "together", "step", "call"):
            for left in range(1, 60):
                number += 1
                name = f"{kind} {closed} {left}"
                if closed:
                    with store._lock:
                        store._file.close()
                try:
                    at(sys.getrecursionlimit() - here - left, lambda: act(kind, name, number))
                    returned.append(name)
                except RecursionError:
                    pass
                if not is_free(store):
                    held.append(name)
lost = health().lost
shutdown()
shown = sqlite3.connect(os.environ["WAXLOCAL_DB"])
names = [name for (name,) in shown.execute("SELECT step_name FROM steps")]
names += [name for (name,) in shown.execute("SELECT model FROM llm_calls")]
missing = [name for name in returned if name not in names]
halves = [n for n in names if n.startswith("together") and not n.endswith("+")
          and n + "+" not in names]
print(json.dumps([len(returned) > 300, missing, held, lost, halves]))
"""


def test_records_near_the_end_of_the_stack_are_kept(db_path: Path) -> None:
    """Each whose call returned is in the file, whole; no call leaves a lock or a transaction."""
    done = run_program(db_path, _PROGRAM)
    assert done.stdout == "[true, [], [], 0, []]\n", done.stderr
    assert_sound(db_path)


def test_a_value_that_recurses_without_end_is_counted_once(db_path: Path) -> None:
    """It is no reason to keep a record for ever: it would fail from anywhere."""
    done = run_program(
        db_path,
        """
        from waxlocal import WaxellContext, health
        from waxlocal.recording.recorder import current_recorder
        from waxlocal.recording.statements import ADD_STEP

        class Endless:
            def __conform__(self, protocol):
                return self.__conform__(protocol)

        with WaxellContext("agent") as run:
            at = "2026-01-31T09:30:00.000000Z"
            store = current_recorder().store
            store.write(ADD_STEP, (run.run_id, 1_000, at, "endless", "chain", Endless(), None))
            run.record_step("after")
            assert health().in_memory == 0, health()
        """,
    )
    assert done.returncode == 0, done.stderr
    assert_sound(db_path)
