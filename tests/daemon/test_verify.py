"""What a server lists is compared with what was delivered to it."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.builders import Builder, FixedClock, moment
from tests.tools.sdk_rows import everything
from tests.tools.session_server import (
    Asked,
    Reply,
    SessionServer,
    listing,
    session_server,
)
from tests.tools.sync import ask, change, record, settings_for, upload
from tests.tools.web import serving, url_of
from waxlocal.errors import DeliveryError, FileMissing, ServerRefused, ServerUnreachable
from waxlocal.settings.secret import Secret
from waxlocal.settings.upload_settings import UploadSettings
from waxlocal.storage.connection import open_writer
from waxlocal.wire.paths import SESSIONS
from waxlocal_daemon.id_set import IdSet
from waxlocal_daemon.remote_runs import PAGE
from waxlocal_daemon.verify import LISTED, Difference, Verification, make_client, verify

KEY = "wax_sk_canary_7d1f"
NOW = FixedClock(1_000)

Listed = list[dict[str, Any]]


class Sent:
    """A file whose runs are on their way to a server."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.settings = UploadSettings(url, Secret(KEY), read_timeout=20.0)
        self.conn = open_writer(path)
        self.add = Builder(self.conn)
        self.conn.execute("INSERT INTO targets (url) VALUES (?)", (url,))

    def run(self, session: str, *, state: str | None = "delivered", at: float = 10.0) -> str:
        """Add a run of 150 tokens and $0.1; `state` None: no upload has looked at it."""
        run = self.add.run(session, at=1.0)
        self.add.llm(run, cost=0.1)
        if state is not None:
            done = moment(at) if state == "delivered" else None
            self.conn.execute(
                "INSERT INTO deliveries (run_id, target_id, state, delivered_at)"
                " VALUES (?, 1, ?, ?)",
                (run, state, done),
            )
        return run

    def verify(self, **given: Any) -> Verification:
        """Compare."""
        return verify(self.path, self.settings, clock=NOW, **given)


def theirs(session: str, runs: int = 1, **figures: Any) -> dict[str, Any]:
    """Return a session as a server lists it that got that many runs."""
    given = {"run_count": runs, "total_tokens": 150 * runs, "total_cost": 0.1 * runs}
    return {"session_id": session} | given | figures


@pytest.fixture
def listed() -> Listed:
    """Return what the server lists; a test puts it in."""
    return []


@pytest.fixture
def server(listed: Listed) -> Iterator[SessionServer]:
    """Run a server that lists it."""
    with session_server(lambda asked: listing(listed)(asked)) as running:
        yield running


@pytest.fixture
def sent(db_path: Path, server: SessionServer) -> Iterator[Sent]:
    """Open a file whose runs go to that server."""
    made = Sent(db_path, server.url)
    with closing(made.conn):
        yield made


def test_both_sides_agree(sent: Sent, listed: Listed) -> None:
    """Sessions with the same runs, tokens and cost are no findings."""
    sent.run("s1")
    sent.run("s1")
    sent.run("s2")
    listed += [theirs("s1", 2), theirs("s2")]
    found = sent.verify()
    assert found == Verification(checked=2, missing=[], doubled=[], different=[], waiting=[])
    assert found.agrees


def test_findings_are_told_apart(sent: Sent, listed: Listed) -> None:
    """Missing, doubled, different, each with the figures at both ends."""
    for session in ("equal", "missing", "doubled", "fewer", "tokens", "cost"):
        sent.run(session)
        sent.run(session)
    listed += [
        theirs("equal", 2),
        theirs("doubled", 4),
        theirs("fewer", 1, total_tokens=300, total_cost=0.2),
        theirs("tokens", 2, total_tokens=301),
        theirs("cost", 2, total_cost=0.3),
    ]
    found = sent.verify()
    assert found.missing == [Difference("missing", "run_count", 2, None)]
    assert found.doubled == [Difference("doubled", "run_count", 2, 4)]
    assert sorted(found.different, key=lambda one: one.session_id) == [
        Difference("cost", "total_cost", 0.2, 0.3),
        Difference("fewer", "run_count", 2, 1),
        Difference("tokens", "total_tokens", 300, 301),
    ]
    assert (found.checked, found.waiting, found.agrees) == (6, [], False)


