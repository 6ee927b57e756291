"""Several accounts at one address: each gets all runs, once."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.faults.audit import audit
from tests.faults.ledger import BULK_PATH, MAX_BYTES, MAX_RUNS
from tests.faults.rules import Rule
from tests.faults.server import FaultServer, fault_server
from tests.tools.cli import invoke
from tests.tools.movable_clock import MovableClock
from tests.tools.sync import PATIENT, ask, change, record, settings_for, upload, uploading
from tests.tools.web import serving, url_of
from waxlocal.delivery.accounts import url_of_account
from waxlocal.errors import ServerUnreachable
from waxlocal_daemon.verify import verify

pytestmark = pytest.mark.usefixtures("recorder")

BY_ANY_WAY = pytest.mark.parametrize("bulk", [True, False], ids=["batches", "single"])
NOW_NS = 1_769_851_800_000_000_000
PROGRESS = "SELECT url, account, delivered FROM targets ORDER BY target_id"
STATES = """
SELECT account, state, count(*) FROM deliveries JOIN targets USING (target_id)
GROUP BY 1, 2 ORDER BY 1, 2
"""


def _belongs_to(server: FaultServer, account: Any, *, bulk: bool) -> None:
    """Have the key that comes be one for this account."""
    offer = {"path": BULK_PATH, "max_runs": MAX_RUNS, "max_bytes": MAX_BYTES}
    config = {"tenant_id": account} | ({"bulk": offer} if bulk else {})
    server.use_script((Rule("status", method="GET", path="/config/$", status=200, body=config),))


def _send_to_two_accounts(server: FaultServer, path: Path) -> None:
    """Upload what is recorded with a key of each."""
    for account in ("acme", "umbrella"):
        _belongs_to(server, account, bulk=False)
        upload(path, server.url)


@BY_ANY_WAY
def test_each_account_gets_all_runs_once(db_path: Path, bulk: bool) -> None:
    """Whichever key is used first; the second time nothing goes."""
    record(3)
    with fault_server(bulk=bulk) as server:
        for _ in range(2):
            for account in ("acme", "umbrella"):
                _belongs_to(server, account, bulk=bulk)
                upload(db_path, server.url, bulk=bulk)
        once = audit(server).minimum
        assert audit(server).requests == 2 * once
        record(1)
        upload(db_path, server.url, bulk=bulk)
    assert ask(db_path, PROGRESS) == [
        (server.url, "acme", 3),
        (f"{server.url}#umbrella", "umbrella", 4),
    ]
    assert ask(db_path, STATES) == [("acme", "delivered", 3), ("umbrella", "delivered", 4)]


def test_what_was_sent_before_the_server_named_the_account_is_its(db_path: Path) -> None:
    """An upgrade of either side sends nothing again, nor does a server that names none any more."""
    record(3)
    with fault_server() as server:
        upload(db_path, server.url)
        _belongs_to(server, "acme", bulk=False)
        upload(db_path, server.url)
        server.use_script(())
        upload(db_path, server.url)
        audit(server).assert_sound(at_most=1)
    assert ask(db_path, PROGRESS) == [(server.url, "acme", 3)]


def test_a_number_names_an_account_too(db_path: Path) -> None:
    """As databases have ids."""
    record(1)
    with fault_server() as server:
        for account in (5, 6, "5"):
            _belongs_to(server, account, bulk=False)
            upload(db_path, server.url)
    assert ask(db_path, STATES) == [("5", "delivered", 1), ("6", "delivered", 1)]


def test_where_the_server_does_not_say_which_of_several_accounts_nothing_goes(
    db_path: Path,
) -> None:
    """Nobody gets the runs of another; once it says it, they go by themselves."""
    record(1)
    with fault_server() as server:
        _send_to_two_accounts(server, db_path)
        record(1)
        before = audit(server).requests
        server.use_script(())
        with uploading(db_path, server.url) as uploader:
            uploader.run(threading.Event())
            assert "does not say whose the key is" in uploader.reason
            assert audit(server).requests == before
        given = {"WAXELL_API_URL": server.url, "WAXELL_API_KEY": "k", "HOME": str(db_path.parent)}
        by_hand = invoke("sync", "--patience", 0, db=db_path, **given)
        assert (by_hand.exit_code, audit(server).requests) == (7, before)
        assert "does not say whose the key is" in by_hand.stderr
        _belongs_to(server, "acme", bulk=False)
        upload(db_path, server.url)
    assert ask(db_path, STATES) == [
        ("acme", "delivered", 2), ("umbrella", "delivered", 1), ("umbrella", "pending", 1)
    ]  # fmt: skip


def test_a_refused_key_is_told_as_such_whatever_accounts_there_are(db_path: Path) -> None:
    """The server says 401 to the question already, and so does the upload."""
    record(1)
    with fault_server() as server:
        _send_to_two_accounts(server, db_path)
        server.use_script((Rule("status", status=401),))
        record(1)
        with uploading(db_path, server.url) as uploader:
            uploader.run(threading.Event())
            assert uploader.refused


def test_nothing_is_compared_with_the_runs_of_another_account(db_path: Path) -> None:
    """Where the server does not say whose the key is, that is the answer."""
    record(1)
    with fault_server() as server:
        _send_to_two_accounts(server, db_path)
        server.use_script(())
        with pytest.raises(ServerUnreachable, match="does not say whose the key is"):
            verify(db_path, settings_for(server.url))


def test_whoever_types_sync_waits_for_no_account(db_path: Path) -> None:
    """Whatever wait an earlier failure has left for the one that the key is for."""
    record(1)
    given = {"WAXELL_API_KEY": "k", "WAXLOCAL_SYNC_BULK": "0", "HOME": str(db_path.parent)}
    with fault_server() as server:
        for account in ("umbrella", "acme"):
            _belongs_to(server, account, bulk=False)
            upload(db_path, server.url)
        record(1)
        change(
            db_path,
            "UPDATE targets SET failures = 9, not_before = strftime('%Y-%m-%dT%H:%M:%fZ', 'now',"
            " '+10 minutes') WHERE account = 'umbrella'",
        )
        _belongs_to(server, "umbrella", bulk=False)
        done = invoke("sync", "--patience", 5, db=db_path, WAXELL_API_URL=server.url, **given)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("account", ["", None, ["acme"], {"id": "acme"}, True, 1.5])
def test_what_is_no_name_of_an_account_is_not_taken_for_one(db_path: Path, account: Any) -> None:
    """The upload goes on as to a server that names none."""
    record(1)
    with fault_server() as server:
        _belongs_to(server, account, bulk=False)
        assert upload(db_path, server.url).delivered == 1
    assert ask(db_path, PROGRESS) == [(server.url, None, 1)]


def test_an_account_that_changes_while_the_daemon_runs_is_noticed(db_path: Path) -> None:
    """With the next look at the configuration, at the latest after an hour."""
    record(2)
    clock = MovableClock(NOW_NS)
    stop = threading.Event()
    with fault_server() as server, uploading(db_path, server.url, clock=clock) as uploader:
        _belongs_to(server, "acme", bulk=False)
        uploader.run(stop)
        _belongs_to(server, "umbrella", bulk=False)
        uploader.run(stop)
        assert ask(db_path, STATES) == [("acme", "delivered", 2)]
        clock.sleep(3_601)
        record(1)
        uploader.run(stop)
        assert uploader.progress().delivered == 5
    assert ask(db_path, STATES) == [
        ("acme", "delivered", 2), ("acme", "pending", 1), ("umbrella", "delivered", 3)
    ]  # fmt: skip


def test_a_late_record_goes_to_each_account(db_path: Path) -> None:
    """When its key is used."""
    (run_id,) = record(1)
    with fault_server() as server:
        _send_to_two_accounts(server, db_path)
        change(
            db_path,
            "INSERT INTO scores (run_id, position, recorded_at, name, data_type, comment)"
            " VALUES (?, 900, '2026-02-01T09:30:00.000000Z', 'late', 'numeric', '')",
            run_id,
        )
        assert ask(db_path, STATES) == [("acme", "pending", 1), ("umbrella", "pending", 1)]
        upload(db_path, server.url)
        assert ask(db_path, STATES) == [("acme", "pending", 1), ("umbrella", "delivered", 1)]
        _belongs_to(server, "acme", bulk=False)
        upload(db_path, server.url)
    assert ask(db_path, STATES) == [("acme", "delivered", 1), ("umbrella", "delivered", 1)]


def test_parked_runs_of_one_account_are_no_failure_of_another(db_path: Path) -> None:
    """`waxlocal sync` counts what this upload has parked."""
    record(2)
    given = {"WAXELL_API_KEY": "k", "WAXLOCAL_SYNC_BULK": "0", "HOME": str(db_path.parent)}
    with fault_server() as server:
        _belongs_to(server, "acme", bulk=False)
        upload(db_path, server.url)
        change(db_path, "UPDATE deliveries SET state = 'parked', reason = 'no'")
        _belongs_to(server, "umbrella", bulk=False)
        done = invoke("sync", db=db_path, WAXELL_API_URL=server.url, **given)
        assert done.exit_code == 0
        assert "2 runs delivered" in done.stdout
        status = invoke("sync", "status", db=db_path, WAXELL_API_URL=server.url, **given).stdout
    assert f"{server.url}#umbrella  up to date" in status
    assert "2 parked" in status


def test_what_is_compared_and_sent_again_is_the_account_of_the_key(db_path: Path) -> None:
    """What another account at the address has got says nothing of this one."""
    record(2, session="a")
    given = {"WAXELL_API_KEY": "k", "HOME": str(db_path.parent)}
    with serving(db_path.with_name("hub.db")) as client:
        url = url_of(client)
        settings = settings_for(url, **PATIENT)
        upload(db_path, url)
        assert verify(db_path, settings).agrees
        change(db_path, "UPDATE targets SET account = 'acme'")
        assert not verify(db_path, settings).asked
        upload(db_path, url)
        found = verify(db_path, settings)
        assert (found.checked, found.agrees, found.account) == (1, True, "local")
        change(db_path.with_name("hub.db"), "DELETE FROM runs")
        done = invoke("sync", "retry", "--missing", db=db_path, WAXELL_API_URL=url, **given)
        assert done.stdout == "2 runs pending again.\n"
    assert ask(db_path, STATES) == [("acme", "delivered", 2), ("local", "pending", 2)]


@pytest.mark.parametrize(
    ("account", "named"),
    [
        ("acme", "acme"),
        ("a/b c#d\n", "a%2Fb%20c%23d%0A"),
        ("ü" * 80, sha256(("ü" * 80).encode()).hexdigest()),
    ],
    ids=["plain", "odd", "long"],
)
def test_the_id_of_an_account_is_told_as_part_of_an_address(account: str, named: str) -> None:
    """In letters that every page and terminal shows; a long one by its hash."""
    assert url_of_account("https://api.waxell.dev", account) == f"https://api.waxell.dev#{named}"
