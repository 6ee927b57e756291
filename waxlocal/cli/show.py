"""`waxlocal show RUN_ID`: print everything that one run recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from waxlocal import escaping, wording
from waxlocal.cli import complete, figures
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.local_times import local_time
from waxlocal.cli.output import ACCENT, DIM, ERROR, Screen, status_style
from waxlocal.cli.target_file import recordings, target_file_of
from waxlocal.messages.said import asked_last
from waxlocal.queries import (
    LlmCall,
    Process,
    RunDetail,
    RunLink,
    Span,
    as_dict,
    get_run,
    resolve_run_id,
)
from waxlocal.queries.call_sources import CallSources, call_sources
from waxlocal.records import RecordStatus

__all__ = ["show", "show_run"]

# Lines of one value that are shown on a terminal; a pipe and --json get all.
_MOST_LINES = 40
# Keys up to this length are aligned in one column.
_KEY_WIDTH = 24


@click.command(cls=Subcommand)
@click.argument("run_id", metavar="RUN_ID", shell_complete=complete.runs)
@click.option("--explain", is_flag=True, help="Say where the numbers of each LLM call come from.")
@form_options()
@click.pass_context
def show(ctx: click.Context, *, run_id: str, explain: bool, form: str) -> None:
    """Show everything that one run recorded: inputs, result, LLM calls, spans, scores, error.

    RUN_ID is a run id or workflow id, or its first characters if only one run begins with them;
    `last` is the run that was recorded last, the first of `waxlocal runs`.
    """
    with recordings(target_file_of(ctx)) as connection:
        detail = get_run(connection, resolve_run_id(connection, run_id))
        explained = call_sources(connection, detail.llm_calls) if explain else ()
    if form == "json":
        plain = as_dict(detail)
        for call, sources in zip(plain["llm_calls"], map(as_dict, explained), strict=False):
            call["explained"] = sources
        print_json({**plain.pop("run"), **plain})
    else:
        show_run(Screen(), detail, explained)


def show_run(screen: Screen, detail: RunDetail, explained: Sequence[CallSources] = ()) -> None:
    """Write all records of a run, with where the numbers of its calls come from if given."""
    _show_head(screen, detail)
    _show_error(screen, detail)
    for title, value in (("Inputs", detail.inputs), ("Result", detail.result)):
        if value is not None:
            screen.heading(title)
            _show_value(screen, value)
    _show_calls(screen, detail.llm_calls, {one.position: one for one in explained})
    _show_spans(screen, detail.spans)
    _show_steps(screen, detail)
    _show_scores(screen, detail)
    _show_events(screen, detail)
    for title, value in (("Tags", detail.tags), ("Metadata", detail.metadata)):
        if value:
            screen.heading(title)
            _show_pairs(screen, value)
    _show_around(screen, detail)


def _show_head(screen: Screen, detail: RunDetail) -> None:
    run = detail.run
    name = (
        run.agent_name
        if run.workflow_name == "default"
        else f"{run.agent_name} / {run.workflow_name}"
    )
    screen.write(
        screen.text((escaping.line(name), "bold"), "  ", (run.status, status_style(run.status)))
    )
    screen.write(screen.text((f"run {run.run_id}", DIM)))
    who = (run.session_id, run.user_id, detail.user_group)
    names = ("session", "user", "group")
    facts = [f"{name} {escaping.line(one)}" for name, one in zip(names, who, strict=True) if one]
    if facts:
        screen.write(screen.text((screen.facts(*facts), DIM)))
    when = run.started_at if screen.plain else local_time(run.started_at)
    screen.write(screen.text(screen.facts(
        when,
        figures.duration(run.duration) if run.duration is not None else "not ended",
        figures.counted(run.llm_calls, "LLM call"),
        *figures.spent(run),
    )))  # fmt: skip
    if detail.process is not None:
        screen.write(screen.text((_recorded_by(detail.process), DIM)))


def _recorded_by(process: Process) -> str:
    number = f"process {process.pid}" + (", ended" if process.gone else "")
    place = f"{process.program or 'python'} on {process.host}"
    return escaping.line(f"{place}, {number}, Python {process.python}")


def _show_error(screen: Screen, detail: RunDetail) -> None:
    run = detail.run
    if not (run.error or run.error_type or detail.traceback):
        return
    screen.heading("Error")
    said = wording.failure(run.error_type, run.error)
    screen.write(screen.text((escaping.block(said), ERROR)))
    if detail.traceback:
        _show_lines(screen, detail.traceback, style=DIM, tail=True)


def _show_value(screen: Screen, value: Any, indent: int = 0) -> None:
    """Write JSON for people: a string as it is, everything else indented."""
    if isinstance(value, str):
        _show_lines(screen, value, indent=indent)
    elif isinstance(value, dict) and value and all(map(_is_short, value.values())):
        _show_pairs(screen, value, indent)
    else:
        _show_lines(screen, json.dumps(value, ensure_ascii=False, indent=2), indent=indent)


def _is_short(value: Any) -> bool:
    return not isinstance(value, dict | list) or not value


def _show_pairs(screen: Screen, value: Any, indent: int = 0) -> None:
    if not isinstance(value, dict):
        _show_value(screen, value, indent)
        return
    names = [escaping.line(str(key)) for key in value]
    wide = min(max(map(len, names), default=0), _KEY_WIDTH)
    for name, item in zip(names, value.values(), strict=True):
        text = item if isinstance(item, str) else _compact(item)
        if "\n" in text:
            screen.write(screen.text(" " * indent, (name, DIM)))
            _show_lines(screen, text, indent=indent + 2)
        else:
            screen.note(" " * indent + name.ljust(wide) + " ", _clipped(screen, text))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _clipped(screen: Screen, text: str, most: int | None = None) -> str:
    """Return text as one paragraph; on a terminal, cut where it would fill the screen."""
    shown = escaping.block(text).replace("\n", " ")
    most = most or _MOST_LINES * screen.width
    return shown if screen.plain or len(shown) <= most else shown[:most].rstrip() + " …"


def _show_lines(
    screen: Screen, text: str, *, style: str = "", indent: int = 0, tail: bool = False
) -> None:
    """Write lines; on a terminal only the first ones, or of a traceback the last ones."""
    lines = escaping.block(text.rstrip("\n")).split("\n")
    left = 0 if screen.plain else len(lines) - _MOST_LINES
    if left > 0:
        lines = lines[-_MOST_LINES:] if tail else lines[:_MOST_LINES]
    note = f"{' ' * indent}… {left:,} more lines; see them with --json" if left > 0 else ""
    if note and tail:
        screen.write(screen.text((note, DIM)))
    for line in lines:
        screen.write(screen.text(" " * indent, (_clipped(screen, line), style)))
    if note and not tail:
        screen.write(screen.text((note, DIM)))


def _tokens_of_call(call: LlmCall) -> tuple[str, ...]:
    if not call.usage_known:
        return ("unknown tokens",)
    return (
        f"{figures.tokens(call.tokens_in)} in{_parts(call.parts_of_input())}",
        f"{figures.tokens(call.tokens_out)} out{_parts(call.parts_of_output())}",
    )


def _show_calls(
    screen: Screen, calls: Sequence[LlmCall], explained: Mapping[int, CallSources]
) -> None:
    if not calls:
        return
    screen.heading("LLM calls")
    for call in calls:
        facts = screen.facts(
            *_tokens_of_call(call),
            figures.cost(call.cost, 1.0) if call.cost is not None else "unknown cost",
            figures.duration(call.duration_ms / 1000) if call.duration_ms is not None else "",
            f"first token {figures.duration(call.ttft_ms / 1000)}"
            if call.ttft_ms is not None
            else "",
            escaping.line(call.task),
            *map(escaping.line, call.further_facts()),
        )
        provider = f" ({escaping.line(call.provider)})" if call.provider else ""
        screen.write(screen.text((escaping.line(call.model), ACCENT), (provider, DIM), "  ", facts))
        if call.status != RecordStatus.OK or call.error_message:
            words = [
                call.status if call.status != RecordStatus.OK else "",
                call.error_type,
                call.error_message,
            ]
            said = ": ".join(word for word in words if word)
            screen.write(screen.text(("  " + escaping.line(said), ERROR)))
        for mark, text in (
            (">", call.prompt_preview or asked_last(call.messages)),
            ("<", call.answer()),
        ):
            if text:
                screen.note(f"  {mark}", _clipped(screen, text, 4 * screen.width))
        if (sources := explained.get(call.position)) is not None:
            for line in sources.lines:
                screen.note("  =", escaping.line(line))


def _parts(parts: Iterable[tuple[int, str]]) -> str:
    said = ", ".join(f"{figures.tokens(number)} {name}" for number, name in parts)
    return f" ({said})" if said else ""


def _show_spans(screen: Screen, spans: Sequence[Span]) -> None:
    if not spans:
        return
    screen.heading("Spans")
    for depth, span in _walk(spans):
        ms = "" if span.duration_ms is None else figures.duration(span.duration_ms / 1000)
        status = "" if span.status == RecordStatus.OK else f"  {escaping.line(span.status)}"
        style = ERROR if span.status == RecordStatus.ERROR else ACCENT
        name = screen.text(
            "  " * depth, (escaping.line(span.name), style), (f"  {escaping.line(span.kind)}", DIM)
        )
        screen.write(name.append(f"  {ms}").append(status, style=style))
        for mark, value in ((">", span.input), ("<", span.output), ("!", span.error)):
            if value:
                text = value if isinstance(value, str) else _compact(value)
                margin = "  " * (depth + 1)
                shown = _clipped(screen, text, 2 * screen.width)
                screen.note(f"{margin}{mark}", shown, ERROR if mark == "!" else "")


def _walk(spans: Sequence[Span], depth: int = 0) -> Iterator[tuple[int, Span]]:
    for span in spans:
        yield depth, span
        yield from _walk(span.children, depth + 1)


def _show_steps(screen: Screen, detail: RunDetail) -> None:
    if detail.steps:
        screen.heading("Steps")
    for step in detail.steps:
        text = "" if not step.output else _clipped(screen, _compact(step.output), 2 * screen.width)
        screen.write(
            screen.text(
                (escaping.line(step.step_name), ACCENT),
                (f"  {escaping.line(step.kind)}  ", DIM),
                text,
            )
        )


def _show_scores(screen: Screen, detail: RunDetail) -> None:
    if detail.scores:
        screen.heading("Scores")
    for score in detail.scores:
        value = score.value if isinstance(score.value, str) else _number(score.value)
        comment = f"  {escaping.line(score.comment)}" if score.comment else ""
        screen.write(
            screen.text(
                (f"{escaping.line(score.name)}  ", DIM), escaping.line(value), (comment, DIM)
            )
        )


def _number(value: float | bool | None) -> str:
    if value is None or isinstance(value, bool):
        return {None: figures.NOTHING, True: "yes", False: "no"}[value]
    return f"{value:g}"


def _show_events(screen: Screen, detail: RunDetail) -> None:
    if detail.events:
        screen.heading("Events")
    for event in detail.events:
        text = "" if not event.data else _clipped(screen, _compact(event.data), 2 * screen.width)
        screen.write(screen.text((f"{escaping.line(event.event)}  ", ACCENT), text))


def _show_around(screen: Screen, detail: RunDetail) -> None:
    lines = [("opened by", _named(detail.parent))] if detail.parent else []
    lines += [("opened", _named(child)) for child in detail.children]
    lines += [("previous", detail.previous_run_id)] if detail.previous_run_id else []
    lines += [("next", detail.next_run_id)] if detail.next_run_id else []
    if lines:
        screen.heading("Related runs")
    for name, text in lines:
        screen.write(screen.text((f"{name}  ", DIM), text))


def _named(link: RunLink) -> str:
    parts = (
        link.run_id,
        escaping.line(link.agent_name),
        link.status,
        figures.duration(link.duration),
    )
    return "  ".join(parts)
