"""A deletion beside a program that records: it loses nothing, and what is recorded stays."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

from tests.maintenance.test_forgetting import store
from tests.tools.builders import Builder
from tests.tools.cli import PYTHON, environment
from tests.tools.patience import PATIENCE_S
from tests.tools.sync import ask
from waxlocal.maintenance.chosen_runs import Choice, Kind
from waxlocal.maintenance.forgetting import forget
from waxlocal.storage.connection import open_writer

# Records until its input ends, messages that the deleted runs have, too; then says how many runs.
RECORDS = """
import sys, threading
from waxlocal import WaxellContext
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
said = [{"role": "user", "content": f"hello {n}"} for n in range(20)]
count = 0
while not done.is_set():
    with WaxellContext("chatbot", session_id=f"s{count % 7}", user_id="bob") as run:
        run.record_llm_call(model="gpt-4o", tokens_in=1, tokens_out=1, full_messages=said)
    count += 1
    if count == 20:
        print("recording", flush=True)
print(count, flush=True)
"""


def test_programs_record_while_many_runs_are_deleted(db_path: Path) -> None:
    """Each of their runs is there in the end, whole, with all messages, and the sums are right."""
    with closing(open_writer(db_path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        make = Builder(connection)
        connection.execute("BEGIN")
        said = [{"role": "user", "content": f"hello {number}"} for number in range(20)]
        keys = store(connection, said)
        for number in range(300):
            run = make.run(f"s{number % 7}", user="alice" if number % 3 else "bob")
            for _ in range(5):
                make.llm(run, 10, cost=0.5, message_keys=keys if number % 3 else None)
        connection.execute("COMMIT")
    program = subprocess.Popen(
        [PYTHON[0], "-c", RECORDS],
        env=environment(WAXLOCAL_DB=str(db_path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "recording\n"
        done = forget(db_path, Choice(Kind.USER, "alice"))
        output, _ = program.communicate("", timeout=PATIENCE_S)
    finally:
        program.kill()
    assert done.runs == 200
    recorded = int(output)
    assert recorded > 20
    assert ask(db_path, "PRAGMA integrity_check") == [("ok",)]
    assert ask(db_path, "SELECT count(*), count(DISTINCT user_id) FROM runs") == [
        (100 + recorded, 1)
    ]
    messages = "SELECT count(*) FROM llm_call_messages WHERE content LIKE 'hello %'"
    assert ask(db_path, messages) == [(20 * recorded,)]
    assert ask(db_path, "SELECT sum(run_count), sum(llm_calls) FROM sessions") == [
        (100 + recorded, 500 + recorded)
    ]
    assert ask(db_path, "SELECT DISTINCT user_id FROM session_users") == [("bob",)]
