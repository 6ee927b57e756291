"""The conversations of a program that names no sessions, known by the history that a call sends.

A model remembers nothing, so a program sends what was said before with every turn. A call goes on
with a conversation if its prompt, up to the last answer in it, is the prompt and the answer of an
earlier call. Where the vendor keeps the history, one that begins with what a tool answered goes on
with the call that asked for it.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

from waxlocal.capture.call_content import words_of_message
from waxlocal.capture.facts import CallFacts
from waxlocal.capture.process_lock import ProcessLock
from waxlocal.encode import dumps
from waxlocal.ids import generate_session_id
from waxlocal.messages.forms import Message, ToolCall

__all__ = ["Conversations"]

# How many calls are kept in memory for the turns that may follow.
RECENT = 16_384

# The ids of tools' calls are at random, and longer: `call_` or `toolu_` and 24 more.
LEAST_ID = 16

# Roles of messages that may change while the conversation stays the same: the date, what was
# retrieved.
_NOT_SAID = frozenset(("system", "developer"))


class Conversations:
    """The last calls of a process, each with its session. Safe from any thread.

    For a process that sees the whole of each conversation: no worker, no server.
    """

    def __init__(self, recent: int = RECENT) -> None:
        self._recent = recent
        # By a digest of all that was said up to an answer. None: in several conversations.
        self._sessions: OrderedDict[bytes, str | None] = OrderedDict()
        self._guard = ProcessLock()

    def session_of(self, call: CallFacts) -> str:
        """Return the session of a call: that of the conversation it goes on with, or a new one.

        It goes on with the one in which all of its history was the last that was said. Where that
        are two, nobody knows which of them goes on: it is a new one.
        """
        before, *after = _histories(call)
        with self._guard.lock:
            session = self._sessions.get(before or _asked_before(call))
            session = session or generate_session_id()
            for history in (*after, *map(_asked, call.tool_calls or ())):
                self._keep(history, session)
            return session

    def _keep(self, history: bytes, session: str) -> None:
        if not history:
            return
        if self._sessions.get(history, session) != session:
            self._sessions[history] = None
        else:
            self._sessions[history] = session
        self._sessions.move_to_end(history)
        if len(self._sessions) > self._recent:
            self._sessions.popitem(last=False)


def _histories(call: CallFacts) -> list[bytes]:
    """Return digests of what was said up to the last answer in the prompt, and up to each new one.

    The first is empty if there is no answer in the prompt. One that ends the prompt is the
    beginning of the new one. Several new ones are choices, of which the program takes one.
    """
    digest = sha256()
    before = b""
    answered = False
    for message in call.messages or ():
        role = message["role"]
        if role in _NOT_SAID:
            continue
        is_answer = role == "assistant"
        if answered and not is_answer:
            before = digest.digest()
        answered = is_answer
        digest.update(_answer(message) if is_answer else _question(role, message))
    answers = [_said(call.said, call.tool_calls)]
    answers += [_said(words, None) for words in call.other_answers or ()]
    found = [before]
    for answer in filter(None, answers):
        whole = digest.copy()
        whole.update(answer)
        found.append(whole.digest())
    return found


def _asked_before(call: CallFacts) -> bytes:
    """Return the digest of the tool's call that a prompt begins with the answer to; else empty."""
    said = (message for message in call.messages or () if message["role"] not in _NOT_SAID)
    number = next(said, {}).get("tool_call_id")
    return _asked({"id": number}) if number else b""


def _asked(call: ToolCall) -> bytes:
    """Return the digest of a tool's call, by its id; empty without one, as Gemini's.

    And for an id that is short: servers that imitate an API number the calls of each answer anew.
    """
    number = str(call["id"] or "")
    return sha256(_framed("tool", number)).digest() if len(number) >= LEAST_ID else b""


def _question(role: str, message: Message) -> bytes:
    content = message["content"]
    if len(message) == 2 and isinstance(content, str):  # of most messages: no JSON for them
        return _framed(role, content)
    return _framed("message", dumps(message))


def _answer(message: Message) -> bytes:
    content = message["content"]
    words = content if isinstance(content, str) else words_of_message(message)
    return _said(words, message.get("tool_calls"))


def _said(words: str | None, calls: list[ToolCall] | None) -> bytes:
    """Return an answer, the same whether it was just given or is sent again."""
    said = _framed("answer", text) if words and (text := words.strip()) else b""
    for call in calls or ():
        # Gemini's have no id.
        said += _framed("call", dumps(call["id"] or [call["name"], call["arguments"]]))
    return said


def _framed(kind: str, text: str) -> bytes:
    # With its length: no text can look like two.
    data = text.encode("utf-8", "surrogatepass")
    return b"%b %d %b" % (kind.encode("utf-8", "surrogatepass"), len(data), data)
