"""What an agent remembers and recalls. It is recorded; waxlocal itself is not a memory."""

from __future__ import annotations

from typing import Any

from waxlocal.known_types import is_a
from waxlocal.sdk.arguments import checked, need
from waxlocal.sdk.run import Run

__all__ = ["MemoryRecords", "kind_of"]


@checked("WaxellContext")
class MemoryRecords(Run):
    """The records about an agent's memory; see `WaxellContext`."""

    __slots__ = ()

    def _scope_key(self, given: str | None) -> str:
        """Return whose memory it is: of the session, and of this run alone without one."""
        return given or f"{self._agent_name}:{self._session_id or self._run_id}"

    def remember_episodic(
        self,
        *,
        slot_name: str,
        data: Any,
        scope_key: str | None = None,
        ttl_seconds: int = 86400,
        max_items: int | None = None,
        memory_type: str | None = None,
    ) -> None:
        """Record what was put into a slot of the episodic memory, for `ttl_seconds`.

        Without `scope_key` it belongs to the agent's session; without a session, to the run.
        """
        need("slot_name", slot_name, str)
        self._add_event(
            "memory_episodic",
            {
                "slot_name": slot_name,
                "scope_key": self._scope_key(scope_key),
                "memory_type": memory_type or kind_of(data),
                "data": data,
                "ttl_seconds": ttl_seconds,
                "max_items": max_items,
            },
            content=("data",),
        )

    def remember_semantic(
        self,
        *,
        slot_name: str,
        content: str,
        scope_key: str | None = None,
        importance: float = 0.7,
        tags: list[str] | None = None,
        fact_key: str | None = None,
        source_tool: str = "",
        content_embedding: list[float] | None = None,
    ) -> None:
        """Record which fact was put into the semantic memory; `importance` is from 0 to 1.

        Without `scope_key` it belongs to the agent's session; without a session, to the run.
        """
        need("slot_name", slot_name, str)
        need("content", content, str)
        self._add_event(
            "memory_semantic",
            {
                "slot_name": slot_name,
                "scope_key": self._scope_key(scope_key),
                "content": content,
                "importance": importance,
                "tags": tags or [],
                "fact_key": fact_key,
                "source_tool": source_tool,
                "content_embedding": content_embedding,
            },
            content=("content", "content_embedding"),
        )

    def record_memory_write(
        self,
        *,
        memory_type: str,
        content: str = "",
        slot_name: str = "",
        scope_key: str = "",
        data: Any = None,
    ) -> None:
        """Record a write to a memory of the program's own, of any type."""
        need("memory_type", memory_type, str)
        attributes = {"memory_type": memory_type, "scope_key": self._scope_key(scope_key)}
        output = {"content": content} if data is None else {"content": content, "data": data}
        self._add_span(f"memory.write:{slot_name}", "memory", attributes=attributes, output=output)

    def record_memory_recall(
        self,
        *,
        query: str = "",
        tier: str = "episodic",
        store: str = "",
        results_count: int = 0,
        top_score: float | None = None,
        slot_name: str = "",
        results: list[Any] | None = None,
    ) -> None:
        """Record what was asked of a memory and what it returned.

        `results_count` is the number of `results` where it is not given.
        """
        attributes = {
            "tier": tier,
            "store": store,
            "results_count": results_count or len(results or ()),
            "top_score": top_score,
        }
        self._add_span(
            f"memory.recall:{slot_name or tier}",
            "memory",
            attributes=attributes,
            input={"query": query},
            output={"results": results or []},
        )

    def set_memory_state(
        self,
        *,
        memory_items: list[dict[str, Any]] | None = None,
        cross_session_loaded: bool = False,
        memory_item_count: int = 0,
    ) -> None:
        """Record what the memory holds at this moment."""
        self._add_event(
            "memory_state",
            {
                "memory_items": memory_items or [],
                "cross_session_loaded": cross_session_loaded,
                "memory_item_count": memory_item_count or len(memory_items or ()),
            },
            content=("memory_items",),
        )


def kind_of(data: Any) -> str:
    """Return the type of an episodic memory that does not name one, as the original says it."""
    return "dict" if is_a(data, dict) else "list" if is_a(data, list) else "value"
