"""What each verb answers, from the tables to JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.tools.builders import moment, run_id
from tests.tools.cli import answer, invoke, recorded
from tests.tools.pages import dashboard
from tests.tools.talks import add_call, thirty_turns
from waxlocal.cli import row_pages
from waxlocal.queries import Session, list_sessions
from waxlocal.records import LLM_CALLS, Kind
from waxlocal.storage.connection import reader
from waxlocal.storage.schema import VERSION, schema_text
from waxlocal.wording import NOTHING


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Two sessions: a priced one of two turns, and one with an unknown price that failed."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        first = file.run("sess_aa", user="alice", inputs={"message": "How deep is it?"},
                         result={"response": "Forty metres."}, tags={"channel": "web"})  # fmt: skip
        file.llm(first, 900, 100, at=0.8, cost=0.0045, duration_ms=800)
        second = file.run("sess_aa", user="alice", at=60, inputs={"message": "And how wide?"})
        file.llm(second, 200, 50, at=61, cost=0.001, duration_ms=500, reasoning_tokens=20)
        file.span(second, at=60, seconds=0.2, name="measure")
        failed = file.run("sess_ab", user="bob", agent="guide", at=120, seconds=3, status="error",
                          error="no answer", error_type="TimeoutError",
                          traceback="Traceback ...\nTimeoutError: no answer")  # fmt: skip
        file.llm(failed, 70, 0, at=121, model="house-model", provider="")
        file.step(failed, "look", output={"found": 0})
        file.score(failed, "helpful", numeric_value=0.25, comment="poor")
        file.event(failed, "policy_check", data={"action": "allow"})
    return path


def test_sessions_come_in_columns_when_piped(db: Path) -> None:
    """In a pipe each session is one line, whole, in plain text, with ISO times."""
    lines = invoke("sessions", db=db).stdout.splitlines()
    assert lines[0].split()[:4] == ["Session", "User", "Agents", "Turns"]
    assert [line.split()[0] for line in lines[1:]] == ["sess_ab", "sess_aa"]
    assert "2026-01-31T09:32:03.000000Z" in lines[1]
    assert "unknown" in lines[1]
    assert "error" in lines[1]
    assert "$0.0055" in lines[2]
    assert lines[2].endswith("How deep is it?")


def test_sessions_as_json_have_the_names_of_the_api(db: Path) -> None:
    """Cost is a number or null, never 0 for unknown, and says which share of it is known."""
    latest, first = answer("sessions", db=db)
    assert latest["session_id"] == "sess_ab"
    assert latest["total_cost"] is None
    assert latest["priced_share"] == 0.0
    assert first["run_count"] == 2
    assert first["total_tokens"] == 1250
    assert first["total_cost"] == pytest.approx(0.0055)
    assert first["priced_share"] == 1.0
    assert first["agents"] == ["chatbot"]


def test_sessions_as_csv_leave_the_unknown_empty(db: Path) -> None:
    """The header names the fields; an unknown cost is an empty cell."""
    rows = list(csv.DictReader(io.StringIO(invoke("sessions", "--csv", db=db).stdout)))
    assert [row["session_id"] for row in rows] == ["sess_ab", "sess_aa"]
    assert rows[0]["total_cost"] == ""
    assert float(rows[1]["total_cost"]) == pytest.approx(0.0055)


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--user", "alice"], ["sess_aa"]),
        (["--agent", "guide"], ["sess_ab"]),
        (["--tag", "channel=web"], ["sess_aa"]),
        (["--metadata", "channel"], []),
        (["--status", "error"], ["sess_ab"]),
        (["--since", "2026-01-31T09:31:30Z"], ["sess_ab"]),
        (["--until", "2026-01-31T09:31:30Z"], ["sess_aa"]),
        (["--since", "24h"], []),
        (["--search", "FORTY"], ["sess_aa"]),
        (["--order", "-total_cost"], ["sess_aa", "sess_ab"]),
        (["--order", "first_run_at"], ["sess_aa", "sess_ab"]),
        (["--by", "turns"], ["sess_aa", "sess_ab"]),
        (["--by", "duration"], ["sess_ab", "sess_aa"]),
        (["--limit", "1"], ["sess_ab"]),
        (["--limit", "1", "--offset", "1"], ["sess_aa"]),
    ],
)
def test_sessions_are_filtered_and_ordered(db: Path, options: list[str], ids: list[str]) -> None:
    """Every filter, ordering and page of the queries can be said on the command line."""
    assert [one["session_id"] for one in answer("sessions", *options, db=db)] == ids


def test_an_empty_answer_says_so_and_is_no_failure(db: Path) -> None:
    """Nothing on stdout, a hint on stderr, exit status 0."""
    result = invoke("sessions", "--user", "nobody", db=db)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"No session matches.\nTry: fewer filters, or: waxlocal --db {db} sessions\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sessions", "No more sessions: there are only 2."),
        ("users", "No more users: there are only 2."),
        ("session sess_aa", "No more turns: there are only 2."),
    ],
)
def test_a_page_after_the_last_row_says_so(db: Path, words: str, said: str) -> None:
    """It is not that nothing was recorded, or that a filter fits nothing."""
    result = invoke(*words.split(), "--offset", "9", db=db)
    assert result.exit_code == 0
    assert result.stderr == f"{said}\nTry: a smaller --offset\n"


def test_statistics_of_no_session_say_why(tmp_path: Path) -> None:
    """As the list of sessions does: without a filter, fewer filters are no advice."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        file.run(None)
    listed, summed = invoke("sessions", db=path), invoke("stats", db=path)
    assert "no recorded run has a session" in listed.stderr
    assert (summed.exit_code, summed.stdout, summed.stderr) == (0, "", listed.stderr)