def test_sessions_of_others_do_not_count(sent: Sent, listed: Listed) -> None:
    """What only the server has comes from other devices."""
    sent.run("mine")
    listed += [theirs("another"), theirs("mine"), theirs("\ud800"), theirs("")]
    assert sent.verify().agrees
    assert sent.verify().checked == 1


@pytest.mark.parametrize("state", ["pending", "sending", "open", "parked", None])
@pytest.mark.parametrize("runs_there", [0, 1])
def test_what_is_not_delivered_yet_is_waiting(
    sent: Sent, listed: Listed, state: str | None, runs_there: int
) -> None:
    """A session with such a run is neither missing nor different, whatever is there of it."""
    sent.run("s")
    sent.run("s", state=state)
    listed += [theirs("s", runs_there)] * runs_there
    found = sent.verify()
    assert (found.waiting, found.checked, found.agrees) == (["s"], 0, True)


def test_too_many_runs_are_too_many_while_others_wait(sent: Sent, listed: Listed) -> None:
    """A server with more runs than the file has them twice, delivered or not."""
    sent.run("s")
    sent.run("s", state="pending")
    listed += [theirs("s", 3)]
    assert sent.verify().doubled == [Difference("s", "run_count", 2, 3)]


def test_what_is_delivered_meanwhile_is_waiting(sent: Sent) -> None:
    """The server may have been asked before it got the run."""
    sent.run("s", at=1_000.0)
    assert sent.verify().waiting == ["s"]
    sent.run("t", at=999.9)
    assert sent.verify().missing == [Difference("t", "run_count", 1, None)]


def test_what_is_delivered_is_known_after_the_clock_was_set_back(
    sent: Sent, listed: Listed
) -> None:
    """It was delivered before, by a clock that was ahead."""
    sent.run("s", at=5_000.0)
    listed.append(theirs("s"))
    assert (sent.verify().checked, sent.verify().waiting) == (1, [])


def test_only_this_server_counts(sent: Sent) -> None:
    """A run that went to another server is still to go to this one."""
    run = sent.run("s", state=None)
    sent.conn.execute("INSERT INTO targets (url) VALUES ('https://other.example')")
    sent.conn.execute(
        "INSERT INTO deliveries (run_id, target_id, state, delivered_at) VALUES (?, 2, ?, ?)",
        (run, "delivered", moment(1)),
    )
    assert sent.verify().waiting == ["s"]


def test_a_server_that_got_nothing_is_not_asked(sent: Sent, server: SessionServer) -> None:
    """All sessions wait, and no request is made."""
    sent.run("s", state=None)
    elsewhere = sent.settings._replace(api_url="http://127.0.0.1:9")
    assert verify(sent.path, elsewhere, clock=NOW).waiting == ["s"]
    sent.conn.execute("DROP TABLE targets")  # as in a file of version 1
    assert sent.verify().waiting == ["s"]
    assert server.asked == []


@pytest.mark.parametrize(
    ("here", "there", "agrees"),
    [
        ([0.1, 0.2], 0.3, True),
        ([0.1, 0.2], "0.300000", True),
        ([1.0], 1.000_000_9, True),
        ([1.0], 1.000_01, False),
        ([0.1], 0, False),
        ([0.1], None, False),
        ([None], 0, True),
        ([None], None, True),
        ([None], 0.5, False),
        ([0.0], None, True),
        ([0.0], 0.0, True),
        ([None, 0.1], 0.1, True),
    ],
)
def test_costs_are_compared_as_money(
    sent: Sent, listed: Listed, here: list[float | None], there: object, agrees: bool
) -> None:
    """Rounding in a sum is not a difference, nor is an unknown cost here that is 0 there."""
    run = sent.run("s")
    sent.conn.execute("DELETE FROM llm_calls")
    for cost in here:
        sent.add.llm(run, 0, 0, cost=cost)
    sent.conn.execute("UPDATE deliveries SET state = 'delivered'")
    listed += [theirs("s", total_tokens=0, total_cost=there)]
    assert sent.verify().agrees is agrees


