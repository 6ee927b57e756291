"""The shapes in which programs record a conversation; here those of frameworks and their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from waxlocal.cli.scenarios.said import Json, Said, Shape, Used
from waxlocal.cli.scenarios.vendor_shapes import Anthropic, Gemini, OpenAI, Responses

__all__ = ["SHAPES"]


class Plain:
    """Text under a name, as most small programs have it."""

    def inputs(self, said: Said) -> Json:
        """Return the question under one of the usual names."""
        asks = said.asks
        if said.image:
            asks += f"\n\n![photo](data:image/png;base64,{said.image})"
        forms: tuple[Json, ...] = (
            {"message": asks},
            {"query": asks, "session": {"channel": "web", "retries": 0}},
            {"args": [asks], "kwargs": {}},
            {"payload": {"user_message": asks, "locale": "en"}},
            {"id": _uuid(said), "text": asks},
            {"message": {"message_id": 712, "text": asks, "chat": {"type": "private"}}},
            {"input": str({"question": asks, "user": "someone"})},
        )
        return forms[said.variant % len(forms)]

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return OpenAI().messages(said)

    def result(self, said: Said) -> Json:
        """Return the answer under one of the usual names."""
        forms: tuple[Json, ...] = (
            {"response": said.says},
            {"answer": said.says, "sources": ["catalogue"], "confidence": 0.83},
            {"output": said.says},
            {"data": {"reply": said.says}, "ok": True},
            {"result": str({"answer": said.says, "confidence": 0.83})},
            {"result": f"DeskAnswer(answer={said.says!r}, confidence=0.83, sources=['catalogue'])"},
            {"output": f"answer={said.says!r} confidence=0.83 sources=['catalogue']"},
        )
        return forms[said.variant % len(forms)]


class Nested:
    """A question with its context, and an answer within a structure, as JSON text at times."""

    def inputs(self, said: Said) -> Json:
        """Return the question."""
        context = {"dataset": "shop", "row_limit": 500, "history": len(said.history)}
        return {"question": said.asks, "context": context}

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return OpenAI().messages(said)

    def result(self, said: Said) -> Json:
        """Return `output.answer`, beside what else there is."""
        sources = [one.name for one in said.used]
        answer: Any = {"answer": said.says, "confidence": 0.92, "sources": sources}
        if said.variant % 3:
            answer = json.dumps(answer, ensure_ascii=False)
        if said.variant % 3 == 2 and "```" not in answer:  # as models like to write it
            answer = f"```json\n{answer}\n```"
        return {"output": answer, "trace_id": _uuid(said), "usage": {"requests": 1 + len(sources)}}


class LangGraph:
    """The state of a graph: messages with a type, before and after."""

    def inputs(self, said: Said) -> Json:
        """Return the state that the graph begins with."""
        return {"messages": self._before(said), "remaining_steps": 24}

    def _before(self, said: Said) -> list[Json]:
        messages: list[Json] = []
        for one in said.history:
            answer = self._message("ai", one.says, one)
            messages += [self._message("human", one.asks, one), *self._tools(one), answer]
        return [*messages, self._message("human", said.asks, said)]

    def _tools(self, said: Said) -> list[Json]:
        if not said.used:
            return []
        calls = [
            {"id": one.call_id, "name": one.name, "args": one.given, "type": "tool_call"}
            for one in said.used
        ]
        return [
            self._message("ai", "", said, tool_calls=calls),
            *(
                self._message("tool", json.dumps(one.found), said, tool_call_id=one.call_id)
                for one in said.used
            ),
        ]

    def _message(self, kind: str, content: str, said: Said, **more: Any) -> Json:
        values = {"content": content, "additional_kwargs": {}, "response_metadata": {}, **more}
        if said.variant % 3 == 2:  # as `langchain_core.load.dumpd` writes them
            name = {"human": "HumanMessage", "ai": "AIMessage", "tool": "ToolMessage"}[kind]
            path = ["langchain", "schema", "messages", name]
            return {"lc": 1, "type": "constructor", "id": path, "kwargs": {**values, "type": kind}}
        return {"type": kind, **values, "id": f"run--{said.response_id}"}

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return [*self._before(said), *self._tools(said)]

    def result(self, said: Said) -> Json:
        """Return the state that the graph ends with; or the last update of it."""
        messages = [*self.messages(said), self._message("ai", said.says, said)]
        if said.variant % 6 == 1:  # a program that records `str(answer)`
            rest = "additional_kwargs={} response_metadata={'finish_reason': 'stop'}"
            return {"output": f"content={said.says!r} {rest} id='run--{said.response_id}'"}
        if said.variant % 4 == 3:
            return {"respond": {"messages": messages[-1:]}}
        state = {"next": "end", "visited": ["plan", "search", "respond"]}
        return {"messages": messages, "plan": state}


class Pydantic:
    """Dumps of Pydantic AI's messages."""

    def inputs(self, said: Said) -> Json:
        """Return the prompt and the history."""
        history: list[Json] = []
        for one in said.history:
            history += [_request("user-prompt", one.asks), _response("text", one.says)]
        return {"user_prompt": said.asks, "message_history": history, "deps": {"region": "eu"}}

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return OpenAI().messages(said)

    def result(self, said: Said) -> Json:
        """Return the output with all messages; or these alone."""
        messages = [_request("user-prompt", said.asks)]
        for one in said.used:
            messages += [_called(one), _request("tool-return", json.dumps(one.found))]
        messages.append(_response("text", said.says))
        if said.variant % 2:
            return {"all_messages": messages}
        return {"output": said.says, "new_messages": messages, "usage": {"requests": 2}}


def _request(kind: str, content: str) -> Json:
    return {"kind": "request", "parts": [{"part_kind": kind, "content": content}]}


def _response(kind: str, content: str) -> Json:
    return {"kind": "response", "parts": [{"part_kind": kind, "content": content}]}


def _called(one: Used) -> Json:
    call = {"part_kind": "tool-call", "tool_name": one.name, "args": one.given}
    return {"kind": "response", "parts": [{**call, "tool_call_id": one.call_id}]}


def _uuid(said: Said) -> str:
    digits = said.response_id
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-9a3b-{digits[:12]}"


SHAPES: Mapping[str, Shape] = {
    "plain": Plain(),
    "nested": Nested(),
    "openai": OpenAI(),
    "responses": Responses(),
    "anthropic": Anthropic(),
    "gemini": Gemini(),
    "langgraph": LangGraph(),
    "pydantic": Pydantic(),
}
