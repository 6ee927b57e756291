"""`waxlocal sync retry`: what a server has lost goes to it again, and nothing is there twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result

from tests.faults.audit import audit
from tests.faults.server import fault_server
from tests.tools.cli import invoke
from tests.tools.sync import PATIENT, ask, change, contents_of, record, settings_for, upload
from tests.tools.web import serving, url_of
from tests.tools.zones import TOKYO, in_zone
from waxlocal import WaxellContext
from waxlocal.delivery.status import delivery_status
from waxlocal.storage.connection import reader
from waxlocal_daemon.verify import verify

pytestmark = pytest.mark.usefixtures("recorder")

BY_ANY_WAY = pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])


def retry(db: Path, url: str, *arguments: str) -> Result:
    """Run `waxlocal sync retry` for a server, in this process."""
    given = {"WAXELL_API_URL": url, "WAXELL_API_KEY": "k", "HOME": str(db.parent)}
    return invoke("sync", "retry", *arguments, db=db, **given)


def moved(db: Path, url: str) -> None:
    """Let the server that had everything be another one, as with a new disk behind its address."""
    change(db, "UPDATE targets SET url = ?", url)


def late_score(db: Path, run_id: str, position: int = 900) -> None:
    """Add a score behind all other records of a run."""
    names = "run_id, position, recorded_at, name, data_type, numeric_value, comment"
    at = "2026-02-01T09:30:00.000000Z"
    values = f"?, ?, '{at}', 'late', 'numeric', 1.0, ''"
    change(db, f"INSERT INTO scores ({names}) VALUES ({values})", run_id, position)


@BY_ANY_WAY
@pytest.mark.parametrize("kind", ["--missing", "--all"])
def test_a_hub_with_a_new_file_gets_all_again(db_path: Path, bulk: bool, kind: str) -> None:
    """Each row as it is here, once, and then both sides agree."""
    record(3, session="a")
    record(2, session="b")
    with WaxellContext("nested", session_id="a"), WaxellContext("below"):
        pass
    with serving(db_path.with_name("old.db")) as client:
        upload(db_path, url_of(client), bulk=bulk)
    new = db_path.with_name("new.db")
    with serving(new) as client:
        url = url_of(client)
        moved(db_path, url)
        settings = settings_for(url, **PATIENT)
        assert {one.session_id for one in verify(db_path, settings).missing} == {"a", "b"}
        done = retry(db_path, url, kind)
        assert (done.exit_code, done.stdout) == (0, "7 runs pending again.\n")
        upload(db_path, url, bulk=bulk)
        assert contents_of(new) == contents_of(db_path)
        assert verify(db_path, settings).agrees


@BY_ANY_WAY
def test_what_a_hub_has_lost_in_part_is_found_and_sent(db_path: Path, bulk: bool) -> None:
    """A session without one of its runs goes whole; what is there stays as it is."""
    record(3, session="a")
    record(2, session="b")
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        upload(db_path, url, bulk=bulk)
        change(hub, "DELETE FROM runs WHERE run_id = (SELECT max(run_id) FROM runs)")
        assert retry(db_path, url, "--missing").stdout == "2 runs pending again.\n"
        upload(db_path, url, bulk=bulk)
        assert contents_of(hub) == contents_of(db_path)
        assert retry(db_path, url, "--missing").stdout == "0 runs pending again.\n"


@BY_ANY_WAY
def test_verify_says_how_to_send_again_what_the_server_lacks(db_path: Path, bulk: bool) -> None:
    """Followed, its hint makes both sides agree, though the hub knows the keys of what it lost."""
    record(2, session="a")
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        upload(db_path, url, bulk=bulk)
        change(hub, "DELETE FROM runs")
        given = {"WAXELL_API_URL": url, "WAXELL_API_KEY": "k", "HOME": str(db_path.parent)}
        refused = invoke("sync", "verify", db=db_path, **given)
        assert refused.exit_code == 7
        assert f"waxlocal --db {db_path} sync retry --missing; then: " in refused.stderr
        assert retry(db_path, url, "--missing").stdout == "2 runs pending again.\n"
        upload(db_path, url, bulk=bulk)
        agreed = invoke("sync", "verify", db=db_path, **given)
        assert agreed.exit_code == 0, agreed.stderr
        assert contents_of(hub) == contents_of(db_path)


@BY_ANY_WAY
def test_a_hub_that_has_everything_has_nothing_twice(db_path: Path, bulk: bool) -> None:
    """It goes by the content, whatever the keys are."""
    record(4)
    hub = db_path.with_name("hub.db")
    with serving(hub) as client:
        url = url_of(client)
        upload(db_path, url, bulk=bulk)
        assert retry(db_path, url, "--all").stdout == "4 runs pending again.\n"
        upload(db_path, url, bulk=not bulk)
        assert contents_of(hub) == contents_of(db_path)


def test_another_server_that_has_everything_has_nothing_twice(db_path: Path) -> None:
    """The requests have the keys that it knows. A run that has grown since is refused, and told."""
    run_id, *_ = record(4)
    with fault_server() as server:
        upload(db_path, server.url)
        late_score(db_path, run_id)
        upload(db_path, server.url)
        before = audit(server)
        assert retry(db_path, server.url, "--all").exit_code == 0
        done = upload(db_path, server.url)
        assert (done.delivered, done.parked) == (3, 1)
        after = audit(server)
        assert (after.runs, after.records) == (before.runs, before.records)
        assert not after.doubled + after.repeated


def test_another_server_that_has_lost_everything_gets_it_under_the_same_keys(
    db_path: Path,
) -> None:
    """As if it were sent for the first time."""
    record(4)
    with fault_server() as server:
        upload(db_path, server.url)
        sent = {one["key"] for one in server.log()}
    with fault_server() as server:
        moved(db_path, server.url)
        retry(db_path, server.url, "--all")
        assert upload(db_path, server.url).delivered == 4
        audit(server).assert_sound(at_most=1)
        assert {one["key"] for one in server.log()} == sent


def test_runs_can_be_chosen_by_session_and_by_time(db_path: Path) -> None:
    """The time is that of the delivery, as people here write it: a restored backup has no more."""
    record(3, session="sess_a")
    record(2, session="sess_b")
    with fault_server() as server:
        upload(db_path, server.url)
        assert retry(db_path, server.url, "--session", "sess_b").stdout[:6] == "2 runs"
        assert retry(db_path, server.url, "--session", "sess_b").stdout[:6] == "0 runs"
        first = "SELECT run_id FROM deliveries WHERE state = 'delivered' LIMIT 1"
        change(
            db_path,
            f"UPDATE deliveries SET delivered_at = '2026-01-01T00:00:00.000000Z'"
            f" WHERE run_id = ({first})",
        )
        with in_zone(TOKYO):
            assert retry(db_path, server.url, "--since", "2026-01-01 09:01").stdout[:6] == "2 runs"
            assert retry(db_path, server.url, "--since", "2026-01-01 09:00").stdout[:5] == "1 run"
        assert upload(db_path, server.url).delivered == 5


def test_only_the_server_that_is_named_gets_it_again(db_path: Path) -> None:
    """Without one, each server that the file knows does."""
    record(2)
    with fault_server() as one, fault_server() as other:
        for server in (one, other):
            upload(db_path, server.url)
        assert retry(db_path, one.url, "--all", "--api-url", one.url).stdout[:6] == "2 runs"
        assert retry(db_path, one.url, "--all").stdout[:6] == "2 runs"


@pytest.mark.parametrize(
    "arguments",
    [("--all", "--since", "1d"), ("0194", "--missing"), ("--session", "a", "--all")],
    ids=" ".join,
)
def test_one_choice_at_a_time(db_path: Path, arguments: tuple[str, ...]) -> None:
    """Two of them are refused before anything is changed."""
    record(1)
    assert retry(db_path, "http://127.0.0.1:9", *arguments).exit_code == 2


def test_a_delivered_run_is_no_parked_one_and_the_hint_says_how(db_path: Path) -> None:
    """By its id alone nothing is sent twice by mistake."""
    (run_id,) = record(1)
    with fault_server() as server:
        upload(db_path, server.url)
        refused = retry(db_path, server.url, run_id)
    assert refused.exit_code == 5
    assert "--missing" in refused.stderr


def test_a_run_with_late_scores_was_delivered_once(db_path: Path) -> None:
    """In `sync status` and the metrics; each upload still says that it has delivered something."""
    (run_id,) = record(1)
    with fault_server() as server:
        upload(db_path, server.url)
        for position in range(900, 903):
            late_score(db_path, run_id, position)
            assert upload(db_path, server.url).delivered == 1
    with reader(db_path) as connection:
        (told,) = delivery_status(connection)
    assert (told.delivered, told.pending) == (1, 0)


def test_a_file_that_counted_a_run_often_is_counted_anew(db_path: Path) -> None:
    """Once for each server, with the first upload of this version."""
    record(2)
    with fault_server() as server:
        upload(db_path, server.url)
        change(db_path, "UPDATE targets SET delivered = 9, looked_again = 0")
        upload(db_path, server.url)
    assert ask(db_path, "SELECT delivered FROM targets") == [(2,)]
