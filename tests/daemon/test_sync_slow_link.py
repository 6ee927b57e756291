"""A large run over a slow link: a request may take as long as it gets on."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.tools.slow_link import slow_link
from tests.tools.sync import ask, contents_of, upload
from tests.tools.web import serving, url_of
from waxlocal import WaxellContext

pytestmark = pytest.mark.usefixtures("recorder")

# The system takes some 300 KB ahead of the link: less than it carries in the time for an answer.
BYTES_PER_S = 300_000
LIMIT_S = 3.0
SIZE = 1_500_000


@pytest.mark.parametrize("bulk", [True, False], ids=["batch", "single"])
def test_a_large_run_arrives_over_a_slow_link(db_path: Path, bulk: bool) -> None:
    """It takes longer than each of the two lets a request stand still."""
    text = Random(5).randbytes(SIZE // 2).hex()
    with WaxellContext("large", session_id="s") as run:
        run.record_step("document", {"text": text})
    # Packed, hexadecimal digits take half of their size.
    speed = BYTES_PER_S / 2 if bulk else BYTES_PER_S
    hub = db_path.with_name("hub.db")
    serve = serving(hub, request_s=LIMIT_S, allowed_hosts=("127.0.0.1",))
    with serve as client, slow_link(url_of(client), speed) as url:
        done = upload(db_path, url, bulk=bulk, request_timeout=LIMIT_S, read_timeout=LIMIT_S)
    assert done.delivered == 1
    assert contents_of(hub) == contents_of(db_path)
    assert ask(db_path, "SELECT max(attempts) FROM requests") == [(1,)]
