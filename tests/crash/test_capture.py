"""Captured calls: kill -9 loses none that had returned, and many at once are each in their run."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.files import assert_sound, rows, run_program, start_program
from tests.tools.examples import examples
from tests.vendors.process import vendor_process
from waxlocal.storage.connection import open_writer

pytestmark = pytest.mark.crash

KILLS = max(4, int(os.environ.get("KILL_CYCLES", "20")) // 5)
# The message of a call, which the stand-in repeats, says where it was made.
_SAID = "replace(response, 'You said: ', '')"

_CALLING = """
import itertools, sys
import waxlocal
waxlocal.init()
from tests.vendors.clients import openai_client

client, who = openai_client(sys.argv[1]), sys.argv[2]
for turn in itertools.count():
    with waxlocal.WaxellContext(who):
        said = f"{who}-{turn}"
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": said}]}
        if turn % 2:
            client.chat.completions.create(**asked)
        else:
            list(client.chat.completions.create(**asked, stream=True))
        print(said, flush=True)
"""


def test_a_call_that_has_returned_survives_a_kill(db_path: Path) -> None:
    """At most one is there that had not; a stream has when it was read to its end."""
    open_writer(db_path).close()
    moments = random.Random(20_261_126)
    with vendor_process() as vendors:
        for kill in range(KILLS):
            who = f"kill{kill}"
            program = start_program(db_path, _CALLING, vendors.url, who)
            assert program.stdout is not None
            returned = [program.stdout.readline() for _ in range(moments.randint(1, 12))]
            program.kill()
            returned += program.communicate()[0].splitlines()
            told = {line.strip() for line in returned}
            kept = [
                answer
                for answer in rows(db_path, f"SELECT {_SAID} FROM llm_calls")
                if answer.startswith(f"{who}-")
            ]
            assert told <= set(kept)
            assert len(kept) - len(told) in (0, 1)
            assert_sound(db_path)


_AT_ONCE = """
# The last one before any fork: it registers a release of its lock for after a fork, and would do so
# between the two halves of one, where a loop asks for an executor meanwhile.
import asyncio, os, sys, threading, warnings, concurrent.futures.thread
warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # the fork is meant
import waxlocal
waxlocal.init()
from tests.vendors.clients import async_openai_client, openai_client

url, threads, runs, calls = sys.argv[1], *map(int, sys.argv[2:])

async def one_run(client, who):
    async def call(number):
        await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": f"{who}/{number}"}])
    async with waxlocal.WaxellContext(who):
        await asyncio.gather(*map(call, range(calls)))

async def many_runs(thread):
    async with async_openai_client(url) as client:
        await asyncio.gather(*(one_run(client, f"t{thread}-{run}") for run in range(runs)))

def make_calls(who):
    with openai_client(url) as client:
        for number in range(calls):
            client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": f"{who}/{number}"}])

async def first():
    async with async_openai_client(url) as client:
        await one_run(client, "first")

# What a thread is importing at a fork, the child can never import.
asyncio.run(first())
with waxlocal.WaxellContext("second"):
    make_calls("second")
working = [threading.Thread(target=lambda n=n: asyncio.run(many_runs(n))) for n in range(threads)]
for thread in working:
    thread.start()
with waxlocal.WaxellContext("parent"):
    child = os.fork()
    make_calls("parent" if child else "child")
    if not child:
        waxlocal.shutdown()
        os._exit(0)
for thread in working:
    thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_thousand_calls_at_once_are_each_once_in_their_run(db_path: Path) -> None:
    """Of eight threads with a loop each, while a child is forked that goes on with a run.

    A thousand in CI; see `examples`.
    """
    threads, runs, calls = 8, examples(25), 5
    with vendor_process() as vendors:
        done = run_program(db_path, _AT_ONCE, vendors.url, *map(str, (threads, runs, calls)))
    assert (done.returncode, done.stderr) == (0, "")
    made = rows(db_path, f"SELECT agent_name, {_SAID} FROM llm_calls JOIN runs USING (run_id)")
    # A forked child goes on with the run that was open.
    names = ["first", "second", "parent"]
    names += [f"t{thread}-{run}" for thread in range(threads) for run in range(runs)]
    said_by = [("parent", "child"), *zip(names, names, strict=True)]
    expected = [(run, f"{who}/{number}") for run, who in said_by for number in range(calls)]
    assert Counter(made) == Counter(expected)
    assert rows(db_path, "SELECT DISTINCT status FROM runs") == ["success"]
    assert_sound(db_path)