def test_the_file_may_be_named_after_the_verb(db: Path) -> None:
    """`--db` holds wherever it stands, and the last one wins."""
    assert invoke("sessions", "--db", db).stdout == invoke("sessions", db=db).stdout
    assert invoke("sessions", "--db", db, db=Path("/nowhere.db")).exit_code == 0
    assert invoke("prices", "list", "--db", db).exit_code == 0


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("verb", ["sessions", "users", "stats", "models", "session sess_aa"])
def test_no_line_is_wider_than_the_terminal(db: Path, verb: str, width: int) -> None:
    """Tables fit the window; figures are whole, texts are cut with an ellipsis."""
    env = {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": str(width)}
    lines = invoke(*verb.split(), db=db, **env).stdout.splitlines()
    if verb == "models":  # a command to be copied stands in one line
        lines.remove(f"  waxlocal --db {db} prices list")
    room = max(width, 72)  # figures alone take that much in the widest tables
    assert max(map(cell_len, lines)) <= room


def test_tokens_that_nobody_told_are_unknown_in_each_turn_and_model(tmp_path: Path) -> None:
    path = tmp_path / "waxlocal.db"
    with recorded(path) as make:
        make.llm(make.run("s"), 100, 10, cost=0.1, model="told")
        make.llm(make.run("s", at=1), 0, 0, model="failed", usage_known=0)
    cost = invoke("session", "s", db=path).stdout.partition("\nCost\n")[2]
    rows = [line.split() for line in cost.splitlines()]
    assert ["2", "unknown", "unknown", NOTHING, "unknown", "unknown"] in rows
    assert ["failed", "1", "unknown", "unknown", "unknown"] in rows


def test_a_session_is_told_turn_by_turn(db: Path) -> None:
    """Message, answer, figures of each turn, then where money and time went."""
    text = invoke("session", "sess_aa", db=db).stdout
    assert "2 turns · 1,250 tokens · $0.0055 · 2.0 s agent time · 1 m 1 s elapsed" in text
    assert "> How deep is it?\n   < Forty metres.\n" in text
    assert "> And how wide?" in text
    assert text.index("\nCost\n") < text.index("\nTime\n")
    assert f"run {run_id(1)}" in text


def test_the_hundredth_turn_is_told_like_the_first(tmp_path: Path) -> None:
    """A number of three digits does not run into the time."""
    db = tmp_path / "waxlocal.db"
    with recorded(db) as file:
        for second in range(100):
            file.run("sess_long", at=second)
    text = invoke("session", "sess_long", "--limit", "200", db=db).stdout
    assert re.search(r"^100 2026-", text, re.MULTILINE)


def test_a_failed_turn_shows_its_error(db: Path) -> None:
    """The error stands where the answer would."""
    text = invoke("session", "sess_ab", db=db).stdout
    assert "! TimeoutError: no answer" in text
    assert "unknown cost" in text
    assert "elapsed  error\n" in text


def test_a_session_as_json_holds_its_runs_money_and_timing(db: Path) -> None:
    """One document: the session's fields, and three parts."""
    whole = answer("session", "sess_aa", db=db)
    assert whole["session_id"] == "sess_aa"
    assert [run["message"] for run in whole["runs"]] == ["How deep is it?", "And how wide?"]
    assert whole["money"]["cost"] == pytest.approx(0.0055)
    assert whole["timing"]["seconds"]["llm"] > 0


def test_an_id_may_be_cut_as_long_as_it_fits_one(db: Path) -> None:
    """Prefixes of session, run and workflow ids resolve."""
    assert answer("session", "sess_ab", db=db)["session_id"] == "sess_ab"
    assert answer("session", "sess_a", db=_one_session(db))["session_id"] == "sess_alone"
    assert answer("show", run_id(2), db=db)["run_id"] == run_id(2)
    assert answer("show", f"wf_{run_id(2)}", db=db)["run_id"] == run_id(2)


def _one_session(db: Path) -> Path:
    path = db.with_name("one.db")
    with recorded(path) as file:
        file.run("sess_alone")
    return path


def test_show_has_everything_of_a_run(db: Path) -> None:
    """Error with traceback, calls, steps, scores, events, and the way to its neighbours."""
    text = invoke("show", run_id(3), db=db).stdout
    for part in (
        "TimeoutError: no answer",
        "Traceback ...",
        "house-model  70 in · 0 out · unknown cost",
        'look  chain  {"found": 0}',
        "helpful  0.25  poor",
        'policy_check  {"action": "allow"}',
    ):
        assert part in text
    assert f"previous  {run_id(1)}" in invoke("show", run_id(2), db=db).stdout
    assert "measure  tool  200 ms" in invoke("show", run_id(2), db=db).stdout
    assert "200 in · 50 out (20 reasoning)" in invoke("show", run_id(2), db=db).stdout


def test_show_says_what_was_sound_among_the_tokens(tmp_path: Path) -> None:
    """And images, of which only the details tell."""
    path = tmp_path / "waxlocal.db"
    finer = {"audio_in": 30, "tool_use_in": 4, "audio_out": 15, "accepted_prediction": 2}
    with recorded(path) as file:
        run = file.run()
        file.llm(run, 50, 20, details=json.dumps({"token_details": finer}))
    found = invoke("show", run_id(1), db=path).stdout
    assert "50 in (30 audio, 4 tool use) · 20 out (15 audio)" in found


# What `show` does not print of a call; `--json` and the page of the run have it.
_LEFT_OUT = {"cost_source", "messages", "tools", "details"}
_VALUES = {Kind.TEXT: "other", Kind.JSON: '{"a":1}', Kind.TIME: "2026-01-31T09:31:00.000000Z"}


def test_show_prints_every_column_of_a_call(tmp_path: Path) -> None:
    """A new one, too, without a place of its own: it differs where the column does."""
    path = tmp_path / "waxlocal.db"
    columns = [one for one in LLM_CALLS.columns if one.name in LLM_CALLS.defaults]
    with recorded(path) as file:
        file.llm(file.run(), status="error", error_message="no")
        for one in columns:
            value = _VALUES.get(one.kind, 0 if one.default else 7)
            given = {"status": "error", "error_message": "no", one.name: value}
            file.llm(file.run(), **given)
    texts = [
        invoke("show", run_id(number), db=path).stdout.partition("LLM calls")[2].partition("Rel")[0]
        for number in range(1, len(columns) + 2)
    ]
    same = {one.name for one, text in zip(columns, texts[1:], strict=True) if text == texts[0]}
    assert same == _LEFT_OUT


def test_show_prints_what_a_call_was_asked(tmp_path: Path) -> None:
    """The user's last message, where the program recorded messages and no preview."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        file.llm(file.run(), messages='[{"role":"user","content":"How deep?"}]', response="Forty.")
    assert "  > How deep?\n  < Forty.\n" in invoke("show", run_id(1), db=path).stdout


def test_show_as_json_is_one_flat_run(db: Path) -> None:
    """The run's own fields stand at the top, beside what it recorded."""
    run = answer("show", run_id(3), db=db)
    assert run["run_id"] == run_id(3)
    assert run["traceback"].endswith("no answer")
    assert [call["model"] for call in run["llm_calls"]] == ["house-model"]
    assert run["scores"][0]["value"] == 0.25


def test_statistics_are_those_of_the_tutorial(db: Path) -> None:
    """Turns, abandonment and cost of all sessions; the same numbers as text and as JSON."""
    figures = answer("stats", db=db)
    assert figures["sessions"] == 2
    assert figures["average_turns"] == 1.5
    assert figures["distribution"] == {"1": 1, "2": 1}
    assert figures["abandonment_rate"] == 0.5
    assert figures["abandoned_error"] == 1
    assert figures["p95_cost"] == pytest.approx(0.0055)
    assert [one["session_id"] for one in figures["most_expensive"]] == ["sess_aa"]
    assert [one["session_id"] for one in figures["slowest"]] == ["sess_ab", "sess_aa"]
    text = invoke("stats", db=db).stdout
    assert "average 1.5, median 1.5" in text
    assert "50.0%  1 of 2 sessions ended after a single turn (1 failed)" in text
    assert "cost covers 1 session; unknown for 1\n" in text


def test_users_and_models_are_listed(db: Path) -> None:
    """Each with tokens, cost and the share of it that is known."""
    bob, alice = answer("users", db=db)
    assert (bob["user_id"], bob["total_cost"]) == ("bob", None)
    assert alice["total_cost"] == pytest.approx(0.0055)
    house, gpt = answer("models", db=db)
    assert (house["model"], house["priced_share"]) == ("house-model", 0.0)
    assert (gpt["model"], gpt["calls"]) == ("gpt-4o", 2)
    assert f"waxlocal --db {db} prices list" in invoke("models", db=db).stdout
    assert answer("users", "--order", "user_id", "--limit", "1", db=db)[0]["user_id"] == "alice"


def test_a_price_is_set_recomputes_and_is_unset(db: Path) -> None:
    """`prices set` gives the model's calls a cost, `unset` takes it away again."""
    with recorded(db) as file:
        file.insert("model_prices", model="house-model", provider="", source="pending",
                    updated_at="2026-01-31T09:30:00.000000Z")  # fmt: skip
    listed = invoke("prices", db=db).stdout
    assert f"waxlocal --db {db} prices set house-model --input X --output Y" in listed
    narrow = invoke("prices", db=db, FORCE_COLOR="1", NO_COLOR="1", COLUMNS="60").stdout
    assert f"waxlocal --db {db} prices set house-model --input X --output Y\n" in narrow
    done = answer("prices", "set", "house-model", "--input", "100", "--output", "200", db=db)
    assert done == {"calls": 1, "changed": 1, "before": None, "after": 0.007}
    assert answer("session", "sess_ab", db=db)["total_cost"] == 0.007
    (price,) = answer("prices", "list", db=db)
    assert (price["input_per_mtok"], price["source"]) == (100.0, "override")
    undone = invoke("prices", "unset", "house-model", db=db)
    assert undone.stdout == "1 call checked, 1 changed · $0.0070 → unknown\n"
    assert answer("session", "sess_ab", db=db)["total_cost"] is None
    assert answer("prices", "reprice", db=db)["changed"] == 0


def test_prices_of_finer_counts_are_listed_below_the_others(db: Path) -> None:
    """Sound and what the cache keeps for an hour; nothing is said where no model has any."""
    assert "price of its own" not in invoke("prices", db=db).stdout
    tiers = [{"above": 0, "input": 2.5, "audio_in": 32.0, "audio_out": 64.5, "cache_write_1h": 10}]
    tiers[0]["web_searches"] = 10_000.0
    with recorded(db) as file:
        file.insert("model_prices", model="gpt-audio", provider="openai", source="override",
                    input_per_mtok=2.5, output_per_mtok=10.0, tiers=json.dumps(tiers),
                    updated_at="2026-01-31T09:30:00.000000Z")  # fmt: skip
    assert invoke("prices", db=db).stdout.endswith(
        "What has a price of its own:\n"
        "gpt-audio (openai): $10.00 for tokens kept in the cache for an hour, "
        "$32.00 for input tokens of sound, $64.50 for output tokens of sound, "
        "$10.00 a thousand for searches in the web\n"
    )


def test_a_price_that_changes_nothing_yet_says_so(db: Path) -> None:
    """It is kept for later calls; a note on stderr says which name was looked for."""
    price = ("--input", "1", "--output", "1")
    early = invoke("prices", "set", "gpt-4oo", *price, db=db)
    assert (early.exit_code, early.stdout) == (0, "0 calls checked, 0 changed\n")
    assert "no recorded call of 'gpt-4oo' has" in early.stderr
    assert early.stderr.splitlines()[1].endswith(f"waxlocal --db {db} models")
    elsewhere = invoke("prices", "set", "house-model", "--provider", "acme", *price, db=db)
    assert "'house-model' with the provider 'acme'" in elsewhere.stderr
    assert invoke("prices", "set", "house-model", *price, db=db).stderr == ""
    assert invoke("prices", "reprice", "gpt-4oo", db=db).exit_code == 0


def test_a_pending_price_is_looked_up_before_an_answer(tmp_path: Path) -> None:
    """A call recorded without a cost has one by the time somebody asks."""
    db = tmp_path / "waxlocal.db"
    with recorded(db) as file:
        run = file.run("sess_new", at=300)
        file.llm(run, 1000, 500, at=301, model="gpt-4o")
        file.insert("model_prices", model="gpt-4o", provider="openai", source="pending",
                    updated_at="2026-01-31T09:30:00.000000Z")  # fmt: skip
    assert answer("session", "sess_new", db=db)["total_cost"] == pytest.approx(0.0075)


def test_path_says_where_the_file_is_and_what_it_holds(db: Path) -> None:
    """Also of a file that does not exist yet."""
    assert invoke("path", db=db).stdout == f"{db}\n"
    said = answer("path", db=db)
    assert (said["path"], said["exists"], said["schema_version"]) == (str(db), True, VERSION)
    assert said["bytes"] == db.stat().st_size
    missing = answer("path", db=db.with_name("none.db"))
    assert (missing["exists"], missing["bytes"], missing["schema_version"]) == (False, 0, None)


def test_schema_is_the_whole_schema() -> None:
    """What is printed makes the tables of a file."""
    printed = invoke("schema").stdout
    assert printed == schema_text()
    connection = sqlite3.connect(":memory:")
    connection.executescript(printed)
    connection.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_for_this_command(shell: str) -> None:
    """Each shell gets a script that asks `waxlocal`."""
    script = invoke("completion", shell).stdout
    assert "_WAXLOCAL_COMPLETE" in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("waxlocal sess", {"sessions", "session"}),
        ("waxlocal --db {db} session sess_a", {"sess_aa", "sess_ab"}),
        ("waxlocal session --db {db} sess_ab", {"sess_ab"}),
        ("waxlocal --db {db} show 0194", {run_id(1), run_id(2), run_id(3)}),
        ("waxlocal sessions --order total_c", {"total_cost"}),
        ("waxlocal sessions --status in", {"interrupted"}),
        ("waxlocal --db /nowhere.db session s", set()),
    ],
)
def test_the_shell_completes_verbs_ids_and_orderings(
    db: Path, words: str, expected: set[str]
) -> None:
    """What can stand at a place is offered; without a file, nothing."""
    typed = words.format(db=db)
    env = {
        "_WAXLOCAL_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    offered = invoke(**env).stdout.splitlines()
    assert {line.partition(",")[2] for line in offered if line} == expected


def test_an_unknown_cost_beside_calls_without_tokens_is_not_0(tmp_path: Path) -> None:
    """A failed call cost nothing; what the other one cost is not known."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        run = file.run("sess_aa")
        file.llm(run, 500, 50, model="nobody's")
        file.llm(run, 0, 0, model="nobody's", cost=0.0, status="error")
    for verb in (("sessions",), ("session", "sess_aa"), ("models",)):
        text = invoke(*verb, db=path).stdout
        assert "unknown" in text
        assert not re.search(r"\$0(?![.\d])", text)
    with dashboard(path) as pages:
        assert "Cost unknown" in pages.page("/sessions/sess_aa").text


def test_a_call_whose_tokens_nobody_told_has_an_unknown_cost(tmp_path: Path) -> None:
    """Its turn, session and run say so: there was a call, and it was not free."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        file.llm(file.run("sess_aa"), 0, 0, usage_known=0)
    session = invoke("session", "sess_aa", db=path).stdout
    assert session.count("unknown tokens · unknown cost") == 2
    assert "no LLM calls" not in session
    assert "unknown tokens · unknown" in invoke("show", run_id(1), db=path).stdout
    listed = invoke("sessions", db=path).stdout.splitlines()[1].split()
    assert listed.count("unknown") == 2


def test_runs_without_a_session_are_told_where_no_session_is_listed(tmp_path: Path) -> None:
    """They are recorded all the same: stderr says how to see them, and how to name a session."""
    path = tmp_path / "waxlocal.db"
    with recorded(path) as file:
        file.run(None)
    result = invoke("sessions", db=path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no recorded run has a session" in result.stderr
    assert f"Try: waxlocal --db {path} runs" in result.stderr
    assert f"waxlocal --db {path} run --session NAME" in result.stderr


def test_without_a_file_of_ones_own_the_answer_is_empty(tmp_path: Path) -> None:
    """Nobody has to record before asking: nothing is found, stderr says how to begin."""
    home = {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    for words in ("sessions", "users", "models", "stats", "prices", "sql|SELECT * FROM runs"):
        result = invoke(*words.split("|"), **home)
        assert (result.exit_code, result.stdout) == (0, ""), words
        said, hint = result.stderr.splitlines()
        assert said.startswith("No recordings yet")
        assert "waxlocal demo" in hint
    listed = invoke("sessions", "--json", **home)
    assert json.loads(listed.stdout) == []
    assert json.loads(invoke("stats", "--json", **home).stdout)["sessions"] == 0
    for verb in ("session", "show"):
        result = invoke(verb, "x", **home)
        said, hint = result.stderr.splitlines()
        assert (result.exit_code, said.endswith(" does not exist")) == (5, True)
        assert hint.endswith("waxlocal demo")
    assert list(tmp_path.rglob("*.db")) == []


def test_a_session_says_where_its_history_was_compacted_and_forked(tmp_path: Path) -> None:
    """At the turn and below the cost; nothing where there is none."""
    db = tmp_path / "talk.db"
    with recorded(db) as to:
        for number, messages in enumerate(thirty_turns()):
            add_call(to, to.run("talk", at=number * 10), messages)
        add_call(to, to.run("quiet"), thirty_turns()[0])
    lines = invoke("session", "talk", db=db).stdout.splitlines()
    (at_12,) = [line for line in lines if line.startswith("12 ") and "tokens" in line]
    (at_25,) = [line for line in lines if line.startswith("25 ") and "tokens" in line]
    assert at_12.endswith("history compacted")
    assert at_25.endswith("forked from turn 16")
    assert [line for line in lines if line.startswith("- ")][:2] == [
        "- history compacted at turn 12: 22 messages became 3",
        "- turn 25 forked from turn 16: 12 of 27 messages kept",
    ]
    quiet = invoke("session", "quiet", db=db).stdout
    assert "compact" not in quiet
    assert "fork" not in quiet


def test_prices_without_a_verb_take_the_options_of_the_list(db: Path) -> None:
    """`prices` alone is `prices list`; before another verb they are told where they belong."""
    assert answer("prices", db=db) == answer("prices", "list", db=db)
    assert invoke("prices", "--csv", db=db).stdout.startswith("model,provider,")
    misplaced = invoke("prices", "--json", "list", db=db)
    assert misplaced.exit_code == 2
    assert "waxlocal prices list --json" in misplaced.stderr


def test_the_id_of_a_session_is_no_run_and_leads_to_it(db: Path) -> None:
    """The beginning of several leads to their list."""
    refused = invoke("show", "sess_aa", db=db)
    assert refused.exit_code == 5
    assert "'sess_aa' is a session, not a run" in refused.stderr
    assert "session sess_aa" in refused.stderr
    several = invoke("show", "sess_", db=db)
    assert several.exit_code == 5
    assert "no run 'sess_', but several sessions" in several.stderr


@pytest.mark.parametrize("question", [("session",), ("runs", "--session")])
def test_the_id_of_a_run_is_no_session_and_leads_to_it(db: Path, question: tuple[str]) -> None:
    """By its run id or its workflow id; of several, to the list."""
    whole = answer("runs", db=db)[0]["run_id"]
    for given in (whole, f"wf_{whole}"):
        refused = invoke(*question, given, db=db)
        assert refused.exit_code == 5
        assert f"{given!r} is a run, not a session" in refused.stderr
        assert f"show {whole}" in refused.stderr
    several = invoke(*question, whole[:4], db=db)
    assert several.exit_code == 5
    assert f"no session {whole[:4]!r}, but several runs" in several.stderr


def test_sub_agents_are_shown_inside_their_turn(tmp_path: Path) -> None:
    """With what they took in the turn's own line, and without a number of their own."""
    path = tmp_path / "nested.db"
    with recorded(path) as file:
        turn = file.run("s", user="alice", agent="desk", seconds=2.0)
        file.llm(turn, 100, 10, cost=0.5)
        for at in (0.5, 1.0):
            nested = file.run("s", agent="helper", at=at, seconds=0.5, parent=turn)
            file.llm(nested, 200, 20, cost=0.25)
        file.run("s", user="bob", agent="desk", at=60)
    lines = invoke("session", "s", db=path).stdout.splitlines()
    assert "alice, bob" in lines[1]
    assert lines[2].startswith("2 turns · 4 runs · ")
    assert " · 3.0 s agent time · " in lines[2]
    heads = [line for line in lines if "desk" in line[3:] or "helper" in line[3:]][1:]
    assert [head[:3] for head in heads] == ["1  ", "   ", "   ", "2  "]
    assert "$1.00" in heads[0]
    assert "with 2 sub-agent runs" in heads[0]
    assert "alice" in heads[0]
    assert "bob" in heads[3]
    assert all("within turn 1" in head and "$0.25" in head for head in heads[1:3])


def test_runs_are_listed_with_and_without_a_session(tmp_path: Path) -> None:
    """By every filter, in every order, and as JSON and CSV with the whole message."""
    path = tmp_path / "runs.db"
    said = {"inputs": {"message": "Ünder the sea?"}}
    with recorded(path) as file:
        first = file.run("s", user="alice", seconds=5.0, tags={"channel": "web"})
        inside = file.run("s", agent="helper", at=1, parent=first, status="error", seconds=2.0)
        alone = file.run(None, user="bob", at=60, metadata={"job": 7}, **said)
    chosen = {
        (): [alone, inside, first],
        ("--no-session",): [alone],
        ("--session", "s"): [inside, first],
        ("--user", "bob"): [alone],
        ("--agent", "helper"): [inside],
        ("--tag", "channel=web"): [first],
        ("--metadata", "job=7"): [alone],
        ("--search", "ünder"): [alone],
        ("--status", "error"): [inside],
        ("--since", moment(30)): [alone],
        ("--until", moment(30)): [inside, first],
        ("--by", "duration"): [first, inside, alone],
        ("--limit", 1, "--offset", 1): [inside],
    }
    for words, expected in chosen.items():
        assert [one["run_id"] for one in answer("runs", *words, db=path)] == expected, words
    table = invoke("runs", db=path).stdout
    assert alone in table
    assert "Ünder the sea?" in table
    rows = list(csv.DictReader(io.StringIO(invoke("runs", "--csv", db=path).stdout)))
    assert rows[0]["message"] == "Ünder the sea?"
    assert rows[0]["session_id"] == ""


def test_no_runs_are_explained(db: Path) -> None:
    """A filter that nothing fits, a page behind the last one, and two filters that exclude it."""
    assert "No run matches." in invoke("runs", "--agent", "nobody", db=db).stderr
    assert "No more runs: there are only" in invoke("runs", "--offset", 50, db=db).stderr
    both = invoke("runs", "--no-session", "--session", "s", db=db)
    assert both.exit_code == 2
    assert "a run has a session or none" in both.stderr


def test_runs_of_a_session_are_found_as_the_session_is(db: Path, tmp_path: Path) -> None:
    """By `last`, or the beginning of its id if no other has it; an unknown one is an error."""
    assert [one["session_id"] for one in answer("runs", "--session", "last", db=db)] == ["sess_ab"]
    assert invoke("runs", "--session", "sess_", db=db).exit_code == 2
    missing = invoke("runs", "--session", "nobody", db=db)
    assert (missing.exit_code, missing.stdout) == (5, "")
    path = tmp_path / "named.db"
    with recorded(path) as file:
        tea = file.run("tea_1")
        file.run("coffee_1")
    assert [one["run_id"] for one in answer("runs", "--session", "te", db=path)] == [tea]


def test_the_last_session_and_the_last_run_have_a_name(db: Path, tmp_path: Path) -> None:
    """Unless an id begins so."""
    assert answer("session", "last", db=db)["session_id"] == "sess_ab"
    (last,) = answer("runs", "--limit", 1, db=db)
    assert answer("show", "last", db=db)["run_id"] == last["run_id"]
    path = tmp_path / "named.db"
    with recorded(path) as file:
        file.run("last one", at=0)
        file.run("newer", at=100)
    assert answer("session", "last", db=path)["session_id"] == "last one"
    none = invoke("session", "last", db=tmp_path / "none.db")
    assert none.exit_code == 5


@pytest.mark.parametrize("verb", ["sessions", "runs", "users"])
def test_a_pipe_gets_every_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Page by page, in the same order as JSON, lines of JSON and CSV; a table has twenty."""
    monkeypatch.setattr(row_pages, "MAX_LIMIT", 7)
    path = tmp_path / "many.db"
    with recorded(path) as file:
        for number in range(30):
            file.run(f"s{number}", user=f"u{number}", at=number)
    rows = answer(verb, db=path)
    key = {"sessions": "session_id", "runs": "run_id", "users": "user_id"}[verb]
    assert len({row[key] for row in rows}) == len(rows) == 30
    lines = invoke(verb, "--jsonl", db=path).stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows
    cells = list(csv.DictReader(io.StringIO(invoke(verb, "--csv", db=path).stdout)))
    assert [row[key] for row in cells] == [row[key] for row in rows]
    assert answer(verb, "--limit", 9, "--offset", 15, db=path) == rows[15:24]
    assert answer(verb, "--offset", 28, db=path) == rows[28:]
    assert answer(verb, "--offset", 99, db=path) == []
    assert len(invoke(verb, db=path).stdout.splitlines()) == 21
    assert len(invoke(verb, "--limit", 25, db=path).stdout.splitlines()) == 26


def test_rows_that_come_meanwhile_are_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pages are of one state of the file; otherwise the newest would push others down."""
    monkeypatch.setattr(row_pages, "MAX_LIMIT", 2)
    path = tmp_path / "busy.db"
    with recorded(path) as file, reader(path) as connection:
        for number in range(5):
            file.run(f"s{number}", at=number)

        def ask(size: int, offset: int) -> list[Session]:
            file.run(f"later {offset}", at=1_000 + offset)
            return list_sessions(connection, limit=size, offset=offset)

        shown = row_pages.rows_to_show(connection, ask, (None, 0), "screen", ())
    assert shown is not None
    found = [one.session_id for one in shown]
    assert found[1:] == ["s4", "s3", "s2", "s1", "s0"]


def test_two_formats_at_once_are_wrong_usage(db: Path) -> None:
    """The error names the two."""
    refused = invoke("sessions", "--jsonl", "--csv", db=db)
    assert refused.exit_code == 2
    assert "--jsonl and --csv cannot be combined" in refused.stderr


def test_a_period_may_have_calls_of_turns_that_began_before_it(tmp_path: Path) -> None:
    """The statistics then say what was spent, and nothing of turns."""
    path = tmp_path / "late.db"
    with recorded(path) as file:
        file.llm(file.run("sess_a", seconds=500.0), 10, 5, at=300, cost=0.5)
    period = ("--since", moment(200), "--until", moment(400))
    said = invoke("stats", *period, db=path)
    assert said.exit_code == 0, said.stderr
    assert "$0.5000" in said.stdout
    assert "abandon" not in said.stdout
    assert answer("stats", *period, db=path)["distribution"] == {}


def test_runs_in_a_pipe_have_their_whole_message(tmp_path: Path) -> None:
    """As sessions have."""
    path = tmp_path / "long.db"
    with recorded(path) as file:
        file.run("sess_a", inputs={"message": "long " * 100 + "end"})
    assert invoke("runs", db=path).stdout.rstrip().endswith("end")


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "--tag", "\udcff"),
        ("runs", "--search", "\udcff"),
        ("runs", "--user", "\udcff"),
        ("sessions", "--user", "\udcff"),
        ("prices", "set", "\udcff", "--input", "1", "--output", "2"),
        ("prices", "set", "m", "--input", "1", "--output", "2", "--provider", "\udcff"),
    ],
    ids=" ".join,
)
def test_words_that_are_no_utf8_are_read_as_what_was_recorded(
    db: Path, words: tuple[str, ...]
) -> None:
    """Bytes of a command line that are no text reach Python as halves of a character."""
    said = invoke(*words, db=db)
    assert said.exit_code == 0, said.stderr


@pytest.mark.parametrize("words", [("unset",), ("reprice",)])
def test_a_model_that_is_no_utf8_is_not_found(db: Path, words: tuple[str, ...]) -> None:
    """And nothing worse."""
    assert invoke("prices", *words, "\udcff", db=db).exit_code == 5