@pytest.mark.parametrize("name", ["run_count", "total_tokens", "total_cost"])
def test_figures_that_are_not_given_are_not_compared(sent: Sent, listed: Listed, name: str) -> None:
    """Servers list more or less; what is absent is not a difference."""
    sent.run("s")
    given = theirs("s")
    del given[name]
    listed += [given]
    assert sent.verify().agrees


def many(sent: Sent, count: int) -> Listed:
    """Add sessions of one run each, in one transaction; return them as a server lists them."""
    sent.conn.execute("BEGIN")
    names = [f"s{number:05d}" for number in range(count)]
    for name in names:
        sent.run(name)
    sent.conn.execute("COMMIT")
    return [theirs(name) for name in names]


@pytest.mark.parametrize(
    ("style", "most", "pages"), [("next", 1_000, 3), ("count", 1_000, 3), ("bare", 77, 7)]
)
def test_all_pages_are_read(
    sent: Sent, server: SessionServer, style: str, most: int, pages: int
) -> None:
    """To the end as the server tells it, or to an empty page; it may give less than was asked."""
    server.answer = listing(many(sent, 450), style=style, most=most)
    assert sent.verify() == Verification(450, [], [], [], [])
    assert len(server.asked) == pages
    assert {asked.limit for asked in server.asked} == {200}
    assert [asked.offset for asked in server.asked][:3] == [0, min(most, 200), 2 * min(most, 200)]


def test_a_session_that_comes_twice_is_one(sent: Sent, server: SessionServer) -> None:
    """A list that grows while it is read shifts; the same session on two pages is not a finding."""
    sessions = many(sent, 250)
    shifted = [*sessions[:200], *sessions[190:]]
    server.answer = listing(shifted)
    assert sent.verify() == Verification(250, [], [], [], [])


def test_findings_beyond_a_number_are_counted(sent: Sent, listed: Listed) -> None:
    """A server that has nothing does not fill the memory with what it lacks."""
    many(sent, LISTED + 5)
    found = sent.verify()
    assert (len(found.missing), found.unlisted, found.checked) == (LISTED, 5, LISTED + 5)


@pytest.mark.parametrize("count", [3, 200])
def test_a_server_without_offsets_is_noticed(sent: Sent, server: SessionServer, count: int) -> None:
    """The same short page again is the end; the same full page is an error, not an endless read."""
    sessions = many(sent, count)
    server.answer = lambda asked: Reply(body=json.dumps({"results": sessions}).encode())
    if count == 3:
        assert sent.verify().checked == 3
    else:
        with pytest.raises(ServerUnreachable, match="ignores the offset"):
            sent.verify()
    assert len(server.asked) == 2


REFUSALS: list[tuple[Reply, type[DeliveryError], str, str]] = [
    (
        Reply(401),
        ServerRefused,
        "does not accept the key for its list of sessions (401)",
        "the key",
    ),
    (
        Reply(403),
        ServerRefused,
        "the server refuses to list sessions (403)",
        "ask for a key that may read",
    ),
    (Reply(404), ServerRefused, "has no list of sessions (404)", "check the server URL"),
    (
        Reply(302, headers=(("Location", "https://login.example/"),)),
        ServerUnreachable,
        "redirects to another address (302)",
        "give the address",
    ),
    (Reply(429), ServerUnreachable, "answered 429", ""),
    (Reply(500), ServerUnreachable, "answered 500", ""),
    (Reply(204), ServerUnreachable, "answered 204", ""),
    (
        Reply(body=b"<html>Welcome to our WiFi</html>"),
        ServerUnreachable,
        "not the expected JSON",
        "login page",
    ),
    (Reply(body=b'{"results": [{"sess'), ServerUnreachable, "not the expected JSON", "login page"),
    (Reply(body=b"[]"), ServerUnreachable, "not the expected JSON", ""),
    (Reply(body=b"[" * 100_000), ServerUnreachable, "not the expected JSON", ""),
    (Reply(body=b'{"results": 3}'), ServerUnreachable, "not the expected JSON", ""),
    (Reply(body=b'{"results": [3]}'), ServerUnreachable, "has no session_id", ""),
    (Reply(body=b'{"results": [{"session_id": 3}]}'), ServerUnreachable, "no session_id", ""),
    (Reply(body=b"{", claimed=99), ServerUnreachable, "does not respond", "nothing is lost"),
    (Reply(body=b" " * 17_000_000), ServerUnreachable, "larger than 16 MB", ""),
]


