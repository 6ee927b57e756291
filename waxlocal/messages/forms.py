"""The form of a message here: what a call keeps, and what all readers take."""

from __future__ import annotations

from typing import Any

__all__ = ["Message", "ToolCall"]

# {"role", "content"} and, where there are such: "tool_calls" (a list of ToolCall), "tool_call_id",
# "name", "reasoning". The content is text; a list of parts where not all of it is text; None where
# a message only calls tools.
Message = dict[str, Any]
# {"id", "name", "arguments"}: the arguments are a value; the text itself if it is not valid JSON.
ToolCall = dict[str, Any]
