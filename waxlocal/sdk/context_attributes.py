"""What a context was made with, as the attributes that programs read and set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waxlocal.sdk.arguments import need_plain_texts
from waxlocal.sdk.run import Run

if TYPE_CHECKING:
    from waxlocal.sdk.client import WaxellObserveClient

__all__ = ["ContextAttributes"]


class ContextAttributes(Run):
    """The public attributes of `WaxellContext`.

    What is set before the block counts for the run that begins there. Set later, it is read back
    and changes nothing in the file. Session and user are those of the run once it has begun, so
    they may come from around it. Setting text to something else raises `TypeError`.
    """

    # Empty, or the class could not be a base beside others; `WaxellContext` has the slot.
    __slots__ = ()

    # In one tuple: five attributes would cost each context four assignments more.
    # inputs, metadata, client, enforce_policy, agent_type
    _asked: tuple[
        dict[str, Any] | None, dict[str, Any] | None, WaxellObserveClient | None, bool, str
    ]

    @property
    def agent_name(self) -> str:
        """The name of the agent."""
        return self._agent_name

    @agent_name.setter
    def agent_name(self, name: str) -> None:
        (self._agent_name,) = need_plain_texts(agent_name=name)

    @property
    def workflow_name(self) -> str:
        """The name of what the agent does."""
        return self._workflow_name

    @workflow_name.setter
    def workflow_name(self, name: str) -> None:
        (self._workflow_name,) = need_plain_texts(workflow_name=name)

    @property
    def session_id(self) -> str:
        """The session, empty without one."""
        return self._session_id

    @session_id.setter
    def session_id(self, session_id: str) -> None:
        (text,) = need_plain_texts(session_id=session_id)
        self._session_id = text.replace("\0", "\ufffd")

    @property
    def user_id(self) -> str:
        """The user, empty without one."""
        return self._user_id

    @user_id.setter
    def user_id(self, user_id: str) -> None:
        (text,) = need_plain_texts(user_id=user_id)
        self._user_id = text.replace("\0", "\ufffd")

    @property
    def user_group(self) -> str:
        """The group of the user, empty without one."""
        return self._user_group

    @user_group.setter
    def user_group(self, group: str) -> None:
        (self._user_group,) = need_plain_texts(user_group=group)

    @property
    def interaction_mode(self) -> str:
        """`interactive`, `autonomous`, or `auto` where none was given."""
        return self._interaction_mode or "auto"

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs that were given, the dict itself; they are recorded as they were then."""
        return self._asked[0] or {}

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that was given, the dict itself; `set_metadata` changes the run, not it."""
        return self._asked[1] or {}

    @property
    def client(self) -> WaxellObserveClient:
        """The client that was given, else one like any other."""
        if self._asked[2] is not None:
            return self._asked[2]
        from importlib import import_module

        # By its name: nothing here may need the client, which needs the contexts.
        made: WaxellObserveClient = import_module("waxlocal.sdk.client").WaxellObserveClient()
        return made

    @property
    def enforce_policy(self) -> bool:
        """Whether policies were to be enforced; there are none here."""
        return self._asked[3]

    @property
    def agent_type(self) -> str:
        """The type of the agent that was given, empty without one."""
        return self._asked[4]
