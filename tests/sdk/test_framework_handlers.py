"""The callback handlers of the drop-in, with the real frameworks and their own fake models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.forked_programs import Programs, loaded_with
from tests.tools.sdk_programs import SHIM, run_python
from tests.tools.sdk_rows import rows

LOADED = (
    "langchain_core.language_models.fake_chat_models",
    "langchain_core.output_parsers",
    "langchain_core.prompts",
    "langchain_core.retrievers",
    "langchain_core.runnables",
    "langchain_core.tools",
    "langgraph.checkpoint.memory",
    "langgraph.graph",
)
LANGCHAIN = """
import asyncio, threading
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel, GenericFakeChatModel,
)
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

import waxell_observe
from waxell_observe.integrations.langchain import WaxellLangChainHandler

handler = WaxellLangChainHandler("guide", "tour", session_id="s1", user_id="u1", user_group="g")
assert handler.run_id == ""
config = {"callbacks": [handler]}
prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), ("human", "{q}")])

def chain(*answers):
    return prompt | FakeListChatModel(responses=list(answers)) | StrOutputParser()
"""
LANGGRAPH = """
import asyncio, operator
from typing import Annotated, TypedDict
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph
from waxell_observe.integrations.langgraph import WaxellLangGraphHandler

class State(TypedDict):
    log: Annotated[list, operator.add]

model = FakeListChatModel(responses=["a", "b"])

# The config is passed on: before Python 3.11 tasks of asyncio do not inherit it in LangGraph.
def plan(state, config: RunnableConfig):
    return {"log": [model.invoke("plan", config).content]}

async def act(state, config: RunnableConfig):
    return {"log": [(await model.ainvoke("act", config)).content]}

def fail(state):
    raise RuntimeError("no way")

def graph(*nodes, **compiled):
    made = StateGraph(State)
    for node in nodes:
        made.add_node(node.__name__, node)
    names = [START, *(node.__name__ for node in nodes), END]
    for before, after in zip(names, names[1:]):
        made.add_edge(before, after)
    return made.compile(**compiled)
"""


@pytest.fixture(scope="module")
def frameworks() -> Iterator[Programs]:
    """Run programs where LangChain and LangGraph are loaded, and nothing of ours."""
    with loaded_with(LOADED, path=(SHIM,)) as programs:
        yield programs


def recorded(program: str, db: Path) -> list[str]:
    """Run a program with the names of the original; return the lines that it printed."""
    return run_python("-W", "ignore", "-c", program, db=db, path=(SHIM,)).splitlines()


def tree(db: Path) -> list[tuple[str, str, str]]:
    """Return each span as (name, kind, name of the span around it)."""
    spans = rows(db, "spans")
    names = {span["position"]: span["name"] for span in spans}
    return [(s["name"], s["kind"], names.get(s["parent_position"], "")) for s in spans]


def test_chain_is_a_run_with_spans_and_a_call(frameworks: Programs, db_path: Path) -> None:
    """The run has the handler's arguments; the chain's parts are spans inside it."""
    ids = frameworks.run(
        LANGCHAIN
        + """
assert chain("Hello.").invoke({"q": "Hi"}, config=config) == "Hello."
print(handler.run_id)
handler.flush_sync(result={"answer": "Hello."})
print(handler.run_id)
""",
        db_path,
    )
    (run,) = rows(db_path, "runs")
    assert ids.split() == [run["run_id"], run["run_id"]]
    assert (run["agent_name"], run["workflow_name"], run["status"]) == ("guide", "tour", "success")
    assert (run["session_id"], run["user_id"], run["user_group"]) == ("s1", "u1", "g")
    assert (run["inputs"], run["result"]) == ({"q": "Hi"}, {"answer": "Hello."})
    assert tree(db_path) == [
        ("RunnableSequence", "chain", ""),
        ("ChatPromptTemplate", "chain", "RunnableSequence"),
        ("StrOutputParser", "chain", "RunnableSequence"),
    ]
    (call,) = rows(db_path, "llm_calls")
    assert (call["prompt_preview"], call["response"]) == ("Hi", "Hello.")
    assert (call["task"], call["status"]) == ("langchain.llm", "ok")
    assert [message["role"] for message in call["messages"]] == ["system", "user"]
    assert call["usage_known"] == 0


def test_usage_is_what_the_message_says(frameworks: Programs, db_path: Path) -> None:
    """Tokens, the parts of them, model and provider come from the answer."""
    frameworks.run(
        LANGCHAIN
        + """
