"""How programs record that hand a vendor's requests and responses on as they are."""

from __future__ import annotations

import json
from typing import Any

from waxlocal.cli.scenarios.said import Json, Said, Used

__all__ = ["Anthropic", "Gemini", "OpenAI", "Responses"]


class OpenAI:
    """Messages of OpenAI's chat API, and its response."""

    def inputs(self, said: Said) -> Json:
        """Return the conversation so far."""
        return {"messages": [*_history(said), {"role": "user", "content": self._question(said)}]}

    def _question(self, said: Said) -> Any:
        if not said.image:
            return said.asks
        image = {"url": f"data:image/png;base64,{said.image}", "detail": "low"}
        return [{"type": "text", "text": said.asks}, {"type": "image_url", "image_url": image}]

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        messages: list[Json] = self.inputs(said)["messages"]
        if said.used:
            calls = [_function(one) for one in said.used]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            messages += [
                {"role": "tool", "tool_call_id": one.call_id, "content": json.dumps(one.found)}
                for one in said.used
            ]
        return messages

    def result(self, said: Said) -> Json:
        """Return a chat completion, or only its message."""
        message = {"role": "assistant", "content": said.says, "refusal": None}
        if said.variant % 3 == 0:
            return {"messages": [*self.messages(said), message]}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        name = f"chatcmpl-{said.response_id}"
        return {"id": name, "object": "chat.completion", "choices": [choice]}


class Responses:
    """Items of OpenAI's responses API."""

    def inputs(self, said: Said) -> Json:
        """Return the body of the request."""
        content = [{"type": "input_text", "text": said.asks}]
        if said.image:
            url = f"data:image/png;base64,{said.image}"
            content.append({"type": "input_image", "image_url": url})
        items = [*_history(said)[1:], {"role": "user", "content": content}]
        return {"model": said.model, "instructions": said.system, "input": items}

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        items: list[Json] = self.inputs(said)["input"]
        for one in said.used:
            given = json.dumps(one.given)
            call = {"type": "function_call", "call_id": one.call_id, "name": one.name}
            items.append({**call, "arguments": given})
            output = json.dumps(one.found)
            items.append({"type": "function_call_output", "call_id": one.call_id, "output": output})
        return items

    def result(self, said: Said) -> Json:
        """Return a response with its items."""
        thought = {"type": "summary_text", "text": "The numbers are on the paper; compare them."}
        words = {"type": "output_text", "text": said.says, "annotations": []}
        output = [
            {"type": "reasoning", "id": f"rs_{said.response_id}", "summary": [thought]},
            {
                "type": "message",
                "id": f"msg_{said.response_id}",
                "role": "assistant",
                "status": "completed",
                "content": [words],
            },
        ]
        if said.variant % 3 == 2:  # the threads that came before the responses
            text = {"type": "text", "text": {"value": said.says, "annotations": []}}
            message = {"object": "thread.message", "role": "assistant", "content": [text]}
            return {"object": "list", "data": [{"id": f"msg_{said.response_id}", **message}]}
        name = f"resp_{said.response_id}"
        return {"id": name, "object": "response", "status": "completed", "output": output}


class Anthropic:
    """Content blocks of Anthropic's messages, with thinking."""

    def inputs(self, said: Said) -> Json:
        """Return the body of the request."""
        content: list[Json] = [{"type": "text", "text": said.asks}]
        if said.image:
            source = {"type": "base64", "media_type": "image/png", "data": said.image}
            content.insert(0, {"type": "image", "source": source})
        messages = [*_history(said)[1:], {"role": "user", "content": content}]
        return {"model": said.model, "max_tokens": 8_192, "messages": messages}

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        messages: list[Json] = self.inputs(said)["messages"]
        if said.used:
            calls = [
                {"type": "tool_use", "id": one.call_id, "name": one.name, "input": one.given}
                for one in said.used
            ]
            results = [
                {"type": "tool_result", "tool_use_id": one.call_id, "content": str(one.found)}
                for one in said.used
            ]
            messages.append({"role": "assistant", "content": [self._thought(said), *calls]})
            messages.append({"role": "user", "content": results})
        return [{"role": "system", "content": said.system}, *messages]

    def _thought(self, said: Said) -> Json:
        thought = "First I look at what is there, then I change as little as possible."
        return {"type": "thinking", "thinking": thought, "signature": f"{said.response_id}=="}

    def result(self, said: Said) -> Json:
        """Return a message; in some programs, the whole conversation."""
        content = [self._thought(said), {"type": "text", "text": said.says}]
        message = {"role": "assistant", "content": content}
        if said.variant % 4 == 0:
            return {"messages": [*self.messages(said), message]}
        name = f"msg_{said.response_id}"
        return {"id": name, "type": "message", **message, "stop_reason": "end_turn"}


class Gemini:
    """Contents and parts of Google's API."""

    def inputs(self, said: Said) -> Json:
        """Return the body of the request."""
        system = {"parts": [{"text": said.system}]}
        return {"contents": self._contents(said), "systemInstruction": system}

    def _contents(self, said: Said) -> list[Json]:
        contents: list[Json] = []
        for asked, answered in said.history:
            contents.append({"role": "user", "parts": [{"text": asked}]})
            contents.append({"role": "model", "parts": [{"text": answered}]})
        parts: list[Json] = [{"text": said.asks}]
        if said.image:
            parts.append({"inlineData": {"mimeType": "image/png", "data": said.image}})
        return [*contents, {"role": "user", "parts": parts}]

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        contents = self._contents(said)
        for one in said.used:
            call = {"functionCall": {"name": one.name, "args": one.given}}
            response = {"name": one.name, "response": {"result": one.found}}
            contents.append({"role": "model", "parts": [call]})
            contents.append({"role": "user", "parts": [{"functionResponse": response}]})
        return contents

    def result(self, said: Said) -> Json:
        """Return a response with one candidate."""
        content = {"role": "model", "parts": [{"text": said.says}]}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "modelVersion": said.model}


def _history(said: Said) -> list[Json]:
    messages: list[Json] = [{"role": "system", "content": said.system}]
    for asked, answered in said.history:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answered})
    return messages


def _function(one: Used) -> Json:
    function = {"name": one.name, "arguments": json.dumps(one.given)}
    return {"id": one.call_id, "type": "function", "function": function}
