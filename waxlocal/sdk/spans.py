"""What an agent did on its way: tools, retrievals, decisions, thoughts, retries, as spans."""

from __future__ import annotations

from typing import Any

from waxlocal.known_types import name_of_type
from waxlocal.records import RecordStatus
from waxlocal.sdk.arguments import (
    checked,
    need,
    need_count,
    need_number,
    need_numbers,
    plain_text,
)
from waxlocal.sdk.exception_text import printed
from waxlocal.sdk.run import Run
from waxlocal.sdk.run_records import NO_SPAN
from waxlocal.sdk.scope import current_span, open_span

__all__ = ["OpenSpan", "SpanRecords"]


@checked("WaxellContext")
class SpanRecords(Run):
    """The records that become spans of a run; see `WaxellContext`."""

    __slots__ = ()

    def enter_span(
        self,
        name: str,
        *,
        kind: str = "custom",
        attributes: dict[str, Any] | None = None,
        input_data: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Open a span, on disk at once; what is recorded until `exit_span` lies inside it.

        Returns the handle for `exit_span`. Before the block of the run there is nothing that a span
        could be around: it is not recorded.
        """
        need("name", name, str)
        position = NO_SPAN
        if self._run_id:
            position = self._add_span(
                name, kind, status=RecordStatus.RUNNING, attributes=attributes, input=input_data
            )
        handle: dict[str, Any] = {
            "run_id": self._run_id,
            "position": position,
            "started_ns": self._steady(),
            "generation": self._recorder.generation,
            "outer": open_span(),
            "ended": False,
        }
        if position:
            current_span.set(handle)
        return handle

    def exit_span(
        self,
        handle: dict[str, Any] | None,
        *,
        output_data: dict[str, Any] | None = None,
        status: str = RecordStatus.OK,
        error: str = "",
        exc: BaseException | None = None,
    ) -> None:
        """Close a span that `enter_span` opened.

        The first end stays: closing it again does nothing, so that a `finally` cannot undo the
        error that an `except` recorded. None is accepted and does nothing, too.
        """
        if not handle or handle["ended"]:
            return
        kind = "" if exc is None else name_of_type(type(exc))
        if exc is not None:
            status = RecordStatus.ERROR
            error = error or f"{kind}: {printed(exc)}"
        if current_span.get() is handle:
            current_span.set(handle["outer"])
        handle["ended"] = True
        if exc is not None and handle.get("generation") != self._recorder.generation:
            return  # a forked child is thrown out of it: the span goes on, and ends, in its parent
        duration_ms = (self._steady() - handle["started_ns"]) / 1e6
        shown = self._words(plain_text(error), kind)
        self._end_span(handle["position"], duration_ms, status, shown, output_data)

    def _steady(self) -> int:
        return self._recorder.clock.monotonic_ns() if self._recorder.enabled else 0

    def record_tool_call(
        self,
        *,
        name: str,
        input: dict[str, Any] | str = "",
        output: dict[str, Any] | str = "",
        duration_ms: int | None = None,
        status: str = RecordStatus.OK,
        tool_type: str = "function",
        error: str = "",
    ) -> None:
        """Record a call of a tool, after it has answered; it took `duration_ms`.

        An `error` makes its status `error`. To record while the tool runs, use `enter_span`.
        """
        need("name", name, str)
        attributes = {"tool_type": tool_type}
        if type(error) is not str or type(status) is not str:
            error, status = plain_text(error), plain_text(status, RecordStatus.OK)
        self._add_span(
            name,
            "tool",
            status=RecordStatus.ERROR if error and status == RecordStatus.OK else status,
            error=error,
            duration_ms=duration_ms,
            attributes=attributes,
            # By type: arrays and the like do not answer `!=` with yes or no.
            input=None if type(input) is str and not input else input,
            output=None if type(output) is str and not output else output,
        )

    def record_retrieval(
        self,
        *,
        query: str,
        documents: list[dict[str, Any]],
        source: str = "",
        duration_ms: int | None = None,
        top_k: int | None = None,
        scores: list[float] | None = None,
    ) -> None:
        """Record a search and the documents that it found; it took `duration_ms`.

        `scores` belong to the documents, in their order; the best and the mean are kept beside.
        """
        need("query", query, str)
        need("documents", documents, list)
        attributes: dict[str, Any] = {"source": source, "doc_count": len(documents)}
        if top_k is not None:
            attributes["top_k"] = top_k
        if numbers := need_numbers("scores", scores):
            attributes["top_score"] = max(numbers)
            attributes["avg_score"] = sum(numbers) / len(numbers)
        output: dict[str, Any] = {"documents": documents}
        if scores is not None:
            output["scores"] = scores
        self._add_span(
            f"retrieve:{source or 'search'}",
            "retriever",
            duration_ms=duration_ms,
            attributes=attributes,
            input={"query": query, "top_k": top_k},
            output=output,
        )

    def record_decision(
        self,
        *,
        name: str,
        options: list[str],
        chosen: str,
        reasoning: str = "",
        confidence: float | None = None,
        metadata: dict[str, Any] | None = None,
        instrumentation_type: str = "manual",
    ) -> None:
        """Record a choice; a `confidence` is also the score `decision_confidence:<name>`."""
        need("name", name, str)
        need("chosen", chosen, str)
        need("options", options, list)
        attributes: dict[str, Any] = {"instrumentation_source": instrumentation_type}
        if confidence is not None:
            attributes["confidence"] = confidence = need_number("confidence", confidence)
        self._add_span(
            name,
            "decision",
            attributes={**attributes, **(metadata or {})},
            input={"options": options, "reasoning": reasoning},
            output={"chosen": chosen, "confidence": confidence},
        )
        if confidence is not None:
            comment = f"Chose {chosen!r} from {len(options)} options"
            score = f"decision_confidence:{name}"
            self._add_score(score, "numeric", confidence, None, comment)

    def record_reasoning(
        self,
        *,
        step: str,
        thought: str,
        evidence: list[str] | None = None,
        conclusion: str = "",
    ) -> None:
        """Record a thought on the way to an answer, with what supports it and what follows."""
        need("step", step, str)
        need("thought", thought, str)
        self._add_span(
            step,
            "reasoning",
            input={"thought": thought, "evidence": evidence or []},
            output={"conclusion": conclusion} if conclusion else None,
        )

    def record_retry(
        self,
        *,
        attempt: int,
        reason: str,
        strategy: str = "retry",
        original_error: str = "",
        fallback_to: str = "",
        max_attempts: int | None = None,
        duration_ms: float | None = None,
    ) -> None:
        """Record that an attempt failed and is repeated; it cost `duration_ms`."""
        attempt = need_count("attempt", attempt)
        need("reason", reason, str)
        attributes: dict[str, Any] = {"attempt": attempt, "strategy": strategy}
        if max_attempts is not None:
            attributes["max_attempts"] = max_attempts
        if fallback_to:
            attributes["fallback_to"] = fallback_to
        self._add_span(
            f"{strategy}:{attempt}",
            "retry",
            status=RecordStatus.ERROR,
            error=original_error or reason,
            duration_ms=duration_ms,
            attributes=attributes,
            input={"reason": reason, "original_error": original_error},
            output={"fallback_to": fallback_to} if fallback_to else None,
        )

    def record_code_execution(
        self,
        *,
        language: str,
        code: str,
        execution_time: float = 0.0,
        output_size_kb: int = 0,
        output: str = "",
        error: str = "",
        paths: list[str] | None = None,
        packages: list[str] | None = None,
    ) -> None:
        """Record that code was run, for `execution_time` seconds, with what result."""
        need("language", language, str)
        attributes = {"language": language, "output_size_kb": output_size_kb}
        self._add_span(
            f"code:{language}",
            "tool",
            status=RecordStatus.ERROR if error else RecordStatus.OK,
            error=error,
            duration_ms=execution_time * 1000 or None,
            attributes={**attributes, "paths": paths or [], "packages": packages or []},
            input={"code": code},
            output={"output": output},
        )

    def record_communication(
        self,
        *,
        channel: str,
        recipient: str = "",
        body: str = "",
        subject: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record that the agent sent someone a message: an email, a chat message, a text."""
        need("channel", channel, str)
        self._add_span(
            f"comm:{channel}",
            "tool",
            attributes={
                "io.direction": "outbound",
                "io.channel": channel,
                **(metadata or {}),
            },
            input={"channel": channel, "recipient": recipient, "subject": subject, "body": body},
        )

    def record_grounding(
        self,
        *,
        grounding_scores: list[float] | None = None,
        citations: list[str] | None = None,
        unsupported_claims: list[str] | None = None,
        output_confidence: float | None = None,
    ) -> None:
        """Record how well an answer is supported; the mean is also the score `grounding_score`."""
        numbers = need_numbers("grounding_scores", grounding_scores)
        data = {
            "grounding_scores": numbers,
            "citations": citations or [],
            "unsupported_claims": unsupported_claims or [],
            "output_confidence": output_confidence,
        }
        self._add_event("grounding", data, content=("citations", "unsupported_claims"))
        if numbers:
            mean = sum(numbers) / len(numbers)
            comment = f"Avg of {len(numbers)} claims"
            self._add_score("grounding_score", "numeric", mean, None, comment)

    def record_prompt_use(
        self, *, name: str, version: int = 0, label: str = "", content_hash: str = ""
    ) -> None:
        """Record which managed prompt, and which version of it, was used."""
        need("name", name, str)
        attributes = {"version": version, "label": label, "content_hash": content_hash}
        self._add_span(f"prompt.use:{name}", "prompt", attributes=attributes)


class OpenSpan:
    """A span around a block; left by an exception it ends with status `error`."""

    def __init__(
        self,
        context: SpanRecords,
        name: str,
        *,
        kind: str,
        attributes: dict[str, Any] | None = None,
        input_data: dict[str, Any] | None = None,
    ) -> None:
        self._context = context
        self._arguments = (name, kind, attributes, input_data)
        self._handle: dict[str, Any] | None = None
        self.output: dict[str, Any] | None = None

    def __enter__(self) -> OpenSpan:
        name, kind, attributes, data = self._arguments
        self._handle = self._context.enter_span(
            name, kind=kind, attributes=attributes, input_data=data
        )
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._context.exit_span(self._handle, output_data=self.output, exc=error)
