"""Forty ways to make a page run what was recorded, and a recording with them in every field."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.tools.builders import moment, run_id
from waxlocal.storage.connection import open_writer

__all__ = ["PAYLOADS", "SENTINEL", "record_hostile", "session_id"]

# What a payload sets if it runs.
SENTINEL = "waxPwned"
_RUN = f"window.{SENTINEL}=1"

PAYLOADS = (
    f"<script>{_RUN}</script>",
    f"</script><script>{_RUN}</script>",
    f'"><script>{_RUN}</script>',
    f"'><script>{_RUN}</script>",
    f"</title><script>{_RUN}</script>",
    f"</textarea><script>{_RUN}</script>",
    f"</style><script>{_RUN}</script>",
    f"--><script>{_RUN}</script>",
    f"]]><script>{_RUN}</script>",
    f"</details></summary><script>{_RUN}</script>",
    f"</svg><script>{_RUN}</script>",
    f"</pre></code><img src=x onerror={_RUN}>",
    f"<img src=x onerror={_RUN}>",
    f'" onmouseover="{_RUN}" autofocus onfocus="{_RUN}',
    f"' onfocus='{_RUN}' autofocus tabindex='1",
    f"x onload={_RUN}",
    f"<svg onload={_RUN}>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f'<svg><use href="data:image/svg+xml,<svg id=a onload={_RUN}/>#a"/>',
    f"<math><mtext><table><mglyph><style><img src=x onerror={_RUN}></style>",
    f"<iframe srcdoc='<script>parent.{SENTINEL}=1</script>'></iframe>",
    f"<iframe src=javascript:parent.{SENTINEL}=1></iframe>",
    f"<object data=javascript:{_RUN}></object>",
    f"<embed src=javascript:{_RUN}>",
    f"<a href=javascript:{_RUN} autofocus>click</a>",
    f"javascript:{_RUN}",
    f"JaVaScRiPt&colon;{_RUN}//",
    f"data:text/html,<script>{_RUN}</script>",
    f"<body onload={_RUN}>",
    f"<details open ontoggle={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<audio src onerror={_RUN}>",
    f"<input autofocus onfocus={_RUN}>",
    f'<form action="javascript:{_RUN}"><button autofocus>send</button></form>',
    f'<meta http-equiv=refresh content="0;url=javascript:{_RUN}">',
    '<base href="https://evil.example/"><link rel=stylesheet href=//evil.example/x.css>',
    f"{{{{ [].__class__.__base__.__subclasses__() }}}} {{% raw %}} ${{{_RUN}}}",
    f"&lt;script&gt;{_RUN}&lt;/script&gt; \\u003cscript\\u003e{_RUN}\\u003c/script\\u003e",
    f"\u2028\u2029\u202e\x00<script\x0b>{_RUN}</script\t>\ufeff<ſcript>{_RUN}",  # noqa: RUF001
)


def record_hostile(path: Path) -> list[str]:
    """Record a run for each payload, it being in every text that a run has; return the run ids.

    The runs belong to sessions whose ids are payloads, too; the upload of each was refused with one
    as its reason.
    """
    with closing(open_writer(path)) as connection:
        connection.execute("BEGIN")
        connection.execute(
            "INSERT INTO targets (target_id, url, reason, failures, last_attempt_at)"
            " VALUES (1, ?, ?, 3, ?)",
            (f"https://x@{PAYLOADS[2]}/", PAYLOADS[0], moment(0)),
        )
        ids = [_record(connection, number, one) for number, one in enumerate(PAYLOADS, 1)]
        connection.execute("UPDATE targets SET cursor = (SELECT max(id) FROM runs)")
        connection.execute("COMMIT")
    return ids


def session_id(number: int, payload: str) -> str:
    """Return the id of the session of a payload, counted from 1.

    Without the NUL: SQLite's JSON functions end a text there, and no id with one is found.
    """
    return f"{number} {payload}".replace("\0", "")


def _record(connection: sqlite3.Connection, number: int, one: str) -> str:
    new, at = run_id(number), moment(number)
    inner = json.dumps({one: one, "message": one, "list": [one, {one: None}]})
    _insert(
        connection, "processes", process_id=number, host=one, boot_id=f"b{number}",
        pid_namespace=one, pid=number, started=str(number), program=one, python=one, waxlocal=one,
        first_seen_at=at,
    )  # fmt: skip
    failed = number % 2 == 0
    _insert(
        connection, "runs", run_id=new, agent_name=one, workflow_name=one,
        session_id=session_id(number, one), user_id=one, user_group=one,
        trace_id=new.replace("-", ""), root_workflow_id=one, interaction_mode=one,
        process_id=number, status="error" if failed else "success", started_at=at,
        completed_at=moment(number + 1), duration=1.0, error=one if failed else None,
        error_type=one if failed else None, traceback=one if failed else None, metadata=inner,
        tags=json.dumps({one: one}),
        inputs=json.dumps({"message": one, one: one}),
        result=json.dumps({"response": one, one: one}),
    )  # fmt: skip
    _insert(
        connection, "llm_calls", run_id=new, position=1, recorded_at=moment(number + 0.5),
        model=one, provider=one, task=one, tokens_in=100, tokens_out=10, cached_tokens=5,
        cache_write_tokens=0, cost=0.01 if number % 3 else None,
        cost_source="call" if number % 3 else None, duration_ms=400, is_streaming=0,
        status=one if number % 5 == 0 else "error", error_type=one, error_message=one,
        prompt_preview=one, response_preview=one, messages=inner, response=one, details=inner,
    )  # fmt: skip
    _insert(connection, "steps", run_id=new, position=2, recorded_at=at, step_name=one, kind=one,
            output=inner, attributes=inner)  # fmt: skip
    for position, parent in ((3, None), (4, 3)):
        _insert(
            connection, "spans", run_id=new, position=position, parent_position=parent,
            started_at=at, duration_ms=300, name=one, kind=one, status=one, error=one,
            attributes=inner, input=inner, output=inner,
        )  # fmt: skip
    _insert(connection, "scores", run_id=new, position=5, recorded_at=at, name=one, data_type=one,
            string_value=one, comment=one)  # fmt: skip
    _insert(connection, "events", run_id=new, position=6, recorded_at=at, event=one, data=inner)
    _insert(connection, "model_prices", model=one, provider=one, input_per_mtok=1.0,
            output_per_mtok=2.0, source=one if number % 4 else "unknown", matched=one,
            updated_at=at)  # fmt: skip
    _insert(connection, "deliveries", run_id=new, target_id=1, state="parked", reason=one)
    _insert(
        connection, "requests", run_id=new, target_id=1, stage=one, part=0, idempotency_key=one,
        state="parked", positions="[]", bytes=10, attempts=1, status=400, reason=one,
        first_attempt_at=at, last_attempt_at=at,
    )  # fmt: skip
    return new


def _insert(connection: sqlite3.Connection, table: str, **columns: object) -> None:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values()))
