"""A page as a stream of events: what it costs, what is told and when it ends."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tools.builders import Builder
from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S
from tests.tools.web import serving, spawned
from waxlocal.web.live import event_stream, file_watch
from waxlocal.web.live.streams import MOST_OF_CLIENT, LivePage

pytestmark = pytest.mark.usefixtures("engine")

KEY = re.compile(r'data-live="([^"]*)"')
MARK = re.compile(r'data-mark="(\w+)"')
PAGE = "/sessions/talk"
ROUTE = "/sessions/{session_id}"


class Stream:
    """The events of a stream, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._texts = answer.iter_text()
        self._rest = ""
        self._give_up = time.monotonic() + PATIENCE_S

    def block(self) -> str:
        """Return what comes next: an event or a heartbeat; empty when the stream has ended."""
        # Heartbeats come for ever; what is waited for must come before.
        assert time.monotonic() < self._give_up
        while "\n\n" not in self._rest:
            more = next(self._texts, None)
            if more is None:
                return ""
            self._rest += more
        block, _, self._rest = self._rest.partition("\n\n")
        return block

    def event(self) -> str:
        """Return the next event, past heartbeats."""
        while (block := self.block()).startswith(":"):
            pass
        return block

    def change(self) -> dict[str, Any]:
        """Return what the next event says."""
        lines = dict(line.split(": ", 1) for line in self.event().splitlines())
        assert lines["event"] == "change"
        return {"id": lines["id"], **json.loads(lines["data"])}

    def until(self, text: str) -> list[str]:
        """Return the HTML of all parts that come, up to one with this text."""
        found: list[str] = []
        while not any(text in html for html in found):
            found += [html for html, _ in self.change()["parts"]]
        return found


@contextmanager
def streaming(client: httpx.Client, path: str = PAGE, **headers: str) -> Iterator[Stream]:
    """Open the stream of a page; without headers, with the marks that the page has."""
    given = headers or {"Waxlocal-Marks": marks(client, path)}
    joined = f"{path}{'&' if '?' in path else '?'}live=stream"
    with client.stream("GET", joined, headers=given) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


def marks(client: httpx.Client, path: str = PAGE) -> str:
    """Return the marks of a page as its script sends them, when its figures are there."""
    give_up = time.monotonic() + PATIENCE_S
    while 'class="waiting"' in (text := client.get(path).text):
        assert time.monotonic() < give_up
    return ",".join(MARK.findall(text))


def turns_in(parts: Iterable[str]) -> str:
    """Return the HTML of the turns among some parts."""
    return "".join(one for one in parts if one.startswith("<article "))


def say(to: Builder, number: int, **more: Any) -> str:
    """Add a turn with a message of 1 kB and a call, in one commit."""
    message = f"question {number:04}, " + "some words " * 90
    to.conn.execute("BEGIN")
    run = to.run("talk", at=number, inputs={"message": message}, **more)
    to.llm(run, 1_000, 100, cost=0.01)
    to.conn.execute("COMMIT")
    return run


@pytest.fixture
def to(db_path: Path) -> Iterator[Builder]:
    """Yield what records into the file while it is served."""
    with recorded(db_path) as builder:
        yield builder


def _told(to: Builder, db_path: Path, turns: range) -> tuple[int, dict[str, str]]:
    """Return the bytes of the events that tell of one more turn, and their parts by key."""
    for number in turns:
        say(to, number)
    with serving(db_path) as client, streaming(client, f"{PAGE}?grows=1") as stream:
        run = say(to, 1_000)
        size, parts, wanted = 0, {}, {f"turn {run}", "head", "totals", "money", "timing"}
        while not parts.keys() >= wanted:
            event = stream.event()
            size += len(event.encode()) + 2
            said = json.loads(event.partition("data: ")[2])
            parts |= {KEY.findall(html)[0]: html for html, _ in said["parts"]}
        parts["turn"] = parts.pop(f"turn {run}")
    return size, parts


