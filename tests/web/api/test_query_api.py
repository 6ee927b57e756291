"""The query API: what it lists, how it is asked, and the tutorial's own requests."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.tools.builders import moment, run_id
from tests.tools.cli import recorded
from tests.tools.patience import PATIENCE_S
from tests.tools.talks import add_call, thirty_turns
from tests.tools.web import OBSERVABILITY, get, serving, url_of
from waxlocal.queries import ORDERINGS, list_sessions, money, statistics, timing
from waxlocal.storage.connection import reader
from waxlocal.web.api.openapi import openapi_document

KEY = "wax_sk_0123456789abcdef"
# What programs may call a session: anything.
STRANGE_IDS = (
    "a/b",
    "/a//b/",
    "..",
    ".",
    "%2F",
    "%",
    "a?b#c&d=e+f g",
    "stats",
    "detail",
    "día 🙂 ‮",
    "a\nb\tc",
    "'; DROP TABLE runs; --",
    "<script>alert(1)</script>",
    "x" * 5_000,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a few sessions: priced, unpriced, without calls, failed, of no user."""
    path = tmp_path_factory.mktemp("queries") / "waxlocal.db"
    with recorded(path) as builder:
        for turn in range(3):
            run = builder.run("sess_alice", at=60 * turn, seconds=4, user="user_alice")
            builder.llm(run, 100 * (turn + 1), 20, cost=0.0015, at=60 * turn + 2, duration_ms=900)
        broken = builder.run("sess_bob", at=300, user="bob", agent="planner", status="error")
        builder.llm(broken, cost=0.5, at=301, model="claude-sonnet-4-5", provider="anthropic")
        unpriced = builder.run("sess_local", at=400, inputs={"message": "Wo ist die Öffnung?"})
        builder.llm(unpriced, at=401, model="in-house-7b", provider="")
        builder.run("sess_empty", at=500, user="user_alice", seconds=0.25)
        builder.run(None, at=600, user="carol")
    return path


@pytest.fixture(scope="module")
def client(path: Path) -> Iterator[httpx.Client]:
    """Serve that file."""
    with serving(path) as client:
        yield client


def _ids(answer: dict[str, Any]) -> list[str]:
    return [session["session_id"] for session in answer["results"]]


# -- the tutorial ---------------------------------------------------------------------------------

CURL_LINES = tuple(
    f'curl "https://acme.waxell.dev/api/v1/observability/sessions/?{query}" \\\n'
    '-H "X-Wax-Key: wax_sk_..."'
    for query in (
        "limit=20",
        "user_id=user_alice",
        "since=2025-01-14T10:00:00Z",
        "ordering=-total_cost&limit=10",
        "ordering=-total_duration&limit=10",
    )
)
CURL_ANSWERS = (
    ["sess_empty", "sess_local", "sess_bob", "sess_alice"],
    ["sess_empty", "sess_alice"],
    ["sess_empty", "sess_local", "sess_bob", "sess_alice"],
    ["sess_bob", "sess_alice", "sess_empty", "sess_local"],
    ["sess_alice", "sess_local", "sess_bob", "sess_empty"],
)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_work_as_printed(path: Path) -> None:
    """Each of the five lines, but for its host and its key, gives what it is printed for."""
    with serving(path, key=KEY) as client:
        host = url_of(client)
        for line, expected in zip(CURL_LINES, CURL_ANSWERS, strict=True):
            command = line.replace("https://acme.waxell.dev", host).replace("wax_sk_...", KEY)
            done = subprocess.run(
                ["sh", "-c", command], capture_output=True, check=True, timeout=PATIENCE_S
            )
            assert _ids(httpx.Response(200, content=done.stdout).json()) == expected


