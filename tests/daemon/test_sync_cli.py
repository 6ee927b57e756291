"""`waxlocal sync` and what belongs to it, as a person or a script uses them."""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import Result

from tests.crash.files import run_program
from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.cli import invoke
from tests.tools.session_server import Reply, listing, session_server
from tests.tools.sync import QUICK, ask, change, record
from waxlocal import WaxellContext
from waxlocal.wire.paths import stage_path
from waxlocal_daemon.drain import drain
from waxlocal_daemon.lock import exclusive

pytestmark = pytest.mark.usefixtures("recorder")

KEY = "wax_sk_canary_2f8c"
# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command wait for a hundredth of the usual time before it tries again."""
    monkeypatch.setattr("waxlocal_daemon.drain.drain", functools.partial(drain, pace=QUICK))


def sync(db: Path, url: str, *arguments: object, **env: str) -> Result:
    """Run `waxlocal sync` against a server, in this process."""
    given = {"WAXELL_API_URL": url, "WAXELL_API_KEY": KEY, "HOME": str(db.parent), **env}
    return invoke("sync", *arguments, db=db, **given)


@pytest.mark.parametrize("bulk", [False, True])
def test_everything_arrives(db_path: Path, bulk: bool) -> None:
    """One line says how much and where; the second time there is nothing to do."""
    record(7)
    with fault_server(bulk=bulk) as server:
        done = sync(db_path, server.url)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.startswith(f"7 runs delivered to {server.url} in ")
        assert done.stdout.endswith("; 0 pending, 0 parked.\n")
        again = sync(db_path, server.url)
        assert (again.exit_code, again.stdout[:15]) == (0, "0 runs delivere")
        audit(server).assert_sound(at_most=1)
        assert audit(server).completed == 7


def test_the_summary_as_json(db_path: Path) -> None:
    """One document with the figures, also when it fails."""
    record(3)
    with fault_server() as server:
        done = sync(db_path, server.url, "--json")
        told = json.loads(done.stdout)
        assert told.pop("seconds") > 0
        assert told.pop("bytes_sent") > 1_000
        assert told == {"delivered": 3, "pending": 0, "parked": 0, "failures": {}, "reason": ""}
    record(1)
    failed = sync(db_path, NOWHERE, "--json", "--patience", 0)
    told = json.loads(failed.stdout)
    assert failed.exit_code == 7
    assert (told["delivered"], told["pending"]) == (0, 4)
    assert "Connection refused" in told["reason"]


def test_without_a_server(db_path: Path) -> None:
    """Exit status 7, the reason, and what to do; the runs stay."""
    record(2)
    done = sync(db_path, NOWHERE, "--patience", 0.1)
    assert done.exit_code == 7
    assert "2 pending" in done.stdout
    assert "Error: 2 runs could not be delivered: " in done.stderr
    assert "Connection refused" in done.stderr
    assert f"Try: nothing is lost; run waxlocal --db {db_path} sync again later" in done.stderr
    assert ask(db_path, "SELECT state, count(*) FROM deliveries") == [("pending", 2)]


def test_a_refused_key_ends_it_at_once(db_path: Path) -> None:
    """There is nothing to wait for: exit status 7 and what the server said."""
    record(2)
    with fault_server() as server:
        server.demand_key("another")
        done = sync(db_path, server.url, "--patience", 1_000)
        status = sync(db_path, server.url, "status")
    assert done.exit_code == 7
    assert "could not be delivered: 401: Invalid API key" in done.stderr
    hint = "Try: the key comes from WAXELL_API_KEY: put the key of this server there"
    assert hint in done.stderr
    assert hint in status.stderr
    assert ask(db_path, "SELECT last_success_at FROM targets") == [(None,)]


def test_a_refused_key_is_told_also_where_nothing_is_pending(db_path: Path) -> None:
    """So a key can be tried: the question for the account is answered first."""
    record(1)
    with fault_server() as server:
        assert sync(db_path, server.url).exit_code == 0
        server.demand_key("another")
        done = sync(db_path, server.url)
    assert done.exit_code == 7
    assert "what is pending could not be delivered: 401: Invalid API key" in done.stderr


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_the_api_is_told_as_what_it_is(db_path: Path, status: int) -> None:
    """What it answered, where the wrong URL comes from, and that nothing was ever accepted.

    Nothing is parked for it: with the right URL all goes.
    """
    record(2)
    page = {"raw": "<html>no</html>", "headers": {"content-type": "text/html; charset=utf-8"}}
    with fault_server((Rule("status", status=status, store=False, **page),)) as server:
        done = sync(db_path, server.url, "--patience", 0)
        status_told = sync(db_path, server.url, "status").stdout
    assert done.exit_code == 7
    assert f"2 runs could not be delivered: {status}, not JSON (text/html)\n" in done.stderr
    assert "Try: check the server URL; it comes from WAXELL_API_URL; no Waxell" in done.stderr
    assert "never delivered" in status_told
    with fault_server() as server:
        assert sync(db_path, server.url).exit_code == 0


