"""What the programs of the tests with the real LangChain and LangGraph are made of."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.vendors.clients import langchain_model

__all__ = ["Shelf", "helper", "weather"]


@tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    if city == "nowhere":
        raise ValueError("no such city")
    return f"{city}: sunny"


class Shelf(BaseRetriever):
    """Finds one document."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(page_content=f"of {query}", id="d-1", metadata={"score": 0.5})]


def helper(url: str) -> Any:
    """Return a graph of a model that may ask for the weather; to be compiled."""
    model = langchain_model(url).bind_tools([weather])
    graph = StateGraph(MessagesState)
    graph.add_node("bot", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "bot")
    graph.add_conditional_edges("bot", tools_condition)
    graph.add_edge("tools", "bot")
    return graph