def test_an_event_is_as_large_in_a_long_conversation(tmp_path: Path) -> None:
    """One turn with a message of 1 kB and the figures: 5 kB at most, whatever came before."""
    told = []
    for count in (5, 50):
        path = tmp_path / f"{count}.db"
        with recorded(path) as to:
            size, parts = _told(to, path, range(count))
        assert size <= 5_000
        assert parts.keys() == {"turn", "head", "totals", "money", "timing"}
        told.append({key: len(html) for key, html in parts.items()})
    assert told[0] == {key: pytest.approx(size, abs=24) for key, size in told[1].items()}


def test_only_what_is_missing_comes_after_a_break(to: Builder, db_path: Path) -> None:
    """The marks of the page say what it has, to another server, too."""
    say(to, 1)
    with serving(db_path) as client:
        had = marks(client)
    say(to, 2)
    say(to, 3)
    with serving(db_path) as client, streaming(client, **{"Waxlocal-Marks": had}) as stream:
        told = turns_in(html for html, _ in stream.change()["parts"])
        assert "question 0002" in told
        assert "question 0003" in told
        assert "question 0001" not in told
        had = marks(client)
    with serving(db_path) as client:
        with streaming(client, **{"Waxlocal-Marks": had}) as stream:
            say(to, 4)
            assert "question 0003" not in turns_in(stream.until("question 0004"))
        with streaming(client, **{"Last-Event-ID": "unknown"}) as stream:
            assert turns_in(stream.until("question 0004")).count("<article ") == 4


def test_a_turn_that_is_gone_is_named_by_its_mark(to: Builder, db_path: Path) -> None:
    """Then the page takes it away."""
    say(to, 1)
    run = say(to, 2)
    with serving(db_path) as client:
        (mark,) = re.findall(
            rf'<article data-mark="(\w+)"[^>]*data-live="turn {run}"', client.get(PAGE).text
        )
        with streaming(client) as stream:
            to.conn.execute("DELETE FROM runs WHERE run_id = ?", (run,))
            while mark not in stream.change()["old"]:
                pass


def test_a_list_names_its_rows_in_order(to: Builder, db_path: Path) -> None:
    """With the HTML of those alone that are new or have changed."""
    for number in range(9):
        to.run(f"s{number}", at=number)
    with serving(db_path) as client, streaming(client, "/") as stream:
        to.run("new", at=60)
        rows: list[str] = []
        while not rows:  # totals may come first
            said = stream.change()
            rows = [html for html, _ in said["parts"] if html.startswith("<tr ")]
        assert len(rows) == 1
        assert 'data-live="session new"' in rows[0]
        assert len(said["rows"]) == 10
        assert said["rows"][0] == MARK.findall(rows[0])[0]


def test_a_session_that_is_deleted_ends_its_stream(to: Builder, db_path: Path) -> None:
    """And one that is not there has none."""
    say(to, 1)
    with serving(db_path) as client:
        with streaming(client) as stream:
            to.conn.execute("DELETE FROM runs")
            while (event := stream.event()).startswith("id: "):
                pass
            assert event == "event: gone\ndata: {}"
            assert stream.block() == ""
        assert client.get(f"{PAGE}?live=stream").status_code == 404


def test_a_file_that_is_replaced_is_noticed(to: Builder, db_path: Path, tmp_path: Path) -> None:
    """The stream goes on with the new one."""
    say(to, 1)
    other = tmp_path / "other.db"
    with recorded(other) as another:
        say(another, 7)
    with serving(db_path) as client, streaming(client) as stream:
        for end in ("", "-wal", "-shm"):
            Path(f"{db_path}{end}").unlink(missing_ok=True)
        other.rename(db_path)
        stream.until("question 0007")


