"""`WaxellContext`: one run, as a `with` or `async with` block."""

from __future__ import annotations

from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

from waxlocal.encode import dumps
from waxlocal.ids import generate_session_id
from waxlocal.records import NO_COST, RecordStatus
from waxlocal.sdk.arguments import (
    ReadUsage,
    is_given,
    need,
    need_count,
    need_dict,
    need_number,
    need_plain_texts,
    number_of,
    plain_llm_call,
    plain_text,
    yes_or_no,
)
from waxlocal.sdk.context_attributes import ContextAttributes
from waxlocal.sdk.governance import GovernanceRecords
from waxlocal.sdk.memory import MemoryRecords
from waxlocal.sdk.messages import ConversationRecords, HumanTurn
from waxlocal.sdk.run import Run, captured
from waxlocal.sdk.scope import current_run, still_open
from waxlocal.sdk.scope import session as session_scope

if TYPE_CHECKING:
    from typing_extensions import Self

    from waxlocal.sdk.client import WaxellObserveClient

__all__ = ["HumanTurn", "WaxellContext", "generate_session_id", "session_scope"]

# The default of `framework` and the like.
_UNSAID = ""


class WaxellContext(ConversationRecords, MemoryRecords, GovernanceRecords, ContextAttributes):
    """Records one run of an agent; use it with `with` or `async with`.

    The start, each `record_*` call and the end are in the file when they return: a `kill -9` loses
    none of them (`durability="full"`: nor does a power cut). `set_tag`, `set_metadata` and
    `set_result` are kept and written with the next record, with `flush()`, or at the end.

    An exception that leaves the block ends the run with status `error` (`blocked` for a
    `PolicyViolationError`) and goes on to the caller. Recording itself raises nothing but
    `TypeError` for arguments of the wrong type.

    `end_user_id` is kept in the metadata as `tenant_sub_user_id`. `client`, `agent_type` and the
    arguments about policies are accepted, as in the original, and do nothing.

    Session and user are the ones given, else those of the enclosing `session()` block, else those
    of the enclosing run. Enclosing means by context variables: a run in another thread is not a
    child of this one, and neither is one that begins after this one has ended.

    Values are recorded as they are at the call; later changes of a dict change nothing. Records
    made before the block wait in memory for its beginning. After its end the methods go on writing
    into the run, `set_*` at once. All methods are safe from any thread, and in a forked child.

    A context that is entered again while it is open goes on with its run until the last block is
    left; entered after the end, it begins another run with the arguments of the constructor.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_blocks",
        "_given",
        "_stop_reason",
        "_stopping",
    )

    def __init__(
        self,
        agent_name: str,
        workflow_name: str = "default",
        inputs: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        client: WaxellObserveClient | None = None,
        enforce_policy: bool = True,
        session_id: str = "",
        user_id: str = "",
        user_group: str = "",
        end_user_id: str = "",
        agent_type: str = "",
        mid_execution_governance: bool | None = None,
        auto_grounding: bool = False,
        interaction_mode: str | None = None,
        on_policy_block: Any = None,
    ) -> None:
        if not (
            type(agent_name) is type(workflow_name) is type(session_id) is str
            and type(user_id) is type(user_group) is type(end_user_id) is str
            and (inputs is None or type(inputs) is dict)
            and (metadata is None or type(metadata) is dict)
            and (interaction_mode is None or type(interaction_mode) is str)
        ):
            agent_name, workflow_name, session_id, user_id, user_group, end_user_id = (
                need_plain_texts(
                    agent_name=agent_name,
                    workflow_name=workflow_name,
                    session_id=session_id,
                    user_id=user_id,
                    user_group=user_group,
                    end_user_id=end_user_id,
                )
            )
            inputs = need_dict("inputs", inputs)
            metadata = need_dict("metadata", metadata)
            need("interaction_mode", interaction_mode, str, optional=True)
            interaction_mode = plain_text(interaction_mode)
        if end_user_id:
            metadata = {**(metadata or {}), "tenant_sub_user_id": end_user_id}
        Run.__init__(
            self,
            agent_name,
            workflow_name,
            inputs,
            metadata,
            session_id,
            user_id,
            user_group,
            interaction_mode or "",
        )
        self._blocks = 0
        self._given = (self._session_id, self._user_id, self._metadata_json)
        self._asked = (inputs, metadata, client, enforce_policy, agent_type)
        self._stopping = False
        self._stop_reason = ""
        self._conversation: dict[str, Any] | None = None

    # -- the block ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._blocks:
            self._blocks += 1
            return self
        self._blocks = 1
        if self._ended:
            self._start_over()
        outer = current_run.get()
        if outer is not None:
            outer = still_open(outer)
        try:
            self._open(outer)
            current_run.set(self)
        except BaseException as error:  # a signal handler has struck: there will be no `__exit__`
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _start_over(self) -> None:
        """Forget the run before: the next one begins with what the constructor was given."""
        self._session_id, self._user_id, self._metadata_json = self._given
        self._metadata = self._tags = self._tags_json = self._result_json = None
        self._conversation = self._captured = None
        self._attributes_dirty = self._ended = self._stopping = False
        self._stop_reason = ""
        self._positions = count(1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._blocks -= 1
        if self._blocks > 0:
            return
        self._blocks = 0
        # No `reset`: this may be another context than the one that the block was entered in, as
        # with async generators, and there the run is passed over because it has ended.
        if current_run.get() is self:
            current_run.set(self._outer)
        try:
            self._close_with(kind, error, traceback)
        except BaseException:  # a signal handler has struck: nobody else ends the run
            self._close_with(kind, error, traceback)
            raise

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    @property
    def run_id(self) -> str:
        """The id of this run, empty before the block and with `WAXELL_OBSERVE=false`."""
        return self._run_id

    # -- tags, metadata, result -----------------------------------------------------------------

    def set_tag(self, key: str, value: str) -> None:
        """Tag the run. Both must be text; a key set again has its last value."""
        if type(key) is not str or type(value) is not str:
            key, value = need_plain_texts(key=key, value=value)
        self._set_tag(key, value)

    def set_metadata(self, key: str, value: Any) -> None:
        """Keep a value of any kind with the run, under a key; it replaces the one before."""
        if type(key) is not str:
            (key,) = need_plain_texts(key=key)
        self._set_metadata(key, value)

    def set_result(self, result: dict[str, Any]) -> None:
        """Set the result of the run; it replaces the one before. It counts as content."""
        if type(result) is not dict:
            need("result", result, dict)
            result = dict(dict.items(result))
        self._set_result(result)

    async def flush(self) -> None:
        """Write tags, metadata and result now, and what a locked file kept waiting."""
        self._flush()

    def flush_sync(self) -> None:
        """Do the same as `flush`, in code that is not async."""
        self._flush()

    # -- LLM calls, steps, scores ---------------------------------------------------------------

    def record_llm_call(
        self,
        *,
        model: str,
        tokens_in: int | None = None,
        tokens_out: int | None = None,
        cost: float | None = NO_COST,
        task: str = "",
        prompt_preview: str = "",
        response_preview: str = "",
        duration_ms: int | None = None,
        provider: str = "",
        framework: str = "",
        prompt_hash: str = "",
        full_messages: list[Any] | None = None,
        full_response: str | None = None,
        config: dict[str, Any] | None = None,
        prompt_variables: dict[str, Any] | None = None,
        is_streaming: bool = False,
        ttft_ms: int | None = None,
        chunk_count: int | None = None,
        status: str = RecordStatus.OK,
        error_type: str = "",
        error_message: str = "",
        cached_tokens: int | None = 0,
        cache_write_tokens: int | None = 0,
        reasoning_tokens: int | None = None,
        usage: Any = ...,
    ) -> None:
        """Record one call of a model, after it has answered.

        `tokens_in` counts all input tokens; `cached_tokens` and `cache_write_tokens` say how many
        of them were read from, or written to, the provider's cache (None means 0).
        `reasoning_tokens` says how many of `tokens_out` were spent on reasoning; None where the
        provider does not tell. Without a `cost` (dollars) the file's price list gives it; without
        a price it is unknown. A 0 that is given says that the call was free.

        `usage` is the provider's usage object as it came with the answer, in place of the counts
        or beside them; a count that is given (and not 0, of the cached ones) wins over it. None is
        what an answer without usage has: the tokens of such a call are unknown. An object without
        counts that are known raises `UnknownUsage`, which is a `TypeError`; so do missing counts
        without `usage`. A part that is greater than its whole (more `cached_tokens` than
        `tokens_in`) was counted beside it, and is added to it. `duration_ms` is the time of the
        call, `ttft_ms` that to its first token.
        """
        if not (
            type(model) is type(task) is type(provider) is type(status) is str
            and type(prompt_preview) is type(response_preview) is str
            and type(error_type) is type(error_message) is str
            and type(tokens_in) is type(tokens_out) is int
            and type(cached_tokens) is type(cache_write_tokens) is int
            and (reasoning_tokens is None or type(reasoning_tokens) is int)
            and type(is_streaming) is bool
            and (full_response is None or type(full_response) is str)
            # As `plain_llm_call` returns them; or the parts are in their whole.
            and (
                type(usage) is ReadUsage
                or (
                    usage is ...
                    and (cached_tokens + cache_write_tokens <= tokens_in or tokens_in < 0)
                    and (reasoning_tokens is None or reasoning_tokens <= tokens_out)
                )
            )
        ):
            WaxellContext.record_llm_call(**plain_llm_call(**locals()))  # `self` among them
            return
        if cost is NO_COST:
            cost = None
        elif cost is not None and type(cost) is not float:
            cost = need_number("cost", cost)
        if duration_ms is not None and type(duration_ms) is not int:
            duration_ms = need_count("duration_ms", duration_ms)
        if ttft_ms is not None and type(ttft_ms) is not int:
            ttft_ms = need_count("ttft_ms", ttft_ms)
        if not self._recorder.enabled:
            return
        details = messages = None
        usage_known = usage is ... or usage.is_known
        # By identity: a value of another type may raise when it is compared.
        if not (
            framework is prompt_hash is _UNSAID
            and config is prompt_variables is None
            and chunk_count is None
            and usage is ...
        ):
            details = self._llm_details(
                framework, prompt_hash, config, prompt_variables, chunk_count, usage
            )
        if not self._recorder.capture_content:
            prompt_preview = response_preview = error_message = ""
            full_response = None
        elif full_messages is not None:
            messages = dumps(full_messages)
        if captured.claim is not None and captured.claim(
            self, {**locals(), "response": full_response}
        ):
            return
        # fmt: off
        self._add_llm_call(
            model=model, provider=provider, task=task, tokens_in=tokens_in, tokens_out=tokens_out,
            cached_tokens=cached_tokens, cache_write_tokens=cache_write_tokens, cost=cost,
            duration_ms=duration_ms, ttft_ms=ttft_ms, is_streaming=is_streaming, status=status,
            error_type=error_type or None, error_message=error_message or None,
            prompt_preview=prompt_preview or None, response_preview=response_preview or None,
            messages=messages, response=full_response, details=details,
            reasoning_tokens=reasoning_tokens, usage_known=usage_known,
        )
        # fmt: on

    def _llm_details(
        self,
        framework: Any,
        prompt_hash: Any,
        config: Any,
        prompt_variables: Any,
        chunk_count: Any,
        usage: Any,
    ) -> str | None:
        keeps_text = self._recorder.capture_content
        if not keeps_text and config is not None:
            from waxlocal.sdk.redaction import settings_without_content  # few programs need it

            config = settings_without_content(config) if isinstance(config, dict) else None
        details = {
            "framework": framework,
            "prompt_hash": prompt_hash,
            "config": config,
            "prompt_variables": prompt_variables if keeps_text else None,
            "chunk_count": chunk_count,
            "usage_note": None if usage is ... else usage.note,
            "token_details": None if usage is ... else usage.finer,
        }
        kept = {name: value for name, value in details.items() if is_given(value)}
        return dumps(kept) if kept else None

    def record_step(
        self,
        step_name: str,
        output: dict[str, Any] | None = None,
        *,
        kind: str = "chain",
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Record a step of the program, after it is done; its `output` counts as content."""
        if type(step_name) is not str:
            (step_name,) = need_plain_texts(step_name=step_name)
        need("output", output, dict, optional=True)
        self._add_step(step_name, kind, output, attributes)

    def record_score(
        self, name: str, value: float | str | bool, data_type: str = "numeric", comment: str = ""
    ) -> None:
        """Record a score of the run: a number, a yes or no, or a word.

        `numeric` takes a number, also as text, and raises `TypeError` for the rest. So does
        `boolean` for a text other than `true`, `yes`, `1`, `false`, `no` and `0`; of other values
        the truth counts. Any other type keeps the value's text.
        """
        if not type(name) is type(data_type) is type(comment) is str:
            name, data_type, comment = need_plain_texts(
                name=name, data_type=data_type, comment=comment
            )
        if data_type == "numeric":
            number = value if type(value) is float else number_of("value", value)
            self._add_score(name, data_type, number, None, comment)
        elif data_type == "boolean":
            yes = yes_or_no("value", value)
            self._add_score(name, data_type, float(yes), "true" if yes else "false", comment)
        else:
            self._add_score(name, data_type, None, plain_text(value), comment)

    # -- stopping early -------------------------------------------------------------------------

    def request_stop(self, reason: str = "") -> None:
        """Make `should_stop` return True, and record why; the agent has to ask it."""
        self._stopping = True
        self._stop_reason = reason
        self._add_event("stop_requested", {"reason": reason}, content=("reason",))

    def should_stop(self) -> bool:
        """Return whether `request_stop` was called on this context."""
        return self._stopping

    @property
    def stop_reason(self) -> str:
        """Why the agent was asked to stop."""
        return self._stop_reason
