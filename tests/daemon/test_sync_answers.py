"""Whatever a server answers, in whatever text, the uploader stores it or goes on without it."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest

from tests.faults.audit import audit
from tests.faults.rules import Rule
from tests.faults.server import fault_server
from tests.tools.sync import ask, record, upload
from waxlocal.settings.secret import Secret
from waxlocal.wire.bulk import offer_of
from waxlocal_daemon.answers import MAX_DEPTH, Unreadable, header_text, plain_text, read_json

KEY = Secret("wax_sk_0123456789")
NO_KEY = Secret()
HALF = '{"detail": "\\ud83d half", "run_id": "\\ud83d", "workflow_id": "wf_\\ude00"}'
DEEP = "[" * 100_000
DEEP_OBJECT = '{"results": ' + "[" * 900 + "]" * 900 + "}"
UNREADABLE = {"half a character": HALF, "too deep": DEEP, "deep, but readable": DEEP_OBJECT}


def test_half_a_character_becomes_a_replacement_character() -> None:
    """As an escape, as three bytes, in names and in values."""
    escaped = read_json(
        b'{"a\\ud83d": ["\\ude00", {"b": "\\uD83D"}], "c": "\\ud83d\\ude00"}', NO_KEY
    )
    assert escaped == {"a\ufffd": ["\ufffd", {"b": "\ufffd"}], "c": "😀"}
    json.dumps(escaped, ensure_ascii=False).encode()
    raw = read_json('{"a": "\ud83d"}'.encode("utf-8", "surrogatepass"), NO_KEY)
    assert raw == {"a": "\ufffd"}


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 5_000, 100_000])
def test_what_is_nested_too_deeply_is_not_read(opening: bytes, levels: int) -> None:
    """Whether or not this Python could read it."""
    closing = b"]" if opening == b"[" else b"1}" + b"}" * (levels - 1)
    body = opening * levels + (closing * levels if opening == b"[" else closing)
    with pytest.raises(Unreadable, match="deep") as caught:
        read_json(body, NO_KEY)
    assert caught.value.is_json


def test_an_answer_of_more_values_than_any_has_is_not_read() -> None:
    """8 MB of empty lists would fill the memory."""
    with pytest.raises(Unreadable, match="values"):
        read_json(b"[" + b"[]," * 200_000 + b"[]]", NO_KEY)


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b'{"a": ', b"\xff\xfe\x00", b"\x80", b"9" * 5_000]
)
def test_what_is_not_json_is_told_apart(body: bytes) -> None:
    """A page that stands in front of the server is not the server's answer."""
    with pytest.raises(Unreadable) as caught:
        read_json(body, NO_KEY)
    assert not caught.value.is_json


def test_the_key_does_not_come_back_in_any_spelling() -> None:
    """Spelled out, in escapes, in a header, in the words of the network."""
    spelled = "".join(f"\\u{ord(character):04x}" for character in KEY.reveal())
    body = f'{{"{spelled}": "{spelled} is wrong", "detail": "{KEY.reveal()}"}}'.encode()
    assert KEY.reveal() not in json.dumps(read_json(body, KEY))
    assert KEY.reveal() not in header_text(f"text/{KEY.reveal()}; x", KEY)
    assert plain_text(f"bad: {KEY.reveal()}", KEY) == "bad: (the key)"
    assert len(header_text("x" * 100_000, KEY)) <= 500


@pytest.mark.parametrize(
    "path", ["", "bulk", "/bulk\r\nX: y", "/a b", "/\u00e9", "/" + "x" * 9_999]
)
def test_a_path_that_fits_into_no_request_is_no_offer(path: str) -> None:
    """Nothing could be sent there."""
    assert offer_of({"bulk": {"path": path, "max_runs": 5, "max_bytes": 5_000}}) is None


@pytest.mark.parametrize("status", [200, 400, 404, 422, 503])
@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
@pytest.mark.parametrize("what", UNREADABLE)
def test_one_unreadable_answer_stops_nothing(
    db_path: Path, recorder: object, what: str, bulk: bool, status: int
) -> None:
    """It is that request's failure: the other runs go, and the transaction that settles holds."""
    run_ids = record(30)
    path, nth = ("/bulk/$", 1) if bulk else ("/start/$", 2)
    rule = Rule("status", status=status, path=path, nth=(nth,), raw=UNREADABLE[what], store=False)
    log = StringIO()
    with fault_server((rule,), bulk=bulk) as server:
        done = upload(db_path, server.url, bulk=bulk, log=log, concurrency=8)
        assert done.delivered + done.parked == len(run_ids)
        assert done.parked <= (1 if not bulk and 400 <= status < 500 else 0)
        audit(server).assert_sound()
    json.dumps(ask(db_path, "SELECT status, reason FROM requests"), ensure_ascii=False).encode()
    log.getvalue().encode()


@pytest.mark.parametrize("stage", ["llm-calls", "steps", "spans", "scores", "complete"])
def test_any_request_of_a_run_may_get_such_an_answer(
    db_path: Path, recorder: object, stage: str
) -> None:
    """Not only the start: each is read by the same reader."""
    record(5)
    rules = [
        Rule("status", status=status, path=f"/{stage}/$", nth=(nth,), raw=raw)
        for nth, (status, raw) in enumerate([(200, DEEP), (200, HALF), (500, HALF), (503, DEEP)], 1)
    ]
    with fault_server(rules) as server:
        assert upload(db_path, server.url).delivered == 5
        audit(server).assert_sound()


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_an_unreadable_offer_is_none(
    db_path: Path, recorder: object, what: str, times: int | None
) -> None:
    """The usual requests are sent where the server's configuration cannot be read."""
    record(5)
    rule = Rule("status", status=200, path="/config/$", raw=UNREADABLE[what], times=times)
    with fault_server((rule,), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 5
        audit(server).assert_sound()


@pytest.mark.parametrize(
    "said", ['{"status": "later", "run_id": "?"}', '{"status": "\\ud83d"}', "7"]
)
def test_a_batch_that_is_answered_in_unknown_words(
    db_path: Path, recorder: object, said: str
) -> None:
    """Its runs are tried again after a while, not at once and for ever."""
    (run_id,) = record(1)
    raw = '{"results": [' + said.replace("?", run_id) + "]}"
    rule = Rule("status", status=200, path="/bulk/$", raw=raw, times=3, store=False)
    with fault_server((rule,), bulk=True) as server:
        assert upload(db_path, server.url, bulk=True).delivered == 1
        audit(server).assert_sound()
        assert len(server.state()["keys"]) <= 2