usage = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107,
         "input_token_details": {"cache_read": 40, "cache_creation": 5},
         "output_token_details": {"reasoning": 3}}
answer = AIMessage("Hello.", usage_metadata=usage,
                   response_metadata={"model_name": "gpt-4o", "model_provider": "openai"})
GenericFakeChatModel(messages=iter([answer])).invoke("Hi", config=config)
handler.flush_sync()
""",
        db_path,
    )
    (call,) = rows(db_path, "llm_calls")
    assert (call["model"], call["provider"]) == ("gpt-4o", "openai")
    names = ("tokens_in", "tokens_out", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
    assert [call[name] for name in names] == [100, 7, 40, 5, 3]


def test_tool_and_search_are_spans_and_hold_what_is_recorded_inside(
    frameworks: Programs, db_path: Path
) -> None:
    """What the program records in a tool lies in the tool's span, in the handler's run."""
    frameworks.run(
        LANGCHAIN
        + """
@tool
def add(a: int, b: int) -> int:
    "Add."
    waxell_observe.decide("how", chosen="fast", options=["fast", "slow"])
    return a + b

class Library(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document("A page.", metadata={"shelf": 1})]

def work(question):
    return [add.invoke({"a": 1, "b": 2}), len(Library().invoke("where?"))]

assert RunnableLambda(work).invoke("?", config=config) == [3, 1]
assert waxell_observe.get_context() is None
handler.flush_sync()
""",
        db_path,
    )
    assert tree(db_path) == [
        ("work", "chain", ""),
        ("add", "tool", "work"),
        ("how", "decision", "add"),
        ("retrieve:Library", "retriever", "work"),
    ]
    _, add, _, search = rows(db_path, "spans")
    assert (add["input"], add["output"]) == ({"a": 1, "b": 2}, 3)
    page = {"content": "A page.", "metadata": {"shelf": 1}}
    assert search["output"] == {"documents": [page]}


def test_errors_reach_the_program_and_the_file(frameworks: Programs, db_path: Path) -> None:
    """A chain that raises is an error; a call that failed has its type and text."""
    frameworks.run(
        LANGCHAIN
        + """
class Down(FakeListChatModel):
    def _call(self, *args, **kwargs):
        raise TimeoutError("no answer")

try:
    (prompt | Down(responses=[])).invoke({"q": "Hi"}, config=config)
except TimeoutError as error:
    handler.flush_sync(status="error", error=str(error))
""",
        db_path,
    )
    (run,) = rows(db_path, "runs")
    assert (run["status"], run["error"]) == ("error", "no answer")
    assert rows(db_path, "spans")[0]["error"] == "TimeoutError: no answer"
    (call,) = rows(db_path, "llm_calls")
    names = ("status", "error_type", "error_message")
    assert [call[name] for name in names] == ["error", "TimeoutError", "no answer"]


def test_stream_has_its_time_to_the_first_token(frameworks: Programs, db_path: Path) -> None:
    """A stream, plain and async, is one call, recorded when it was read to its end."""
    frameworks.run(
        LANGCHAIN
        + """
async def read():
    return "".join([piece async for piece in chain("Bye.").astream({"q": "Hi"}, config=config)])

assert "".join(chain("Hello.").stream({"q": "Hi"}, config=config)) == "Hello."
assert asyncio.run(read()) == "Bye."
asyncio.run(handler.flush())
""",
        db_path,
    )
    calls = rows(db_path, "llm_calls")
    assert [call["response"] for call in calls] == ["Hello.", "Bye."]
    assert [call["details"]["chunk_count"] for call in calls] == [6, 4]
    assert all(call["is_streaming"] and call["ttft_ms"] is not None for call in calls)
    assert {parent for _, _, parent in tree(db_path)} == {"", "RunnableSequence"}


def test_chains_side_by_side_keep_their_own_spans(frameworks: Programs, db_path: Path) -> None:
    """In tasks, threads and batches each part lies in its own chain."""
    frameworks.run(
        LANGCHAIN
        + """
asked = [{"q": f"question {number}"} for number in range(8)]
made = chain("Hello.")