@pytest.mark.parametrize(("reply", "kind", "said", "hint"), REFUSALS)
def test_a_server_that_gives_no_list_is_told_plainly(
    sent: Sent,
    server: SessionServer,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    kind: type[DeliveryError],
    said: str,
    hint: str,
) -> None:
    """One sentence and a hint; the key is in no log, error, variable or byte of the file."""
    sent.run("s")
    server.answer = lambda asked: reply
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as refused:
        sent.verify()
    error = refused.value
    assert said in str(error)
    assert hint in error.hint
    assert error.__context__ is None
    assert server.asked[0].headers["X-Wax-Key"] == KEY
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = repr([frame.locals for frame in whole.stack if "waxlocal" in frame.filename])
    assert "Secret(set)" in ours
    assert "HTTP Request" in caplog.text or "claimed=99" in repr(reply)
    for shown in (caplog.text, str(error), repr(error), error.hint, ours):
        assert KEY not in shown
    assert KEY.encode() not in everything(sent.path)


@pytest.mark.parametrize("value", [True, "many", [], float("nan"), 10**400, {"a": 1}])
def test_figures_that_are_no_numbers_are_not_compared(
    sent: Sent, server: SessionServer, value: object
) -> None:
    """A server that gives something else for a count is not believed, and stops nothing."""
    sent.run("s")
    body = json.dumps({"results": [theirs("s", run_count=value)], "next": None, "count": value})
    server.answer = lambda asked: Reply(body=body.encode())
    assert sent.verify().agrees


def test_the_key_does_not_follow_a_redirect(sent: Sent, server: SessionServer) -> None:
    """The server it points to is never asked."""
    sent.run("s")
    with session_server(listing([theirs("s")])) as other:
        server.answer = lambda asked: Reply(307, headers=(("Location", other.url),))
        with pytest.raises(ServerUnreachable):
            sent.verify()
        assert other.asked == []
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_told(sent: Sent, server: SessionServer) -> None:
    """With the reason of the system, and exit code 7."""
    sent.run("s")
    server.shutdown()
    server.server_close()
    with pytest.raises(ServerUnreachable, match="Connection refused") as refused:
        sent.verify()
    assert refused.value.exit_code == 7
    assert refused.value.__context__ is None


class _Hurried(FixedClock):
    """A clock on which each look costs a minute."""

    def monotonic_ns(self) -> int:
        self._ns += 60_000_000_000
        return self._ns


def test_an_answer_that_does_not_end_is_given_up(sent: Sent, listed: Listed) -> None:
    """A server may not hold a comparison for longer than a request's time, byte by byte."""
    sent.run("s")
    listed += [theirs("s")]
    with pytest.raises(ServerUnreachable, match="in time"):
        verify(sent.path, sent.settings._replace(request_timeout=30.0), clock=_Hurried(1_000))
    assert verify(sent.path, sent.settings, clock=_Hurried(1_000)).agrees


def test_a_path_of_the_address_is_kept(sent: Sent, server: SessionServer, listed: Listed) -> None:
    """An API below a path is asked there, with a page's size and place."""
    sent.run("s")
    listed += [theirs("s")]
    below = f"{server.url}/waxell"
    sent.conn.execute("UPDATE targets SET url = ?", (below,))
    assert verify(sent.path, sent.settings._replace(api_url=below), clock=NOW).checked == 1
    path = f"/waxell{SESSIONS}?limit=200&offset=0"
    assert [asked.path for asked in server.asked] == [path]


