"""How programs record that hand a vendor's requests and responses on as they are."""

from __future__ import annotations

import json

from waxlocal.cli.scenarios.said import Json, Said, Used

__all__ = ["Anthropic", "Gemini", "OpenAI", "Responses"]


class OpenAI:
    """Messages of OpenAI's chat API, and its response."""

    def inputs(self, said: Said) -> Json:
        """Return the conversation so far."""
        before = [message for one in said.history for message in self._whole(one)]
        return {"messages": [_system(said), *before, self._question(said)]}

    def _question(self, said: Said) -> Json:
        if not said.image:
            return {"role": "user", "content": said.asks}
        image = {"url": f"data:image/png;base64,{said.image}", "detail": "low"}
        parts = [{"type": "text", "text": said.asks}, {"type": "image_url", "image_url": image}]
        return {"role": "user", "content": parts}

    def _whole(self, said: Said) -> list[Json]:
        answer = {"role": "assistant", "content": said.says}
        return [self._question(said), *self._tools(said), answer]

    def _tools(self, said: Said) -> list[Json]:
        if not said.used:
            return []
        calls = [_function(one) for one in said.used]
        return [
            {"role": "assistant", "content": None, "tool_calls": calls},
            *(
                {"role": "tool", "tool_call_id": one.call_id, "content": json.dumps(one.found)}
                for one in said.used
            ),
        ]

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return [*self.inputs(said)["messages"], *self._tools(said)]

    def result(self, said: Said) -> Json:
        """Return a chat completion; in some programs, the whole conversation."""
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
        items: list[Json] = []
        for one in said.history:
            answer = {"role": "assistant", "content": one.says}
            items += [self._question(one), *self._tools(one), answer]
        items.append(self._question(said))
        return {"model": said.model, "instructions": said.system, "input": items}

    def _question(self, said: Said) -> Json:
        content = [{"type": "input_text", "text": said.asks}]
        if said.image:
            url = f"data:image/png;base64,{said.image}"
            content.append({"type": "input_image", "image_url": url})
        return {"role": "user", "content": content}

    def _tools(self, said: Said) -> list[Json]:
        items: list[Json] = []
        for one in said.used:
            call = {"type": "function_call", "call_id": one.call_id, "name": one.name}
            output = {"type": "function_call_output", "call_id": one.call_id}
            items.append({**call, "arguments": json.dumps(one.given)})
            items.append({**output, "output": json.dumps(one.found)})
        return items

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return [*self.inputs(said)["input"], *self._tools(said)]

    def result(self, said: Said) -> Json:
        """Return a response with its items; in some programs, a list of a thread's messages."""
        if said.variant % 3 == 2:
            text = {"type": "text", "text": {"value": said.says, "annotations": []}}
            message = {"object": "thread.message", "role": "assistant", "content": [text]}
            return {"object": "list", "data": [{"id": f"msg_{said.response_id}", **message}]}
        thought = {"type": "summary_text", "text": "The numbers are on the paper; compare them."}
        words = {"type": "output_text", "text": said.says, "annotations": []}
        message = {"role": "assistant", "status": "completed", "content": [words]}
        output = [
            {"type": "reasoning", "id": f"rs_{said.response_id}", "summary": [thought]},
            {"type": "message", "id": f"msg_{said.response_id}", **message},
        ]
        name = f"resp_{said.response_id}"
        return {"id": name, "object": "response", "status": "completed", "output": output}


class Anthropic:
    """Content blocks of Anthropic's messages, with thinking."""

    def inputs(self, said: Said) -> Json:
        """Return the body of the request."""
        messages: list[Json] = []
        for one in said.history:
            answer = {"role": "assistant", "content": [{"type": "text", "text": one.says}]}
            messages += [self._question(one), *self._tools(one), answer]
        messages.append(self._question(said))
        return {"model": said.model, "max_tokens": 8_192, "messages": messages}

    def _question(self, said: Said) -> Json:
        content: list[Json] = [{"type": "text", "text": said.asks}]
        if said.image:
            source = {"type": "base64", "media_type": "image/png", "data": said.image}
            content.insert(0, {"type": "image", "source": source})
        return {"role": "user", "content": content}

    def _tools(self, said: Said) -> list[Json]:
        if not said.used:
            return []
        calls = [
            {"type": "tool_use", "id": one.call_id, "name": one.name, "input": one.given}
            for one in said.used
        ]
        results = [
            {"type": "tool_result", "tool_use_id": one.call_id, "content": str(one.found)}
            for one in said.used
        ]
        return [
            {"role": "assistant", "content": [self._thought(said), *calls]},
            {"role": "user", "content": results},
        ]

    def _thought(self, said: Said) -> Json:
        thought = "First I look at what is there, then I change as little as possible."
        return {"type": "thinking", "thinking": thought, "signature": f"{said.response_id}=="}

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return [_system(said), *self.inputs(said)["messages"], *self._tools(said)]

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
        contents: list[Json] = []
        for one in said.history:
            answer = {"role": "model", "parts": [{"text": one.says}]}
            contents += [self._question(one), *self._tools(one), answer]
        system = {"parts": [{"text": said.system}]}
        return {"contents": [*contents, self._question(said)], "systemInstruction": system}

    def _question(self, said: Said) -> Json:
        parts: list[Json] = [{"text": said.asks}]
        if said.image:
            parts.append({"inlineData": {"mimeType": "image/png", "data": said.image}})
        return {"role": "user", "parts": parts}

    def _tools(self, said: Said) -> list[Json]:
        contents: list[Json] = []
        for one in said.used:
            call = {"functionCall": {"name": one.name, "args": one.given}}
            response = {"name": one.name, "response": {"result": one.found}}
            contents.append({"role": "model", "parts": [call]})
            contents.append({"role": "user", "parts": [{"functionResponse": response}]})
        return contents

    def messages(self, said: Said) -> list[Json]:
        """Return what the last call was sent."""
        return [*self.inputs(said)["contents"], *self._tools(said)]

    def result(self, said: Said) -> Json:
        """Return a response with one candidate."""
        content = {"role": "model", "parts": [{"text": said.says}]}
        candidate = {"content": content, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "modelVersion": said.model}


def _system(said: Said) -> Json:
    return {"role": "system", "content": said.system}


def _function(one: Used) -> Json:
    function = {"name": one.name, "arguments": json.dumps(one.given)}
    return {"id": one.call_id, "type": "function", "function": function}