async def together():
    await asyncio.gather(*(made.ainvoke(each, config=config) for each in asked))

asyncio.run(together())
threads = [threading.Thread(target=made.invoke, args=(each, config)) for each in asked]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
made.batch(asked, config=config)
handler.flush_sync()
""",
        db_path,
    )
    spans = rows(db_path, "spans")
    chains = {s["position"]: s["input"] for s in spans if s["name"] == "RunnableSequence"}
    assert len(chains) == 24
    assert {s["parent_position"] for s in spans if s["position"] in chains} == {None}
    prompts = [span for span in spans if span["name"] == "ChatPromptTemplate"]
    assert len(prompts) == 24
    assert all(chains[span["parent_position"]] == span["input"] for span in prompts)
    assert len(rows(db_path, "llm_calls")) == 24
    assert len(rows(db_path, "runs")) == 1


def test_handler_without_its_own_run_records_into_the_open_one(
    frameworks: Programs, db_path: Path
) -> None:
    """With `auto_start_run=False` chains go into the run around them; with it, into a child."""
    frameworks.run(
        LANGCHAIN
        + """
with waxell_observe.WaxellContext("outer"):
    guest = WaxellLangChainHandler("guest", auto_start_run=False)
    chain("Hello.").invoke({"q": "Hi"}, config={"callbacks": [guest]})
    guest.flush_sync()
    chain("Hello.").invoke({"q": "Hi"}, config=config)
    handler.flush_sync()
""",
        db_path,
    )
    outer, child = rows(db_path, "runs")
    assert (outer["agent_name"], child["agent_name"]) == ("outer", "guide")
    assert child["parent_workflow_id"]
    assert not outer["parent_workflow_id"]
    assert {call["run_id"] for call in rows(db_path, "llm_calls")} == {
        outer["run_id"],
        child["run_id"],
    }


def test_flush_ends_the_run_and_the_next_chain_begins_another(
    frameworks: Programs, db_path: Path
) -> None:
    """A handler that a program keeps for all its requests makes a run of each."""
    frameworks.run(
        LANGCHAIN
        + """
for answer in ("One.", "Two."):
    chain(answer).invoke({"q": "Hi"}, config=config)
    handler.flush_sync(result={"answer": answer})
handler.flush_sync()
""",
        db_path,
    )
    results = [run["result"] for run in rows(db_path, "runs")]
    assert results == [{"answer": "One."}, {"answer": "Two."}]


def test_graph_knows_the_order_of_its_nodes(frameworks: Programs, db_path: Path) -> None:
    """Nodes are spans of the graph, calls are theirs; the thread of the graph is the session."""
    said = frameworks.run(
        LANGGRAPH
        + """
handler = WaxellLangGraphHandler("graph")
config = {"callbacks": [handler], "configurable": {"thread_id": "thread-1"}}
inner = graph(plan)
inner.__name__ = "inner"
asked = {"log": []}
app = graph(plan, act, inner, checkpointer=MemorySaver())
print(asyncio.run(app.ainvoke(asked, config=config)))
handler.flush_sync()
print(handler.node_execution_order)
""",
        db_path,
    )
    assert said.splitlines()[1] == "['plan', 'act', 'inner', 'plan']"
    (run,) = rows(db_path, "runs")
    assert (run["session_id"], run["inputs"]) == ("thread-1", {"log": []})
    assert tree(db_path) == [
        ("LangGraph", "chain", ""),
        ("plan", "chain", "LangGraph"),
        ("act", "chain", "LangGraph"),
        ("inner", "chain", "LangGraph"),
        ("LangGraph", "chain", "inner"),
        ("plan", "chain", "LangGraph"),
    ]
    assert [call["prompt_preview"] for call in rows(db_path, "llm_calls")] == [
        "plan",
        "act",
        "plan",
    ]


def test_a_graph_inside_a_node_of_its_name_is_no_other_node(
    frameworks: Programs, db_path: Path
) -> None:
    """It is a span inside it; each time that a node begins counts."""
    said = frameworks.run(
        LANGGRAPH
        + """
handler = WaxellLangGraphHandler("graph")
inner = graph(plan, name="same")
inner.__name__ = "same"
app = graph(plan, inner)
for _ in range(2):
    app.invoke({"log": []}, config={"callbacks": [handler]})