STEP_7 = """
turn_counts = [s["run_count"] for s in sessions]
avg_turns = sum(turn_counts) / len(turn_counts)
print(f"Average turns per session: {avg_turns:.1f}")

# Distribution
from collections import Counter
distribution = Counter(turn_counts)
for turns, count in sorted(distribution.items()):
    print(f" {turns} turns: {count} sessions")
single_turn = sum(1 for s in sessions if s["run_count"] == 1)
abandonment_rate = single_turn / len(sessions) * 100
print(f"Abandonment rate: {abandonment_rate:.1f}%")
costs = [s["total_cost"] for s in sessions]
avg_cost = sum(costs) / len(costs)
p95_cost = sorted(costs)[int(len(costs) * 0.95)]
print(f"Average cost per session: ${avg_cost:.4f}")
print(f"P95 cost per session: ${p95_cost:.4f}")
"""


def test_the_pattern_program_works_as_printed(
    client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 7 runs over what the API lists: a session without calls cost nothing, not unknown."""
    sessions = [
        *get(client, "sessions/", limit=1000, user_id="user_alice")["results"],
        *get(client, "sessions/", limit=1000, user_id="bob")["results"],
    ]
    exec(STEP_7, {"sessions": sessions})
    assert capsys.readouterr().out.splitlines() == [
        "Average turns per session: 1.7",
        " 1 turns: 2 sessions",
        " 3 turns: 1 sessions",
        "Abandonment rate: 66.7%",
        "Average cost per session: $0.1682",
        "P95 cost per session: $0.5000",
    ]


def test_a_session_has_the_printed_fields(client: httpx.Client) -> None:
    """All fields of the tutorial's answer are there, beside those of the product's other page."""
    (session,) = get(client, "sessions/", search="ÖFFNUNG")["results"]
    assert session["session_id"] == "sess_local"
    (alice,) = get(client, "sessions/", user_id="user_alice", ordering="-total_cost", limit=1)[
        "results"
    ]
    assert {
        "session_id": "sess_alice",
        "run_count": 3,
        "total_cost": 0.0045,
        "total_tokens": 660,
        "total_duration": 12.0,
        "first_run_at": moment(0),
        "last_run_at": moment(120),
        "user_id": "user_alice",
        "agents": ["chatbot"],
        "first_run": moment(0),
        "last_activity": moment(124),
        "priced_share": 1.0,
    }.items() <= alice.items()


# -- sessions -------------------------------------------------------------------------------------


def test_unknown_cost_is_null_and_no_cost_is_zero(client: httpx.Client) -> None:
    """A model without a price makes the cost unknown; without calls there is nothing to pay."""
    costs = {s["session_id"]: s["total_cost"] for s in get(client, "sessions/")["results"]}
    assert costs == {"sess_alice": 0.0045, "sess_bob": 0.5, "sess_local": None, "sess_empty": 0.0}


@pytest.mark.parametrize("ordering", [sign + name for name in ORDERINGS for sign in ("", "-")])
def test_sessions_come_in_the_order_of_the_queries(
    client: httpx.Client, path: Path, ordering: str
) -> None:
    """Every ordering lists what the Python query lists."""
    with reader(path) as connection:
        expected = [one.session_id for one in list_sessions(connection, ordering=ordering)]
    assert _ids(get(client, "sessions/", ordering=ordering)) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"user_id": "bob"}, ["sess_bob"]),
        ({"user_id": ""}, ["sess_empty", "sess_local", "sess_bob", "sess_alice"]),
        ({"agent": "planner"}, ["sess_bob"]),
        ({"status": "error"}, ["sess_bob"]),
        ({"search": "wo ist"}, ["sess_local"]),
        ({"since": moment(450)}, ["sess_empty"]),
        ({"until": moment(200)}, ["sess_alice"]),
        ({"since": "2026-01-31T10:30:00+01:00", "until": moment(200)}, ["sess_alice"]),
        ({"since": "1s"}, []),
        ({"user_id": "bob", "agent": "chatbot"}, []),
    ],
)
def test_filters_hold_together(
    client: httpx.Client, asked: dict[str, str], expected: list[str]
) -> None:
    """Each filter narrows the list, and the count with it."""
    answer = get(client, "sessions/", **asked)
    assert _ids(answer) == expected
    assert answer["count"] == len(expected)


def test_a_plus_sign_that_became_a_space_is_understood(client: httpx.Client) -> None:
    """An offset from UTC survives an address that was put together by hand."""
    answer = client.get(f"{OBSERVABILITY}/sessions/?since=2026-01-31T10:37:30+01:00")
    assert _ids(answer.json()) == ["sess_empty"]


def test_pages_lead_to_each_other(client: httpx.Client) -> None:
    """Following `next` gives every session once, following `previous` leads back."""
    address = f"{OBSERVABILITY}/sessions/?limit=3&user_id="
    pages = []
    while address:
        pages.append(client.get(address).json())
        address = pages[-1]["next"]
    assert [len(page["results"]) for page in pages] == [3, 1]
    assert {page["count"] for page in pages} == {4}
    assert pages[0]["previous"] is None
    assert pages[0]["next"].startswith(str(client.base_url))
    assert client.get(pages[1]["previous"]).json()["results"] == pages[0]["results"]


def test_addresses_keep_what_was_asked(client: httpx.Client) -> None:
    """The next page has the same filter, by the name that the client used."""
    host = f"localhost:{client.base_url.port}"
    answer = client.get(
        f"{OBSERVABILITY}/sessions", params={"agent": "chatbot", "limit": 1}, headers={"Host": host}
    )
    assert answer.json()["next"] == (
        f"http://{host}{OBSERVABILITY}/sessions?agent=chatbot&limit=1&offset=1"
    )


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1e9",
        "limit=1_0",
        "limit=٣",
        "limit=",
        "limit=99999999999999999999999",
        "offset=-1",
        "offset=9223372036854775808",
        "ordering=",
        "ordering=--total_cost",
        "ordering=title",
        "ordering=total_cost;DROP TABLE runs",
        "ordering=(SELECT 1)",
        "status=done",
        "since=yesterday",
        "since=2026-02-30",
        "until=",
        "limit=1&limit=2",
        "user_id=a&user_id=b",
        "filter[user_id]=a",
        "&".join(f"a{n}=1" for n in range(101)),
    ],
)
def test_what_cannot_be_asked_is_said(client: httpx.Client, query: str) -> None:
    """A bad value is an error with a hint, never a list of something else."""
    answer = client.get(f"{OBSERVABILITY}/sessions/?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400
    assert problem["type"].startswith("urn:waxlocal:problem:")
    assert problem["detail"]


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("limit=0", "use an integer from 1 to 1000"),
        ("offset=-1", "use an integer of 0 or more"),
        ("offset=9223372036854775808", "use an integer from 0 to 9223372036854775807"),
    ],
)
def test_the_hint_says_which_numbers_are_taken(client: httpx.Client, query: str, hint: str) -> None:
    """How far 64 bits can count is said only to a client that asked for more."""
    assert client.get(f"{OBSERVABILITY}/sessions/?{query}").json()["hint"] == hint


def test_runs_take_the_filters_of_sessions(client: httpx.Client) -> None:
    """And those without a session are asked for by name."""
    assert [run["user_id"] for run in get(client, "runs/", no_session="true")["results"]] == [
        "carol"
    ]
    assert get(client, "runs/", no_session="false")["count"] == 7
    found = get(client, "runs/", search="öffnung")
    assert [run["session_id"] for run in found["results"]] == ["sess_local"]
    assert get(client, "runs/", agent="planner", status="error")["count"] == 1
    assert get(client, "runs/", tag="none")["count"] == 0
    page = get(client, "runs/", no_session="false", user_id="user_alice", limit=1)
    assert "no_session=false" in page["next"]


@pytest.mark.parametrize("query", ["no_session=", "no_session=1", "no_sesion=true"])
def test_what_runs_cannot_be_asked_is_said(client: httpx.Client, query: str) -> None:
    """A flag is true or false."""
    problem = client.get(f"{OBSERVABILITY}/runs/?{query}").json()
    assert (problem["status"], bool(problem["hint"])) == (400, True)


def test_a_slip_in_a_name_is_pointed_out(client: httpx.Client) -> None:
    """An unknown parameter is an error that names the nearest known one."""
    problem = client.get(f"{OBSERVABILITY}/sessions/?usr_id=alice").json()
    assert problem["type"] == "urn:waxlocal:problem:unknown-parameter"
    assert problem["hint"].startswith("did you mean user_id?")
    assert "ordering" in problem["allowed"]


def test_statistics_are_those_of_the_query(client: httpx.Client, path: Path) -> None:
    """The figures are the Python query's, the filter's too."""
    with reader(path) as connection:
        expected = statistics(connection)
    answer = get(client, "sessions/stats/")
    assert answer["average_turns"] == expected.average_turns
    assert answer["distribution"] == {"1": 3, "3": 1}
    assert answer["abandonment_rate"] == 0.75
    assert get(client, "sessions/stats/", user_id="bob")["sessions"] == 1


# -- one session ----------------------------------------------------------------------------------


def test_a_session_shows_its_runs_in_order(client: httpx.Client) -> None:
    """The detail has the list's fields and the runs, first to last, in pages."""
    whole = get(client, "sessions/sess_alice/")
    assert [run["started_at"] for run in whole["runs"]] == [moment(0), moment(60), moment(120)]
    assert whole["total_cost"] == 0.0045
    assert whole["next"] is None
    page = get(client, "sessions/sess_alice/", limit=1, offset=1)
    assert [run["run_id"] for run in page["runs"]] == [run_id(2)]
    assert page["next"].endswith("/sessions/sess_alice/?limit=1&offset=2")
    assert page["previous"].endswith("/sessions/sess_alice/?limit=1&offset=0")


def test_where_cost_and_time_went_can_be_asked_for(client: httpx.Client, path: Path) -> None:
    """`include` adds the two breakdowns, as the queries give them."""
    assert "money" not in get(client, "sessions/sess_alice/")
    whole = get(client, "sessions/sess_alice/", include="money,timing")
    with reader(path) as connection:
        assert whole["money"]["verdict"] == money(connection, "sess_alice").verdict
        assert whole["timing"]["wall_duration"] == timing(connection, "sess_alice").wall_duration
    assert client.get(f"{OBSERVABILITY}/sessions/sess_alice/?include=all").status_code == 400


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Serve a file with sessions of strange ids."""
    path = tmp_path_factory.mktemp("strange") / "waxlocal.db"
    with recorded(path) as builder:
        for session_id in STRANGE_IDS:
            builder.run(session_id)
    with serving(path) as client:
        yield client


@pytest.mark.parametrize("session_id", STRANGE_IDS, ids=range(len(STRANGE_IDS)))
def test_a_session_of_any_id_can_be_asked_for(strange: httpx.Client, session_id: str) -> None:
    """The parameter takes every id; the path takes all but those that mean something else there."""
    assert get(strange, "sessions/detail/", session_id=session_id)["session_id"] == session_id
    if session_id not in ("..", ".", "stats", "detail"):
        for end in ("", "/"):
            address = f"{OBSERVABILITY}/sessions/{quote(session_id, safe='')}{end}"
            assert strange.get(address).json()["session_id"] == session_id


def test_slashes_of_an_id_may_stay(strange: httpx.Client) -> None:
    """An id with a slash inside is found with and without its encoding."""
    assert get(strange, "sessions/a/b/")["session_id"] == "a/b"


@pytest.mark.parametrize(
    "address",
    [
        "sessions/..;/..;/etc/passwd",
        "sessions/%2e%2e%2f%2e%2e%2fetc%2fpasswd/",
        "sessions/%252e%252e/",
        "sessions/..%5c..%5c/",
        "sessions/%00/",
        "sessions/%ff%fe/",
        "sessions/sess/",
        "runs/nope/",
        "runs/wf_nope/",
        "runs/sess_alice/",
        "nowhere/",
        "",
    ],
)
def test_what_is_not_there_is_not_found(client: httpx.Client, address: str) -> None:
    """Other ids, prefixes of ids and paths out of here are problems, not something else."""
    answer = client.get(f"{OBSERVABILITY}/{address}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:waxlocal:problem:not-found"


def test_addresses_mean_the_same_with_and_without_a_slash(client: httpx.Client) -> None:
    """No redirect: a client that follows none gets its answer."""
    for path in ("sessions", "sessions/stats", "sessions/sess_bob", "runs", "users"):
        answers = [client.get(f"{OBSERVABILITY}/{path}{end}") for end in ("", "/")]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()


# -- runs, users, models --------------------------------------------------------------------------


def test_runs_are_listed_newest_first(client: httpx.Client) -> None:
    """All runs, those outside of sessions too, in pages and by filter."""
    answer = get(client, "runs/", limit=2)
    assert [run["run_id"] for run in answer["results"]] == [run_id(7), run_id(6)]
    assert answer["count"] == 7
    assert answer["results"][1]["total_cost"] == 0.0
    for asked, expected in (
        ({"session_id": "sess_alice"}, [3, 2, 1]),
        ({"user_id": "carol"}, [7]),
        ({"agent": "planner"}, [4]),
        ({"status": "error"}, [4]),
        ({"since": moment(400), "until": moment(500)}, [6, 5]),
        ({"ordering": "started_at", "user_id": "user_alice"}, [1, 2, 3, 6]),
        ({"ordering": "duration", "user_id": "user_alice", "limit": "1"}, [6]),
    ):
        found = get(client, "runs/", **asked)["results"]
        assert [run["run_id"] for run in found] == [run_id(number) for number in expected]


def test_a_run_shows_all_that_it_recorded(client: httpx.Client) -> None:
    """By its run id or its workflow id, with its calls and its neighbours."""
    run = get(client, f"runs/{run_id(2)}/")
    assert get(client, f"runs/wf_{run_id(2)}/") == run
    assert run["llm_call_count"] == 1
    assert [call["tokens_in"] for call in run["llm_calls"]] == [200]
    assert (run["previous_run_id"], run["next_run_id"]) == (run_id(1), run_id(3))


def test_open_runs_of_ended_processes_are_interrupted(tmp_path: Path) -> None:
    """The filter goes by what is shown, not by what a killed process could not write."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as builder:
        gone, alive = builder.process(alive=False), builder.process(alive=True)
        builder.run("s1", seconds=None, process=gone)
        builder.run(None, seconds=None, process=gone)
        builder.run("s2", seconds=None, process=alive)
        builder.run("s3", seconds=None)
        builder.run("s4", status="interrupted")
    with serving(path) as client:
        for status, expected in (("interrupted", [5, 2, 1]), ("running", [4, 3])):
            found = get(client, "runs/", status=status)
            assert [run["id"] for run in found["results"]] == expected
            assert {run["status"] for run in found["results"]} == {status}


def test_users_are_listed_with_what_they_used(client: httpx.Client) -> None:
    """All with a name, over their sessions and the runs outside of any."""
    answer = get(client, "users/", ordering="user_id")
    assert [user["user_id"] for user in answer["results"]] == ["bob", "carol", "user_alice"]
    assert answer["count"] == 3
    costs = {user["user_id"]: (user["llm_calls"], user["total_cost"]) for user in answer["results"]}
    assert costs["carol"] == (0, 0)
    assert get(client, "users/", limit=1)["next"]
    assert client.get(f"{OBSERVABILITY}/users/?ordering=name").status_code == 400


def test_models_are_summed_and_split_by_day(client: httpx.Client) -> None:
    """Totals, each model with its share, and days; unknown prices stay unknown."""
    answer = get(client, "analytics/models/", since="2026-01-01")
    assert answer["aggregates"]["total_calls"] == 5
    assert answer["aggregates"]["total_cost"] == 0.5045
    by_model = {one["model"]: one for one in answer["model_totals"]}
    assert by_model["in-house-7b"]["total_cost"] is None
    assert by_model["in-house-7b"]["percentage"] is None
    assert by_model["gpt-4o"]["percentage"] == 0.9
    assert [(day["date"], day["model"], day["calls"]) for day in answer["time_series"]] == [
        ("2026-01-31", "claude-sonnet-4-5", 1),
        ("2026-01-31", "gpt-4o", 3),
        ("2026-01-31", "in-house-7b", 1),
    ]
    of_planner = get(client, "analytics/models/", agent="planner")
    assert [one["model"] for one in of_planner["model_totals"]] == ["claude-sonnet-4-5"]
    assert [one["model"] for one in of_planner["time_series"]] == ["claude-sonnet-4-5"]
    assert get(client, "analytics/models/", period="1s")["model_totals"] == []


# -- freshness ------------------------------------------------------------------------------------


def test_what_was_recorded_since_is_shown_and_priced(tmp_path: Path) -> None:
    """A run of another process is there with the next request; its model's price, too."""
    path = tmp_path / "waxlocal.db"
    with serving(path) as client, recorded(path) as builder:
        assert get(client, "sessions/")["count"] == 0
        run = builder.run("s1")
        builder.insert("model_prices", model="gpt-4o", provider="openai", source="pending",
                       updated_at=moment(0))  # fmt: skip
        builder.llm(run, 1000, 500)
        assert get(client, "sessions/")["count"] == 1
    with serving(path) as client:
        assert get(client, "sessions/s1/")["total_cost"] == 0.0075


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    """Answers come from the file that is at the path now."""
    path, other = tmp_path / "waxlocal.db", tmp_path / "other.db"
    for file, session_id in ((path, "old"), (other, "new")):
        with recorded(file) as builder:
            builder.run(session_id)
    with serving(path) as client:
        assert _ids(get(client, "sessions/")) == ["old"]
        for suffix in ("", "-wal", "-shm"):
            found = other.with_name(other.name + suffix)
            if found.exists():
                found.rename(path.with_name(path.name + suffix))
        assert _ids(get(client, "sessions/")) == ["new"]
        path.rename(other)
        missing = client.get(f"{OBSERVABILITY}/sessions/")
        assert missing.status_code == 503
        assert missing.headers["retry-after"]


def test_recorded_text_is_only_text(tmp_path: Path) -> None:
    """What a program recorded comes out as JSON of the right type, whatever it looks like."""
    path = tmp_path / "waxlocal.db"
    hostile = "</script><script>alert(1)</script>\u2028\x00"
    with recorded(path) as builder:
        builder.run("s1", inputs={"message": hostile}, agent=hostile)
    with serving(path) as client:
        answer = client.get(f"{OBSERVABILITY}/runs/{run_id(1)}/")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["inputs"] == {"message": hostile}
    assert re.fullmatch(r"\{.*\}", answer.text, re.DOTALL)


def test_the_cost_of_a_session_has_the_changes_of_its_history(tmp_path: Path) -> None:
    """As the document describes them."""
    path = tmp_path / "talk.db"
    with recorded(path) as to:
        for number, messages in enumerate(thirty_turns()):
            add_call(to, to.run("talk", at=number * 10), messages)
    with serving(path) as client:
        found = get(client, f"{OBSERVABILITY}/sessions/talk/", include="money")["money"]
    assert (found["forks"], found["compactions"]) == (1, 1)
    first, second = found["history"]
    assert first == {
        "kind": "compaction",
        "turn": 12,
        "run_id": run_id(12),
        "position": 1,
        "from_turn": None,
        "messages_before": 22,
        "messages_after": 3,
        "messages_kept": 1,
        "text": "history compacted at turn 12: 22 messages became 3",
        "mark": "history compacted",
    }
    assert (second["kind"], second["turn"], second["from_turn"]) == ("fork", 25, 16)
    schemas = openapi_document(with_key=False)["components"]["schemas"]
    assert schemas["Money"]["properties"]["history"]["items"]["$ref"].endswith("/HistoryChange")
    assert schemas["HistoryChange"]["required"] == list(first)