def test_a_client_has_few_streams(to: Builder, db_path: Path) -> None:
    """Beyond that, it gets none until one of its own has ended; others do."""
    say(to, 1)
    mine = {"Waxlocal-Browser": "mine"}
    with serving(db_path) as client, ExitStack() as some:
        for _ in range(MOST_OF_CLIENT - 1):
            some.enter_context(streaming(client, **mine))
        with streaming(client, **mine):
            refused = client.get(f"{PAGE}?live=stream", headers=mine)
            assert (refused.status_code, refused.headers["retry-after"]) == (204, "60")
            with streaming(client, **{"Waxlocal-Browser": "another"}):
                pass
        give_up = time.monotonic() + PATIENCE_S
        while True:
            with client.stream("GET", f"{PAGE}?live=stream", headers=mine) as answer:
                if answer.status_code == 200:
                    break
            assert time.monotonic() < give_up
            time.sleep(0.01)
    with serving(db_path, streams=0) as client:
        assert client.get(f"{PAGE}?live=stream").status_code == 204


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_stops_ends_its_streams(
    to: Builder, db_path: Path, how: signal.Signals
) -> None:
    """At once: it does not wait for people to close their pages."""
    say(to, 1)
    with (
        spawned(db=db_path) as (process, address),
        httpx.Client(base_url=address, timeout=PATIENCE_S) as client,
        streaming(client) as stream,
    ):
        process.send_signal(how)
        while stream.block():
            pass
        assert process.wait(PATIENCE_S) == 0


def test_a_login_that_ends_ends_the_stream(
    to: Builder, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not see the page any more is told nothing more."""
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.1)
    say(to, 1)
    key = {"X-Wax-Key": "a-key-of-forty-characters-for-this-test-"}
    with serving(db_path, key=key["X-Wax-Key"]) as client:
        assert client.get(f"{PAGE}?live=stream").status_code == 303
        with streaming(client, **key, **{"Waxlocal-Marks": "none"}) as stream:
            assert stream.event().startswith("id: ")
            monkeypatch.setattr("waxlocal.web.auth.Authentication.admits", lambda *_: False)
            while stream.block():
                pass


def test_one_look_at_the_file_is_for_all(
    to: Builder, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the page is read once for all who have it open."""
    say(to, 1)
    looked: list[float] = []
    read: list[float] = []
    asked: list[float] = []
    commits, state = file_watch.commits_of_others, LivePage.state

    def look(connection: Any) -> int:
        looked.append(time.monotonic())
        return commits(connection)

    async def made(self: LivePage, since: float, render: Any) -> Any:
        asked.append(since)

        async def counted() -> str:
            read.append(since)
            return str(await render())

        return await state(self, since, counted)

    monkeypatch.setattr(file_watch, "commits_of_others", look)
    monkeypatch.setattr(LivePage, "state", made)
    with serving(db_path) as client:
        given = [{"Waxlocal-Browser": str(one)} for one in range(3)]
        with (
            streaming(client, **given[0]) as first,
            streaming(client, **given[1]) as second,
            streaming(client, **given[2]) as third,
        ):
            before = len(read), len(asked)
            say(to, 2)
            for one in (first, second, third):
                one.until("question 0002")
            made_anew, asked_for = len(read) - before[0], len(asked) - before[1]
    # Three streams ask for each state, and most often get the one that was made for the first.
    assert made_anew < asked_for
    assert min(b - a for a, b in pairwise(looked)) > file_watch.LOOK_S / 2


def test_much_that_is_recorded_beside_it_adds_nothing(to: Builder, db_path: Path) -> None:
    """Of hundreds of runs in other sessions the page says nothing; its own turn still comes."""
    say(to, 1)
    with serving(db_path) as client, streaming(client) as stream:
        for number in range(400):
            to.run(f"other {number}")
        say(to, 2)
        told = stream.until("question 0002")
    assert "other " not in "".join(told)
    assert len(told) < 100


def test_a_stream_is_counted_without_its_duration(
    to: Builder, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lasts as long as somebody looks, which would hide how long pages take."""
    ahead = [0.0]
    clock = time.perf_counter
    monkeypatch.setattr(
        "waxlocal.web.middleware.request_log.time.perf_counter", lambda: clock() + ahead[0]
    )
    say(to, 1)
    with serving(db_path) as client:
        with streaming(client, PAGE, **{"Waxlocal-Marks": "none"}) as stream:
            stream.event()
            ahead[0] = 1e6  # what would be counted
        give_up = time.monotonic() + PATIENCE_S
        wanted = f'{{route="{ROUTE}",method="GET",status="200"}}'
        while f"requests_total{wanted} 1" not in (text := client.get("/metrics").text):
            assert time.monotonic() < give_up
        seconds = re.search(rf"seconds_sum{re.escape(wanted)} (\S+)", text)
    assert seconds is not None
    assert float(seconds[1]) < 1e5