handler.flush_sync()
print(handler.node_execution_order)
""",
        db_path,
    )
    assert said.splitlines()[-1] == str(["plan", "same", "plan"] * 2)
    assert tree(db_path)[2:5] == [
        ("same", "chain", "LangGraph"),
        ("same", "chain", "same"),
        ("plan", "chain", "same"),
    ]


def test_a_node_that_waits_for_a_person_has_not_failed(frameworks: Programs, db_path: Path) -> None:
    """Nor has the node around it; the output says what is asked."""
    frameworks.run(
        LANGGRAPH
        + """
from langgraph.types import interrupt

def ask(state):
    return {"log": [interrupt("sure?")]}

handler = WaxellLangGraphHandler("graph")
inner = graph(ask)
inner.__name__ = "inner"
config = {"callbacks": [handler], "configurable": {"thread_id": "t"}}
graph(inner, checkpointer=MemorySaver()).invoke({"log": []}, config=config)
handler.flush_sync()
""",
        db_path,
    )
    spans = rows(db_path, "spans")
    assert {(span["status"], span["error"]) for span in spans} == {("ok", None)}
    assert "sure?" in str(next(span["output"] for span in spans if span["name"] == "ask"))


def test_node_that_fails_is_the_error(frameworks: Programs, db_path: Path) -> None:
    """The error of a node is that of its span and of the graph's."""
    frameworks.run(
        LANGGRAPH
        + """
handler = WaxellLangGraphHandler("graph")
try:
    graph(plan, fail).invoke({"log": []}, config={"callbacks": [handler]})
except RuntimeError as error:
    handler.flush_sync(status="error", error=str(error))
""",
        db_path,
    )
    errors = {span["name"]: span["error"] for span in rows(db_path, "spans")}
    wrong = "RuntimeError: no way"
    assert errors == {"LangGraph": wrong, "plan": None, "fail": wrong}
    assert rows(db_path, "runs")[0]["error"] == "no way"


def test_query_of_an_index(db_path: Path) -> None:
    """Queries and searches of LlamaIndex are spans; each of its model calls is recorded once."""
    recorded(
        """
import asyncio
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import ChatMessage, MockLLM
from waxell_observe.integrations.llamaindex import WaxellLlamaIndexHandler

handler = WaxellLlamaIndexHandler("reader", "rag", session_id="s1")
words = MockEmbedding(embed_dim=2)
Settings.callback_manager = CallbackManager([handler])
index = VectorStoreIndex.from_documents([Document(text="The sky is blue.")], embed_model=words)
model = MockLLM(max_tokens=3)
index.as_query_engine(llm=model).query("Which color?")
model.chat([ChatMessage(role="user", content="Hello")])
asyncio.run(handler.flush(result={"done": True}))
""",
        db_path,
    )
    (run,) = rows(db_path, "runs")
    assert (run["agent_name"], run["session_id"], run["status"]) == ("reader", "s1", "success")
    spans = tree(db_path)
    assert ("query", "chain", "") in spans
    assert ("retrieve:retrieve", "retriever", "query") in spans
    search = next(s for s in rows(db_path, "spans") if s["kind"] == "retriever")
    assert search["output"]["documents"][0]["content"] == "The sky is blue."
    calls = rows(db_path, "llm_calls")
    assert len(calls) == 2
    assert "Which color?" in calls[0]["prompt_preview"]
    assert (calls[1]["prompt_preview"], calls[1]["response"]) == ("Hello", "text text text")


@pytest.mark.parametrize("module", ["langchain", "langgraph", "llamaindex"])
def test_framework_that_is_missing_is_named(db_path: Path, module: str) -> None:
    """The module is importable without its framework; making a handler says what to install."""
    names: dict[str, Any] = {
        "langchain": "WaxellLangChainHandler",
        "langgraph": "WaxellLangGraphHandler",
        "llamaindex": "WaxellLlamaIndexHandler",
    }
    said = recorded(
        f"""
import sys
sys.modules["langchain_core"] = sys.modules["llama_index"] = None
from waxell_observe.integrations.{module} import {names[module]} as Handler
try:
    Handler("agent")
except ModuleNotFoundError as error:
    print(error)
""",
        db_path,
    )
    assert "Try: pip install l" in said[0]