def test_the_url_is_right_where_something_was_accepted(db_path: Path) -> None:
    """A firewall's page for one run is no reason to look at the URL, whether it is parked yet."""
    record(3)
    record(1, text="DROP TABLE")
    firewall = Rule("status", status=403, contains="DROP TABLE", raw="<h1>", store=False)
    with fault_server((firewall,)) as server:
        done = [sync(db_path, server.url, "--patience", seconds) for seconds in (0, 60)]
    assert [one.exit_code for one in done] == [7, 7]
    assert "could not be delivered: 403, not JSON" in done[0].stderr
    assert "the server refused 1 run: 403, not JSON" in done[1].stderr
    assert not any("server URL" in one.stderr for one in done)


def test_a_page_in_place_of_the_api_is_told_as_what_it_is(db_path: Path) -> None:
    """As a login page answers: with success, but with no answer of a Waxell API."""
    record(2)
    with fault_server((Rule("html"),)) as server:
        done = sync(db_path, server.url, "--patience", 0)
    assert done.exit_code == 7
    assert "could not be delivered: 200, but not JSON (text/html)\n" in done.stderr
    assert "Try: check the server URL; it comes from WAXELL_API_URL; no Waxell" in done.stderr


def test_only_what_a_server_accepted_is_a_success(db_path: Path) -> None:
    """A refusal after it, of runs or of the key, leaves the time of the last success."""
    record(1)
    last = "SELECT last_success_at FROM targets"
    with fault_server() as server:
        sync(db_path, server.url)
        accepted = ask(db_path, last)
        assert accepted != [(None,)]
        (bad,) = record(1)
        server.use_script((Rule("poison", status=404, contains=bad),))
        assert sync(db_path, server.url).exit_code == 7
        assert ask(db_path, last) == accepted
        server.demand_key("another")
        record(1)
        assert sync(db_path, server.url).exit_code == 7
        assert ask(db_path, last) == accepted


def test_refused_runs(db_path: Path) -> None:
    """Exit status 7 when runs were parked, and where to see why; not again the next time."""
    bad, _good = record(2)
    with fault_server((Rule("poison", status=422, contains=bad),)) as server:
        done = sync(db_path, server.url)
        assert done.exit_code == 7
        assert "1 run delivered" in done.stdout
        assert (
            # Its name for 422 depends on the version of Python.
            f"Error: the server refused 1 run: 422: {HTTPStatus(422).phrase}\n"
            f"Try: see why with: waxlocal --db {db_path} sync parked\n"
        ) in done.stderr
        again = sync(db_path, server.url)
    assert again.exit_code == 0
    assert "0 pending, 1 parked." in again.stdout


def test_ten_refused_runs_are_one_line(db_path: Path) -> None:
    """Their count, the last reason, and where to see them all."""
    for _ in range(10):
        record(1, text="too much")
        record(1)
    rule = Rule("poison", status=422, contains="too much")
    with fault_server((rule,)) as server:
        done = sync(db_path, server.url)
    assert done.exit_code == 7
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("Error: the server refused 10 runs: 422: ")
    assert hint == f"Try: see why with: waxlocal --db {db_path} sync parked"