def test_a_proxy_is_used(
    sent: Sent, server: SessionServer, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is asked through the proxy of the environment, unless it is excepted."""
    for name in ("http_proxy", "no_proxy", "NO_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    sent.run("s")
    listed += [theirs("s")]
    hub = "http://hub.invalid"
    sent.conn.execute("UPDATE targets SET url = ?", (hub,))
    settings = sent.settings._replace(api_url=hub, allow_http=True)
    assert verify(sent.path, settings, clock=NOW).checked == 1
    assert server.asked[0].path.startswith(f"{hub}{SESSIONS}")
    monkeypatch.setenv("NO_PROXY", "hub.invalid")
    with pytest.raises(ServerUnreachable):
        verify(sent.path, settings, clock=NOW)


def test_the_client_can_be_replaced(sent: Sent, server: SessionServer, listed: Listed) -> None:
    """Whoever calls may bring a client of other habits; it is closed at the end."""
    sent.run("s")
    listed += [theirs("s")]
    made = []

    def client(settings: UploadSettings) -> Any:
        made.append(make_client(settings))
        made[0].headers["X-Other"] = "yes"
        return made[0]

    assert sent.verify(client=client).checked == 1
    assert server.asked[0].headers["X-Other"] == "yes"
    assert made[0].is_closed


def test_nothing_is_written(sent: Sent, listed: Listed) -> None:
    """A comparison leaves the file as it was, and needs one to be there."""
    sent.run("s")
    before = sent.conn.execute("PRAGMA data_version").fetchone()
    sent.verify()
    assert sent.conn.execute("PRAGMA data_version").fetchone() == before
    with pytest.raises(FileMissing):
        verify(sent.path.with_name("none.db"), sent.settings)


def test_the_totals_are_found_by_index(sent: Sent) -> None:
    """However large the file, a page costs as much as its own sessions and runs."""
    from waxlocal.delivery import comparison

    values = {"target": 1, "began": "", "now": "", "ids": "[]"}
    plan = sent.conn.execute(f"EXPLAIN QUERY PLAN {comparison._SESSIONS}", values).fetchall()
    steps = [row[3] for row in plan]
    assert not [step for step in steps if step.startswith("SCAN") and "json_each" not in step]


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)), st.integers(0, 40))
def test_id_sets_are_a_set(put: list[str], asked: list[str], expected: int) -> None:
    """It knows what was put in, and nothing else, however few were expected."""
    ids = IdSet(expected)
    known: set[str] = set()
    for text in put:
        assert ids.add(text) is (text not in known)
        known.add(text)
    assert len(ids) == len(known)
    assert [text in ids for text in asked + put] == [text in known for text in asked + put]


def test_id_sets_take_little_memory() -> None:
    """100,000 of them fit into 32 bytes each."""
    ids = IdSet(100_000)
    for number in range(100_000):
        ids.add(f"sess_{number}")
    assert ids._slots.itemsize * len(ids._slots) <= 3_200_000
    assert len(ids) == 100_000


def shared(session: str, *rows: dict[str, Any]) -> Callable[[Asked], Reply]:
    """Return what a server answers that has these runs in a session."""

    def answer(asked: Asked) -> Reply:
        if "/detail/" not in asked.path:
            return listing([theirs(session, len(rows))])(asked)
        page = rows[asked.offset :][:PAGE]
        more = "yes" if asked.offset + PAGE < len(rows) else None
        return Reply(body=json.dumps({"runs": page, "next": more}).encode())

    return answer


def run_there(run_id: str, **figures: Any) -> dict[str, Any]:
    """Return a run of 150 tokens and $0.1 as a server lists it."""
    given = {"status": "success", "total_tokens": 150, "total_cost": 0.1}
    return {"run_id": run_id, **given, **figures}


def test_runs_of_others_in_a_session_do_not_count(sent: Sent, server: SessionServer) -> None:
    """Two devices may share one: compared is what this one sent, however many the others have."""
    mine = [sent.run("s"), sent.run("s")]
    others = [run_there(f"other-{number}", status="error") for number in range(2 * PAGE)]
    server.answer = shared("s", run_there(mine[0]), *others, run_there(mine[1]))
    assert sent.verify() == Verification(
        checked=1, missing=[], doubled=[], different=[], waiting=[]
    )


def test_what_is_wrong_with_our_runs_in_a_shared_session_is_found(
    sent: Sent, server: SessionServer
) -> None:
    """One that is there twice, that is not there, that failed there only, that costs more there."""
    mine, second = sent.run("s"), sent.run("s")
    others = [run_there("other"), run_there("another")]
    server.answer = shared("s", *others, run_there(mine), run_there(mine), run_there(second))
    assert sent.verify().doubled == [Difference("s", "run_count", 2, 5)]
    server.answer = shared("s", *others, run_there(mine))
    assert [(one.field, one.here, one.there) for one in sent.verify().different] == [
        ("run_count", 2, 1), ("total_tokens", 300, 150), ("total_cost", 0.2, 0.1)
    ]  # fmt: skip
    wrong = run_there(second, status="blocked", total_cost=0.3)
    server.answer = shared("s", *others, run_there(mine), wrong)
    assert [(one.field, one.here, one.there) for one in sent.verify().different] == [
        ("failed_runs", 0, 1), ("total_cost", 0.2, 0.4)
    ]  # fmt: skip


def test_a_cancelled_run_may_be_an_error_there(sent: Sent, server: SessionServer) -> None:
    """The API knows no such status, and the SDK sends an error."""
    mine = sent.run("s")
    sent.conn.execute("UPDATE runs SET status = 'cancelled', error_type = 'CancelledError'")
    server.answer = shared("s", run_there("other"), run_there(mine, status="error"))
    assert sent.verify().agrees


@pytest.mark.parametrize("name", ["status", "total_tokens", "total_cost"])
def test_a_figure_that_is_not_given_of_a_run_is_not_compared(
    sent: Sent, server: SessionServer, name: str
) -> None:
    """Nor a status that is none of ours."""
    mine = run_there(sent.run("s"), status="completed")
    del mine[name]
    server.answer = shared("s", run_there("other"), mine)
    assert sent.verify().agrees


def odd_pages(kind: str, rows: list[dict[str, Any]]) -> Callable[[Asked], Reply]:
    """Return what a server answers that pages in its own way."""

    def answer(asked: Asked) -> Reply:
        if "/detail/" not in asked.path:
            return listing([theirs("s", len(rows))])(asked)
        size = 40 if kind == "smaller pages" else PAGE
        page = rows[asked.offset :][:size]
        body: dict[str, Any] = {"runs": page}
        if kind == "smaller pages":
            body["next"] = "yes" if asked.offset + size < len(rows) else None
        elif kind in ("always the same", "without end"):
            body["next"] = "yes"
        if kind == "always the same":
            body["runs"] = rows[:PAGE]
        elif kind == "empty":
            body = {"runs": [], "next": "yes"}
        elif kind == "without end":
            body["runs"] = [run_there(f"{asked.offset}-{number}") for number in range(PAGE)]
        return Reply(500) if kind == "broken" else Reply(body=json.dumps(body).encode())

    return answer


@pytest.mark.parametrize(
    ("kind", "agrees"),
    [
        ("smaller pages", True),
        ("no next", True),
        ("always the same", False),
        ("without end", False),
        ("empty", False),
        ("broken", False),
    ],
)
def test_any_way_to_page_comes_to_an_end(
    sent: Sent, server: SessionServer, kind: str, agrees: bool
) -> None:
    """What cannot be read to its end is told as more runs than there should be."""
    mine = [run_there(sent.run("s")) for _ in range(3)]
    others = [run_there(f"other-{number}") for number in range(2 * PAGE)]
    server.answer = odd_pages(kind, [mine[0], *others[:50], mine[1], *others[50:], mine[2]])
    found = sent.verify()
    assert found.agrees is agrees
    assert len(found.doubled) == (not agrees)


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])
def test_two_devices_that_share_a_session_both_agree_with_their_hub(
    db_path: Path, bulk: bool
) -> None:
    """Each finds its own runs, and notices when the hub has lost one."""
    record(3, session="shared")
    other = db_path.with_name("other.db")
    with closing(open_writer(other)) as conn:
        Builder(conn).run("shared", at=5.0)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        for path in (db_path, other):
            upload(path, url_of(client), bulk=bulk)
        settings = settings_for(url_of(client))
        for path in (db_path, other):
            found = verify(path, settings)
            assert (found.checked, found.agrees) == (1, True)
        (lost,) = ask(other, "SELECT run_id FROM runs")[0]
        change(hub, f"DELETE FROM runs WHERE run_id = '{lost}'")
        assert verify(db_path, settings).agrees
        assert verify(other, settings).lacking == ["shared"]
