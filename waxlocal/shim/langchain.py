"""The callback handler for LangChain: a run, with its chains, tools, searches and model calls."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

from waxlocal.capture.callbacks import is_hidden
from waxlocal.shim.framework_handlers import FrameworkHandler, handler_function
from waxlocal.shim.langchain_facts import answer_of, call_of, plain, span_name
from waxlocal.shim.libraries import import_library
from waxlocal.shim.model_calls import Answer

__all__ = ["HandlerMethods", "WaxellLangChainHandler", "handler_class"]


@handler_function
def WaxellLangChainHandler() -> Any:
    """Return a handler for `config={"callbacks": [handler]}` of anything of LangChain.

    The run begins with the first callback and ends with `flush_sync` or `flush`; each span and each
    call is in the file when its callback returns. With `auto_start_run=False` all goes into the run
    that is open around it. `client`, `enforce_policy` and `parent_span` are accepted, as in the
    original, and do nothing. Raises `ModuleNotFoundError` where langchain-core is not installed.
    """
    return handler_class(HandlerMethods)()


@cache
def handler_class(methods: type[HandlerMethods]) -> type[Any]:
    """Return the class of handlers with these methods; made when the first one is."""
    library = import_library("langchain_core.callbacks", "langchain-core")
    _be_told_first(library.BaseCallbackManager)
    return type(methods.name, (methods, library.BaseCallbackHandler), {})


@cache
def _be_told_first(managers: Any) -> None:
    """Have these handlers told before an instrumentation, which then finds what they have recorded.

    Those in a `config` are. Those that a tool or a chain has itself come after all others.
    """
    add = managers.add_handler

    @wraps(add)
    def add_handler(manager: Any, handler: Any, *given: Any, **more: Any) -> None:
        add(manager, handler, *given, **more)
        if isinstance(handler, HandlerMethods) and manager.handlers[-1] is handler:
            manager.handlers.insert(0, manager.handlers.pop())

    managers.add_handler = add_handler


class HandlerMethods(FrameworkHandler):
    """What the framework calls; the names and arguments are LangChain's."""

    name = "WaxellObserve"
    # In an async program, too, where the chain itself runs: there the run and its spans are known.
    run_inline = True

    # -- chains ---------------------------------------------------------------------------------

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        """Open the span of a chain, an agent or a graph."""
        name = span_name(serialized, more, "chain")
        # The thread of a conversation, as LangGraph keeps it.
        self._run.name_session(str((more.get("metadata") or {}).get("thread_id") or ""))
        if is_hidden(more.get("tags")):
            self._run.pass_through(run_id, parent_run_id)
            return
        self._run.enter(
            run_id,
            parent_run_id,
            name,
            "chain",
            attributes=self._attributes(name, more),
            # What a stream is given is not known yet, and this stands for it.
            input=None if inputs == {"input": ""} else plain(inputs),
        )

    def _attributes(self, name: str, more: dict[str, Any]) -> dict[str, Any]:
        tags = [tag for tag in more.get("tags") or () if not str(tag).startswith("seq:")]
        return {"framework": "langchain", **({"tags": tags} if tags else {})}

    def on_chain_end(self, outputs: Any, *, run_id: Any, tags: Any = None, **_more: Any) -> None:
        """Close the span of a chain."""
        self._run.leave(run_id, output=plain(outputs), passed=is_hidden(tags))

    def on_chain_error(
        self, error: BaseException, *, run_id: Any, tags: Any = None, **_more: Any
    ) -> None:
        """Close the span of a chain that raised."""
        self._run.leave(run_id, error=error, passed=is_hidden(tags))

    # -- tools and searches ---------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: Any,
        parent_run_id: Any = None,
        inputs: Any = None,
        **more: Any,
    ) -> None:
        """Open the span of a tool."""
        name = span_name(serialized, more, "tool")
        given = plain(inputs) if inputs else input_str
        attributes = {"tool_type": "function", **self._attributes(name, more)}
        if call_id := more.get("tool_call_id"):
            attributes["tool_call_id"] = str(call_id)
        self._run.enter(run_id, parent_run_id, name, "tool", attributes=attributes, input=given)

    def on_tool_end(self, output: Any, *, run_id: Any, **_more: Any) -> None:
        """Close the span of a tool."""
        self._run.leave(run_id, output=plain(output))

    def on_tool_error(self, error: BaseException, *, run_id: Any, **_more: Any) -> None:
        """Close the span of a tool that raised."""
        self._run.leave(run_id, error=error)

    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        """Open the span of a search."""
        name = span_name(serialized, more, "search")
        self._run.enter(
            run_id,
            parent_run_id,
            f"retrieve:{name}",
            "retriever",
            attributes={"source": name, **self._attributes(name, more)},
            input={"query": query},
        )

    def on_retriever_end(self, documents: Any, *, run_id: Any, **_more: Any) -> None:
        """Close the span of a search."""
        self._run.leave(run_id, output={"documents": plain(list(documents))})

    def on_retriever_error(self, error: BaseException, *, run_id: Any, **_more: Any) -> None:
        """Close the span of a search that raised."""
        self._run.leave(run_id, error=error)

    # -- calls of models ------------------------------------------------------------------------

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        """Note the beginning of a call of a chat model."""
        self._begin_call(run_id, serialized, [each for batch in messages for each in batch], more)

    def on_llm_start(
        self, serialized: Any, prompts: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        """Note the beginning of a call of a model that completes text."""
        self._begin_call(run_id, serialized, prompts, more)

    def _begin_call(self, run_id: Any, serialized: Any, messages: Any, more: Any) -> None:
        self._calls[run_id] = call = call_of(serialized, messages, more)
        self._run.enter_call(run_id, {"messages": call.messages})

    def on_llm_new_token(self, token: str, *, run_id: Any, **_more: Any) -> None:
        """Note a piece of a streamed answer."""
        if call := self._calls.get(run_id):
            call.note_token()

    def on_llm_end(self, response: Any, *, run_id: Any, **_more: Any) -> None:
        """Record a call that was answered."""
        self._end_call(run_id, answer_of(response))

    def on_llm_error(
        self, error: BaseException, *, run_id: Any, response: Any = None, **_more: Any
    ) -> None:
        """Record a call that failed."""
        self._end_call(run_id, answer_of(response), error)

    def _end_call(self, run_id: Any, answer: Answer, error: BaseException | None = None) -> None:
        call = self._calls.pop(run_id, None)
        context = self._run.context()
        self._run.leave_call(run_id)
        if call is not None and context is not None:
            call.record(context, answer, error)
