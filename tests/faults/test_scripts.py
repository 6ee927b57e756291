"""Scripts pick the requests that fail, and the audit tells what has become of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.asking import (
    END,
    START,
    connected,
    get,
    is_stored,
    next_key,
    patiently,
    post,
    send_run,
)
from tests.faults.audit import audit, read
from tests.faults.ledger import START_PATH
from tests.faults.nursery import ROOT
from tests.faults.rules import Asked, Rule, Script, as_json, from_json
from tests.faults.scripts import EACH, EVERYTHING, NAMED, RETRYABLE, everything
from tests.faults.server import FaultServer, fault_server
from tests.tools.patience import PATIENCE_S
from waxlocal.wire.paths import OBSERVE, stage_path


@pytest.fixture(scope="module")
def shared() -> Iterator[FaultServer]:
    """One server for the tests that only look at single requests."""
    with fault_server() as server:
        yield server


@pytest.fixture
def server(shared: FaultServer) -> Iterator[FaultServer]:
    """The shared server without faults; what a test has told it is taken back."""
    yield shared
    shared.use_script(())
    shared.demand_key(None)
    shared.open_doors()


def test_a_rule_picks_requests_by_path_number_and_attempt() -> None:
    """Conditions are told apart: the n-th request of a path, the n-th arrival of a key."""
    script = Script(
        (
            Rule("close", path="/start/$", nth=(2,)),
            Rule("html", attempt=(3,)),
            Rule("short", times=1, path="/never/"),
        ),
        0,
    )

    def chosen(path: str, key: str, attempt: int) -> str:
        asked = Asked("POST", path, key, attempt)
        rule = script.choose(script.fitting(asked), asked, None)
        return rule.kind if rule else ""

    assert [chosen("/start/", f"k{n}", 1) for n in range(3)] == ["", "close", ""]
    assert [chosen("/steps/", "k", attempt) for attempt in (1, 2, 3, 4)] == ["", "", "html", ""]
    assert [chosen("/never/", f"n{n}", 1) for n in range(2)] == ["short", ""]


def test_chance_depends_on_the_seed_and_not_on_the_order() -> None:
    """The same seed gives a key the same fault whenever it comes; another seed does not."""
    names = [f"key-{number}" for number in range(500)]

    def faults(seed: int, order: list[str]) -> dict[str, str]:
        script = Script(everything(0.5), seed)
        found = {}
        for name in order:
            asked = Asked("POST", START_PATH, name, 1)
            rule = script.choose(script.fitting(asked), asked, None)
            found[name] = rule.kind if rule else ""
        return found

    assert faults(1, names) == faults(1, names[::-1])
    assert faults(1, names) != faults(2, names)
    assert 200 < sum(kind != "" for kind in faults(1, names).values()) < 300


@pytest.mark.parametrize("name", NAMED)
def test_a_script_survives_being_written_as_json(name: str) -> None:
    """Rules read from their JSON are equal to those written."""
    assert from_json(as_json(NAMED[name])) == NAMED[name]


def test_rules_that_make_no_sense_are_refused() -> None:
    """A misspelt fault is an error and not a server without faults."""
    with pytest.raises(ValueError, match="no such fault: 'rest'"):
        Rule("rest")
    with pytest.raises(ValueError, match="before there is a body"):
        Rule("early", contains="x")


@pytest.mark.parametrize("name", RETRYABLE)
def test_whatever_can_be_retried_is_accepted_in_the_end(server: FaultServer, name: str) -> None:
    """Each fault of the mixture happens, and goes away when the request is sent again."""
    before = server.state()["faults"]
    server.use_script((replace(RETRYABLE[name], attempt=(1,)),))
    key = next_key()
    assert patiently(server, START_PATH, START, key)["workflow_id"]
    assert sum(server.state()["faults"].values()) == sum(before.values()) + 1
    assert is_stored(server, key)


def test_everything_at_once_loses_nothing() -> None:
    """Through the mixture each run arrives once, in fewer than three times the requests."""
    with fault_server(EVERYTHING, seed=7) as server:
        parents = [send_run(server, f"parent-{number}") for number in range(30)]
        for number, ids in enumerate(parents):
            send_run(server, f"child-{number}", parent_workflow_id=ids["workflow_id"])
        found = audit(server)
    found.assert_sound(at_most=3.0)
    assert (found.runs, found.completed, found.minimum) == (60, 60, 180)
    assert all(records == {"llm-calls": 2} for records in found.records.values())
    assert len(found.faults) > 10


def test_the_audit_finds_what_is_wrong() -> None:
    """Each promise that a client breaks is named with the run or key that shows it."""
    with fault_server() as server:
        send_run(server, "sound")
        body = {**START, "metadata": {"waxlocal": {"run_id": "sound"}}}
        again = post(server, START_PATH, body, "again").body["run_id"]
        of_again = f"{OBSERVE}/runs/{again}"
        post(server, START_PATH, {**START, "parent_workflow_id": "wf_later"})
        for key in ("end-1", "end-2"):
            post(server, f"{of_again}/complete/", END, key)
        for key in ("steps-1", "steps-2"):
            post(server, f"{of_again}/steps/", {"steps": [{"position": 1}]}, key)
        post(server, f"{of_again}/spans/", {"spans": []}, "steps-1")
        found = audit(server)
    told = "\n".join(found.problems(at_most=1.0))
    for words in (
        "1 runs started more than once: sound (2 times)",
        "1 records stored more than once: steps of sound",
        "1 keys with more than one body or path: steps-1: 2 bodies",
        "1 runs without an end: ",
        "1 runs completed more than once: sound",
        "came before its parent_workflow_id wf_later",
        "2 records after their run's end: steps of sound",
        f"1 requests without a key: {START_PATH}",
        "1 requests that are not what the API takes: 422 ",
        "10 requests, 7 would have done",
    ):
        assert words in told
    with pytest.raises(AssertionError, match="runs started more than once"):
        found.assert_sound()


def test_late_records_are_no_problem_where_they_are_expected() -> None:
    """A score of the next day comes after the run's end, and is told unless it is expected."""
    with fault_server() as server:
        ids = send_run(server, "old")
        path = stage_path("scores", ids["run_id"])
        post(server, path, {"scores": [{"name": "thumbs"}]}, "late")
        found = audit(server)
    assert found.problems() == ["1 records after their run's end: scores of old"]
    assert found.problems(late=True) == []


