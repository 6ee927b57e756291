"""Messages of libraries among the arguments of a decorated function."""

from __future__ import annotations

import pydantic
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from waxlocal.encode import shown


def test_a_message_of_a_library_among_arguments_is_read() -> None:
    """What was asked stands in it. Of other models and clients the text is enough."""
    messages = [HumanMessage("hi"), ChatMessage(role="user", content="and?")]
    query = pydantic.create_model("Query", content=(str, ...), role=(str, ...))
    given = shown({"state": {"messages": messages}, "query": query(content="?", role="user")})
    asked, also = given["state"]["messages"]
    assert (asked["type"], asked["content"]) == ("human", "hi")
    assert (also["role"], also["blocks"][0]["text"]) == ("user", "and?")
    assert given["query"] == "content='?' role='user'"