def test_the_run_of_a_killed_process_goes_at_once(db_path: Path) -> None:
    """As interrupted, with the first upload after its end, though nobody has ended it."""
    run_program(
        db_path,
        """
        import os, signal
        from waxlocal import WaxellContext
        with WaxellContext("agent", session_id="s") as run:
            run.record_step("begun")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    with fault_server() as server:
        assert sync(db_path, server.url).exit_code == 0
        (run,) = server.runs()
    assert [end["status"] for end in run["completes"]] == ["interrupted"]


def test_no_settings(db_path: Path) -> None:
    """Exit status 2 and what to type."""
    record(1)
    done = invoke("sync", db=db_path, HOME=str(db_path.parent))
    assert done.exit_code == 2
    assert "no server and no API key are configured" in done.stderr
    assert "export WAXELL_API_URL=" in done.stderr


def test_no_file(tmp_path: Path) -> None:
    """Exit status 5, and no file is made."""
    done = sync(tmp_path / "none.db", NOWHERE)
    assert done.exit_code == 5
    assert list(tmp_path.glob("none.db*")) == []


@pytest.mark.parametrize("option", ["--json", "--dry-run", "--profile=x", "--patience=3"])
@pytest.mark.parametrize("verb", ["status", "parked", "retry", "verify"])
def test_an_option_that_would_not_be_seen(db_path: Path, option: str, verb: str) -> None:
    """In front of a command it is refused, instead of doing nothing."""
    record(1)
    done = sync(db_path, NOWHERE, option, verb)
    assert done.exit_code == 2
    assert f"{option.partition('=')[0]} has no effect in front of '{verb}'" in done.stderr


# -- what would leave -----------------------------------------------------------------------------


class Printed(NamedTuple):
    """A request as `--dry-run` shows it."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


def printed(text: str) -> list[Printed]:
    """Return the requests in the output of `--dry-run`."""
    found = []
    lines = iter(text.split("\n"))
    for first in lines:
        if not first:
            continue
        method, url = first.split(" ")
        headers = dict(line.split(": ", 1) for line in iter(lines.__next__, ""))
        found.append(Printed(method, url, headers, next(lines)))
    return found


def dump(path: Path) -> list[str]:
    """Return everything in the file as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_dry_run_is_what_leaves(db_path: Path) -> None:
    """Keys, paths and bodies, byte for byte, of what the server then gets; and no change here."""
    record(3, text='naïve \u202e \x85 \x07 \\ "quoted" 🙂 line\nbreak')
    with WaxellContext("long", session_id="s") as run:
        for number in range(1_200):
            run.record_step(f"step{number}")
    before = dump(db_path)
    with fault_server() as server:
        dry = sync(db_path, server.url, "--dry-run")
        as_json = sync(db_path, server.url, "--dry-run", "--json")
        assert dump(db_path) == before
        assert server.counts()["arrivals"] == 0
        assert sync(db_path, server.url).exit_code == 0
        remote = {run["local_id"]: run["run_id"] for run in server.runs()}
        bodies = {key["key"]: (key["paths"], key["bodies"]) for key in server.state()["keys"]}
    assert dry.exit_code == 0
    shown = printed(dry.stdout)
    assert dry.stderr.startswith(f"{len(shown)} requests; none was sent.\n")
    found = {}
    for one in shown:
        assert (one.method, one.headers["X-Wax-Key"]) == ("POST", "(the key)")
        key = one.headers["Idempotency-Key"]
        path = one.url.removeprefix(server.url).replace("RUN_ID", remote[key.split(":")[0]])
        found[key] = ([path], [_sha256(one.body)])
    assert found == bodies
    assert [Printed(**json.loads(line)) for line in as_json.stdout.splitlines()] == shown


def test_dry_run_of_runs_inside_runs(db_path: Path) -> None:
    """What leaves once the server has given its ids; with costs looked up now."""
    with WaxellContext("outer", session_id="s") as outer:
        outer.record_step("before")
        with WaxellContext("inner") as inner:
            inner.record_llm_call(model="gpt-4o", tokens_in=1_000, tokens_out=1_000)
            inner.record_policy_check(policy_name="budget", action="allow")
            with WaxellContext("innermost"):
                pass
    with fault_server() as server:
        dry = sync(db_path, server.url, "--dry-run")
        assert sync(db_path, server.url).exit_code == 0
        runs = server.runs()
        sent = {
            request["headers"]["idempotency-key"]: request["body"] for request in server.requests()
        }
    shown = {one.headers["Idempotency-Key"]: one.body for one in printed(dry.stdout)}
    start = json.loads(shown[f"{inner.run_id}:start:0"])
    assert start["parent_workflow_id"] == f"WORKFLOW_ID({outer.run_id})"
    assert sent[f"{inner.run_id}:llm-calls:0"]["calls"][0]["cost"] > 0
    assert {key: json.loads(_with_ids(body, runs)) for key, body in shown.items()} == sent
    assert dry.stderr.splitlines()[1:] == [
        "RUN_ID and WORKFLOW_ID stand for what the server will assign to a run."
    ]


def _with_ids(body: str, runs: Iterable[dict[str, Any]]) -> str:
    """Return the body of a preview with the ids that the server has given since."""
    for run in runs:
        body = body.replace(f"WORKFLOW_ID({run['local_id']})", run["workflow_id"])
        body = body.replace(f"RUN_ID({run['local_id']})", run["run_id"])
    return body


def test_dry_run_beside_a_parent_that_the_server_refuses(db_path: Path) -> None:
    """Nothing stands for an id that will never come: the request goes without a parent."""
    (parent,) = record(1)
    with fault_server() as server:
        assert sync(db_path, server.url).exit_code == 0
        parked = "state = 'parked', remote_run_id = NULL, remote_workflow_id = NULL"
        change(db_path, f"UPDATE deliveries SET {parked} WHERE run_id = ?", parent)
        (child,) = record(1)
        child_of = "UPDATE runs SET parent_workflow_id = ?, root_workflow_id = ? WHERE run_id = ?"
        change(db_path, child_of, f"wf_{parent}", f"wf_{parent}", child)
        shown = {
            one.headers["Idempotency-Key"]: json.loads(one.body)
            for one in printed(sync(db_path, server.url, "--dry-run").stdout)
        }
        assert sync(db_path, server.url).exit_code == 0
        sent = {one["headers"]["idempotency-key"]: one["body"] for one in server.requests()}
    start = f"{child}:start:0"
    assert "parent_workflow_id" not in shown[start]
    assert shown[start] == sent[start]


def _sha256(text: str) -> str:
    return hashlib.sha256(_exact(text).encode()).hexdigest()


def _exact(text: str) -> str:
    """Return JSON text with those characters themselves that a terminal must not get."""
    for character in "\u202e\x85":
        text = text.replace(f"\\u{ord(character):04x}", character)
    return text


def test_dry_run_of_a_half_delivered_file(db_path: Path) -> None:
    """Only what is still to go, under the ids that the server has given already."""
    bad, good = record(2)
    rule = Rule("status", status=500, path="/complete/$", contains="", times=1_000)
    with fault_server((rule,)) as server:
        assert sync(db_path, server.url, "--patience", 0).exit_code == 7
        shown = printed(sync(db_path, server.url, "--dry-run").stdout)
        remote = {run["local_id"]: run["run_id"] for run in server.runs()}
    assert [one.url.removeprefix(server.url) for one in shown] == [
        stage_path("complete", remote[run_id]) for run_id in (bad, good)
    ]


def test_nothing_would_leave(db_path: Path) -> None:
    """No requests, and a word that says so."""
    record(1)
    with fault_server() as server:
        sync(db_path, server.url)
        done = sync(db_path, server.url, "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "0 requests; none was sent.\n"


# -- status, parked, retry ------------------------------------------------------------------------


def test_status_of_a_file_that_was_never_uploaded(db_path: Path) -> None:
    """How many runs there are, what to try, and where address and key would come from."""
    record(4)
    done = sync(db_path, NOWHERE, "status")
    assert done.exit_code == 0
    assert done.stdout == (
        "4 runs, none uploaded yet.\n"
        f"settings: {NOWHERE} from WAXELL_API_URL, the key from WAXELL_API_KEY\n"
    )
    assert done.stderr == f"Try: waxlocal --db {db_path} sync --dry-run\n"
    assert KEY not in done.output


def test_status_without_settings(db_path: Path) -> None:
    """It says so, and is not an error."""
    record(1)
    done = invoke("sync", "status", db=db_path, HOME=str(db_path.parent))
    assert done.exit_code == 0
    assert "settings: no server and no API key are configured" in done.stdout
    assert done.stderr.startswith("Try: export WAXELL_API_URL=https://acme.waxell.dev WAXELL_API_K")
    as_json = invoke("sync", "status", "--json", db=db_path, HOME=str(db_path.parent))
    assert json.loads(as_json.stdout)["settings"] is None


def test_status_names_the_file_of_the_settings(db_path: Path) -> None:
    """And its profile, but not the key."""
    record(1)
    place = db_path.parent / ".waxell" / "config"
    place.parent.mkdir()
    place.write_text(f"[default]\napi_url = https://acme.example\napi_key = {KEY}\n")
    place.chmod(0o600)
    done = invoke("sync", "status", db=db_path, HOME=str(db_path.parent))
    assert "settings: https://acme.example from ~/.waxell/config" in done.stdout
    assert KEY not in done.output


def test_status_after_an_upload(db_path: Path) -> None:
    """The server, how far, and why it does not go on; the same as JSON."""
    bad, *_ = record(3)
    with fault_server((Rule("poison", status=400, contains=bad),)) as server:
        sync(db_path, server.url)
        record(2)
        server.demand_key("another")
        sync(db_path, server.url)
        done = sync(db_path, server.url, "status")
        told = json.loads(sync(db_path, server.url, "status", "--json").stdout)
    assert done.exit_code == 0
    first, second, third, fourth, fifth = done.stdout.splitlines()
    assert first.startswith(f"{server.url}  paused since ")
    assert first.endswith(": 401: Invalid API key")
    assert second == "  2 pending · 1 parked · 2 delivered"
    assert third.startswith("  oldest pending 20")
    assert "last success 20" in third
    assert fourth == f"  why: waxlocal --db {db_path} sync parked"
    assert fifth.startswith("settings: ")
    (target,) = told["targets"]
    assert (target["pending"], target["parked"], target["delivered"]) == (2, 1, 2)
    assert told["uploader"] is None
    assert told["settings"] == {
        "api_url": server.url,
        "source": {"api_url": "WAXELL_API_URL", "api_key": "WAXELL_API_KEY"},
    }


def test_status_while_somebody_uploads(db_path: Path) -> None:
    """It says who."""
    record(1)
    with exclusive(db_path, command="waxlocal daemon run"):
        done = sync(db_path, NOWHERE, "status")
        told = json.loads(sync(db_path, NOWHERE, "status", "--json").stdout)
    assert done.stdout.startswith("waxlocal daemon run (process ")
    assert told["uploader"]["command"] == "waxlocal daemon run"


def test_parked_and_retry(db_path: Path) -> None:
    """What was refused is listed with its reason, and goes again when it is wanted."""
    bad, worse, good = record(3)
    rules = (
        Rule("poison", status=422, path="/steps/$", contains='"n":0'),
        Rule("poison", status=400, contains=worse, path="/start/$"),
    )
    with fault_server(rules) as server:
        assert sync(db_path, server.url).exit_code == 7
        listed = sync(db_path, server.url, "parked")
        assert listed.exit_code == 0
        assert f"waxlocal --db {db_path} sync retry" in listed.stderr
        for run_id, stage, status in ((bad, "steps", 422), (worse, "start", 400)):
            (line,) = (line for line in listed.stdout.splitlines() if line.startswith(run_id))
            assert f" {stage} " in line
            assert f" {status}: " in line
        assert good not in listed.stdout
        rows = json.loads(sync(db_path, server.url, "parked", "--json").stdout)
        assert [(row["run_id"], row["stage"], row["status"]) for row in rows] == [
            (bad, "steps", 422),
            (worse, "start", 400),
        ]
        csv = sync(db_path, server.url, "parked", "--csv").stdout.splitlines()
        assert csv[0].split(",") == list(rows[0])
        assert len(csv) == 3
        server.use_script(())
        assert sync(db_path, server.url, "retry", bad).stdout == "1 run pending again.\n"
        assert sync(db_path, server.url).exit_code == 0
        assert sync(db_path, server.url, "retry").stdout == "1 run pending again.\n"
        assert sync(db_path, server.url).exit_code == 0
        assert sync(db_path, server.url, "parked").stdout == "Nothing is parked.\n"
        assert audit(server).completed == 3
        assert not audit(server).two_bodies


def test_a_run_of_which_no_request_can_be_made_is_listed(db_path: Path) -> None:
    """Though there is no request to show."""
    (run_id,) = record(1)
    sync(db_path, NOWHERE, "--patience", 0)
    change(db_path, "UPDATE deliveries SET state = 'parked', reason = 'cannot be read: x'")
    (row,) = json.loads(sync(db_path, NOWHERE, "parked", "--json").stdout)
    assert (row["run_id"], row["stage"], row["reason"]) == (run_id, "", "cannot be read: x")


def test_retry_of_what_is_not_parked(db_path: Path) -> None:
    """Exit status 5, for a run that is not parked and for one that is not there."""
    (run_id,) = record(1)
    assert sync(db_path, NOWHERE, "retry", run_id).exit_code == 5
    assert sync(db_path, NOWHERE, "retry", "0" * 12).exit_code == 5
    done = sync(db_path, NOWHERE, "retry")
    assert (done.exit_code, done.stdout) == (0, "0 runs pending again.\n")


# -- verify ---------------------------------------------------------------------------------------


def _delivered(path: Path, sessions: dict[str, int]) -> None:
    for session, runs in sessions.items():
        record(runs, session=session)


def _as_delivered_to(path: Path, url: str) -> None:
    """Let the file say that all went to another server: one that lists sessions."""
    with fault_server() as server:
        assert sync(path, server.url).exit_code == 0
    change(path, "UPDATE targets SET url = ?", url)


def _listed(session: str, runs: int, **figures: Any) -> dict[str, Any]:
    given = {"run_count": runs, "total_tokens": 150 * runs, "total_cost": 0.001 * runs}
    return {"session_id": session} | given | figures


def test_verify_agrees(db_path: Path) -> None:
    """One line, exit status 0."""
    _delivered(db_path, {"s1": 1, "s2": 2})
    with session_server(listing([_listed("s1", 1), _listed("s2", 2)])) as server:
        _as_delivered_to(db_path, server.url)
        done = sync(db_path, server.url, "verify")
        assert done.exit_code == 0, done.output
        assert done.stdout == (
            "2 sessions compared; 0 missing, 0 doubled, 0 different; 0 not fully delivered.\n"
        )
        record(1, session="s2")
        assert "1 not fully delivered." in sync(db_path, server.url, "verify").stdout


def test_verify_disagrees(db_path: Path) -> None:
    """Each finding has a line; sessions are counted once, however much of them differs."""
    _delivered(db_path, {"s1": 1, "s2": 2, "s3": 1})
    theirs = [_listed("s2", 4), _listed("s3", 1, total_tokens=7, total_cost=1.0)]
    with session_server(listing(theirs)) as server:
        _as_delivered_to(db_path, server.url)
        done = sync(db_path, server.url, "verify")
        told = json.loads(sync(db_path, server.url, "verify", "--json").stdout)
    assert done.exit_code == 7
    assert sorted(done.stdout.splitlines()) == sorted(
        (
            "missing  s1 run_count: here 1, there nothing",
            "doubled  s2 run_count: here 2, there 4",
            "different  s3 total_tokens: here 150, there 7",
            "different  s3 total_cost: here 0.001, there 1.0",
            "3 sessions compared; 1 missing, 1 doubled, 1 different; 0 not fully delivered.",
        )
    )
    assert "Error: 3 sessions missing, doubled or different there\n" in done.stderr
    assert [one["session_id"] for one in told["different"]] == ["s3", "s3"]


def test_verify_says_that_it_lists_not_all(db_path: Path) -> None:
    """Beyond a thousand findings of a kind the rest is counted."""
    for number in range(1_003):
        with WaxellContext("chatbot", session_id=f"s{number:04}"):
            pass
    with session_server(listing([])) as server:
        _as_delivered_to(db_path, server.url)
        done = sync(db_path, server.url, "verify")
    assert done.exit_code == 7
    assert done.stdout.splitlines()[-1] == "3 more differences not listed."
    assert "Error: 1,000 sessions or more missing, doubled or different there" in done.stderr


def test_verify_that_compares_nothing_is_no_success(db_path: Path) -> None:
    """Nothing was sent to this server, or nothing of it is delivered: exit status 7, and why."""
    record(2)
    done = sync(db_path, NOWHERE, "verify")
    assert done.exit_code == 7
    assert f"Error: nothing was compared: nothing was ever sent to {NOWHERE}\n" in done.stderr
    assert f"Try: deliver first, with: waxlocal --db {db_path} sync" in done.stderr
    told = json.loads(sync(db_path, NOWHERE, "verify", "--json").stdout)
    assert (told["asked"], told["checked"]) == (False, 0)
    with session_server(listing([])) as server:
        _as_delivered_to(db_path, server.url)
        change(db_path, "UPDATE deliveries SET state = ?", "pending")
        done = sync(db_path, server.url, "verify")
    assert done.exit_code == 7
    assert "Error: nothing was compared: no session is fully delivered\n" in done.stderr


@pytest.mark.parametrize("status", [401, 403, 404])
def test_verify_where_the_server_refuses(db_path: Path, status: int) -> None:
    """It says so plainly, and that this says nothing about the runs."""
    record(1)
    with session_server(lambda _asked: Reply(status, b'{"detail": "no"}')) as server:
        _as_delivered_to(db_path, server.url)
        done = sync(db_path, server.url, "verify")
    assert done.exit_code == 7
    assert (done.stdout, str(status) in done.stderr) == ("", True)