def test_waiting_for_what_does_not_come_says_what_has(server: FaultServer) -> None:
    """The failure has the counts in it."""
    with pytest.raises(AssertionError, match="'completed': 1000000} not reached"):
        server.wait_for(completed=1_000_000, timeout=0.01)


def test_the_server_ends_with_its_block_and_leaves_its_state(tmp_path: Path) -> None:
    """Afterwards the port is closed, and the directory holds what the server knew."""
    with fault_server(state=tmp_path) as server:
        send_run(server, "run")
    with pytest.raises(ConnectionRefusedError), connected(server):
        pass
    found = read(json.loads((tmp_path / "state.json").read_text()))
    assert (found.runs, found.completed, found.problems()) == (1, 1, [])
    log = json.loads((tmp_path / "log.json").read_text())
    assert [arrival["status"] for arrival in log] == [201, 200, 200]


def test_the_command_prints_its_ports_and_ends_when_told() -> None:
    """A script comes on standard input; SIGTERM ends the process in good order."""
    command = [sys.executable, "-m", "tests.faults.server", "--script", "-", "--seed", "3"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(as_json(EACH["502"]))
        process.stdin.close()
        server = FaultServer([int(process.stdout.readline()) for _ in range(3)])
        assert post(server, START_PATH, START, "k").status == 502
        assert get(server, "/_control/counts").body["arrivals"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
