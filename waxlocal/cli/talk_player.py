"""Plays planned conversations through the SDK, turn by turn, on a scripted clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from waxlocal.cli.demo_recording import ScriptedClock
from waxlocal.cli.scenarios.faults import Fault, error_of
from waxlocal.cli.scenarios.images import base64_png
from waxlocal.cli.scenarios.pieces import Act, Exchange, Lookup, SubAgent, Tool
from waxlocal.cli.scenarios.said import Said, Used
from waxlocal.cli.scenarios.shapes import SHAPES
from waxlocal.cli.scenarios.talk import SECOND, Talk
from waxlocal.encode import dumps
from waxlocal.recording.recorder import current_recorder
from waxlocal.records import RecordStatus, RunStatus
from waxlocal.sdk.context import WaxellContext

__all__ = ["WORKFLOW", "Spoken", "TalkPlayer"]

# The name of the workflow of every run of the large demo.
WORKFLOW = "waxlocal-demo-large"
# Of models: characters of one token, tokens that are read and written in a second.
_CHARS, _READ, _WRITTEN = 4, 9_000, 75
_REASONS = ("gpt-5-mini", "gemini-2.5-pro")
_MOODS = ("pleased", "neutral", "annoyed")


class Spoken(NamedTuple):
    """What was said to a run, and its answer; empty if it gave none."""

    run_id: str
    message: str
    answer: str


class _Failure(Exception):
    """Ends the runs that it leaves: with an error, or as interrupted where there is none."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__()
        self.error = error


class TalkPlayer:
    """One conversation, and how far it is. `next_ns` is when its next turn begins."""

    def __init__(self, talk: Talk, clock: ScriptedClock) -> None:
        self._talk = talk
        self._clock = clock
        self._random = talk.random
        self._history: list[Said] = []
        self._turns = 0
        self._variant = talk.random.randrange(12)
        self.next_ns = talk.starts_ns
        self.is_over = not talk.exchanges

    def play(self) -> list[Spoken]:
        """Record the next turn; return what was said in it, its sub-agents' words included."""
        talk = self._talk
        exchange, fault = talk.exchanges[self._turns], talk.faults.get(self._turns + 1)
        self._turns += 1
        self._clock.set_to(self.next_ns)
        turn = _Turn(talk, exchange, fault, self._said(exchange), self._clock, self._turns)
        is_answered = turn.record()
        if is_answered:
            self._history.append(replace(turn.said, history=()))
        self.is_over = self._turns == len(talk.exchanges)
        if not is_answered and not talk.is_patient:
            self.is_over = self.is_over or self._random.random() < 0.6
        pause = self._random.uniform(*talk.pauses)
        self.next_ns = self._clock.time_ns() + int(pause * SECOND)
        return turn.spoken

    def _said(self, exchange: Exchange) -> Said:
        random = self._random
        return Said(
            model=self._talk.model,
            system=self._talk.agent.system,
            history=list(self._history),
            asks=exchange.asks,
            says=exchange.says,
            used=[
                Used(f"call_{random.getrandbits(96):024x}", act.name, act.given, act.found)
                for act in exchange.acts
                if isinstance(act, Tool)
            ],
            image=base64_png(random) if exchange.image else "",
            variant=self._variant,
            response_id=f"{random.getrandbits(96):024x}",
        )


class _Turn:
    """One turn while it is recorded."""

    def __init__(
        self,
        talk: Talk,
        exchange: Exchange,
        fault: Fault | None,
        said: Said,
        clock: ScriptedClock,
        number: int,
    ) -> None:
        self._talk, self._exchange, self._fault = talk, exchange, fault
        self.said, self._clock, self._number = said, clock, number
        self._random = talk.random
        self._shape = SHAPES[talk.agent.shape]
        self._missing: list[str] = []
        self.spoken: list[Spoken] = []

    def record(self) -> bool:
        """Record the turn; return whether it was answered."""
        talk = self._talk
        run = WaxellContext(
            agent_name=talk.agent.name,
            workflow_name=WORKFLOW,
            inputs=self._shape.inputs(self.said),
            metadata=talk.metadata,
            session_id=talk.session_id,
            user_id=talk.users[(self._number - 1) % len(talk.users)],
            interaction_mode="interactive" if talk.session_id else "autonomous",
        )
        for key, value in talk.tags.items():
            run.set_tag(key, value)
        answer = ""
        try:
            with _block(run):
                answer = self._answer(run)
                self._score(run)
        except _Failure:
            pass
        self.spoken.insert(0, Spoken(run.run_id, self.said.asks, answer))
        return bool(answer)

    def _answer(self, run: WaxellContext) -> str:
        self._go_on(0.01, 0.04)
        self._check_policy(run)
        if self._exchange.acts:
            self._call(run, "choose tools", answers=False)
            self._note_plan(run)
        for act in self._exchange.acts:
            self._act(run, act, level=0)
        for _ in range(self._talk.loops):
            self._call(run, "read", answers=False)
        self._break(run)
        said = self.said
        if self._missing:
            names = " and ".join(self._missing)
            apology = f"One thing is missing: {names} did not answer. Ask me again in a while."
            said = self.said = replace(said, says=f"{said.says}\n\n{apology}")
        self._call(run, "answer", answers=True)
        self._fail_at_the_end()
        run.set_result(self._shape.result(said))
        return said.says

    def _note_plan(self, run: WaxellContext) -> None:
        """Record what the agent is about to do: a step of a graph, or a choice of some others."""
        names = [
            act.name if isinstance(act, Tool) else act.agent
            for act in self._exchange.acts
            if not isinstance(act, Lookup)
        ]
        if self._talk.agent.shape == "langgraph":
            run.record_step("plan", {"next": names or ["respond"]}, kind="node")
        elif self._talk.agent.shape == "pydantic" and len(names) > 1:
            reason = "Logs and figures first: they tell what to ask the others."
            run.record_decision(name="first look", options=names, chosen=names[0], reasoning=reason)

    # -- what the agent does --------------------------------------------------------------------

    def _act(self, run: WaxellContext, act: Act, level: int) -> None:
        if isinstance(act, Tool):
            self._use(run, act, level)
        elif isinstance(act, Lookup):
            self._look_up(run, act)
        else:
            self._ask(act, level)

    def _use(self, run: WaxellContext, tool: Tool, level: int) -> None:
        fault = self._takes("tool", tool.name) if not level else None
        if fault is not None:
            self._fail(run, tool, fault)
            return
        ms = self._go_on(tool.seconds * 0.7, tool.seconds * 1.5)
        run.record_tool_call(
            name=tool.name, input=dict(tool.given), output=tool.found, duration_ms=ms
        )

    def _fail(self, run: WaxellContext, tool: Tool, fault: Fault) -> None:
        """Record a call of a tool that gave no answer; raise unless the agent goes on without."""
        ms = self._go_on(fault.seconds, fault.seconds)
        run.record_tool_call(
            name=tool.name,
            input=dict(tool.given),
            duration_ms=ms,
            status=RecordStatus.ERROR,
            error=f"{fault.error_type}: {fault.message}",
        )
        if fault.where == "sub-agent" or fault.status != RunStatus.SUCCESS:
            raise _Failure(error_of(fault))
        self._missing.append(f"`{tool.name}`")

    def _look_up(self, run: WaxellContext, lookup: Lookup) -> None:
        ms = self._go_on(0.1, 0.7)
        scores = sorted((self._random.uniform(0.55, 0.97) for _ in lookup.titles), reverse=True)
        documents = [
            {"title": title, "score": round(score, 3)}
            for title, score in zip(lookup.titles, scores, strict=True)
        ]
        run.record_retrieval(
            query=lookup.query, documents=documents, source=lookup.source, duration_ms=ms
        )

    def _ask(self, asked: SubAgent, level: int) -> None:
        """Record the run of a sub-agent, and those that it asks in turn."""
        fault = self._takes("sub-agent", asked.agent) if not level else None
        run = WaxellContext(asked.agent, WORKFLOW, inputs=dict(asked.given))
        answer = ""
        place = len(self.spoken)
        try:
            with _block(run):
                answer = self._answer_of(run, asked, level, fault)
        except _Failure:
            if fault is None or fault.status != RunStatus.SUCCESS:
                raise
            self._missing.append(f"the {asked.agent}")
        finally:
            self.spoken.insert(place, Spoken(run.run_id, _words_of(asked.given), answer))

    def _answer_of(
        self, run: WaxellContext, asked: SubAgent, level: int, fault: Fault | None
    ) -> str:
        self._go_on(0.01, 0.03)
        if fault is not None:
            tool = next((act for act in asked.acts if isinstance(act, Tool)), None)
            self._fail(run, tool or Tool(asked.agent, asked.given, None), fault)
        for act in asked.acts:
            self._act(run, act, level + 1)
        tokens_in, tokens_out = 260 + len(str(asked)) // _CHARS, 12 + len(asked.answer) // _CHARS
        run.record_llm_call(
            model=self._talk.agent.models[-1],
            provider=self._talk.agent.provider,
            task="answer",
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            duration_ms=self._wait_for(tokens_in, tokens_out),
        )
        run.set_result({"result": asked.answer})
        return asked.answer

    # -- calls of models ------------------------------------------------------------------------

    def _call(self, run: WaxellContext, task: str, *, answers: bool) -> None:
        said, random = self.said, self._random
        sent = said if answers else replace(said, used=())
        # The tools that are offered, and what else comes before the conversation.
        base = self._talk.base_tokens + len(said.system) // _CHARS
        history = base + sum(map(_tokens_of, said.history))
        new = _tokens_of(replace(sent, says=""))
        tokens_out = 8 + len(said.says) // _CHARS if answers else random.randint(18, 70)
        reasoning = random.randint(64, 900) if said.model in _REASONS else None
        counts = {
            "tokens_in": history + new,
            "tokens_out": tokens_out + (reasoning or 0),
            "cached_tokens": history if self._talk.is_cached else 0,
            "reasoning_tokens": reasoning,
        }
        run.record_llm_call(
            model=said.model,
            provider=self._talk.agent.provider,
            task=task,
            duration_ms=self._wait_for(history + new, tokens_out + (reasoning or 0)),
            ttft_ms=random.randint(180, 900) if answers else None,
            is_streaming=answers,
            full_messages=self._shape.messages(sent),
            full_response=said.says if answers else None,
            **(counts if self._talk.is_metered else {"usage": None}),
        )

    def _wait_for(self, tokens_in: int, tokens_out: int) -> int:
        seconds = 0.3 + tokens_in / _READ + tokens_out / _WRITTEN
        return self._go_on(seconds * 0.8, seconds * 1.6)

    # -- what goes wrong ------------------------------------------------------------------------

    def _takes(self, where: str, name: str) -> Fault | None:
        """Return the fault of the turn if it strikes here; it strikes once."""
        fault = self._fault
        if fault is None or fault.where != where or (fault.name and fault.name != name):
            return None
        self._fault = None
        return fault

    def _break(self, run: WaxellContext) -> None:
        """Record the calls that failed before the one that answers, or gave up."""
        fault = self._takes("call", "")
        if fault is None:
            return
        is_answered = fault.status == RunStatus.SUCCESS
        for attempt in range(1, fault.attempts + (not is_answered)):
            run.record_llm_call(
                model=self.said.model,
                provider=self._talk.agent.provider,
                task="answer",
                tokens_in=0,
                tokens_out=0,
                duration_ms=self._go_on(fault.seconds * 0.1, fault.seconds * 0.2),
                status=RecordStatus.ERROR,
                error_type=fault.error_type,
                error_message=fault.message,
            )
            if attempt < fault.attempts:
                wait = self._go_on(fault.seconds, fault.seconds * 1.3)
                run.record_retry(
                    attempt=attempt,
                    reason=fault.message,
                    original_error=fault.error_type,
                    max_attempts=3,
                    duration_ms=wait,
                )
        if not is_answered:
            raise _Failure(error_of(fault))

    def _check_policy(self, run: WaxellContext) -> None:
        if self._fault is None or self._fault.status != RunStatus.BLOCKED:
            return
        run.record_policy_check(
            policy_name="needs-approval", action="block", reason=self._fault.message
        )
        raise _Failure(error_of(self._fault))

    def _fail_at_the_end(self) -> None:
        fault = self._takes("run", "")
        if fault is None:
            return
        raise _Failure(None if fault.status == RunStatus.INTERRUPTED else error_of(fault))

    # -- scores and time ------------------------------------------------------------------------

    def _score(self, run: WaxellContext) -> None:
        for name, value, comment in self._talk.scores.get(self._number, ()):
            kind = {bool: "boolean", str: "categorical"}.get(type(value), "numeric")
            run.record_score(name, value, kind, comment)
        if self._talk.scores or self._random.random() > 0.14:
            return
        random = self._random
        run.record_score("helpful", round(random.triangular(0.1, 1.0, 0.9), 2))
        if random.random() < 0.5:
            run.record_score("resolved", random.random() < 0.8, "boolean")
        if random.random() < 0.3:
            run.record_score("mood", random.choices(_MOODS, (6, 3, 1))[0], "categorical")

    def _go_on(self, least: float, most: float) -> int:
        """Let time pass; return how many milliseconds."""
        seconds = self._random.uniform(least, most) * self._talk.slowness
        self._clock.go_on(seconds)
        return round(seconds * 1_000)


def _tokens_of(said: Said) -> int:
    """Return about how many tokens a turn is."""
    used = sum(len(dumps(one.given)) + len(dumps(one.found)) + 60 for one in said.used)
    return (len(said.asks) + len(said.says) + used) // _CHARS + (255 if said.image else 0)


def _words_of(given: Mapping[str, Any]) -> str:
    """Return what a sub-agent was asked: its question, or the values under their names."""
    question = given.get("question")
    return question or ", ".join(f"{name}: {value}" for name, value in given.items())


@contextmanager
def _block(run: WaxellContext) -> Iterator[None]:
    """Hold a run open. What ends it has no traceback: that would show this module."""
    run.__enter__()
    try:
        yield
    except _Failure as failure:
        error = failure.error
        if error is None:
            current_recorder().interrupt_open_runs()
            error = failure  # of a run that has ended, nothing more is written
        run.__exit__(type(error), error, None)
        raise
    run.__exit__(None, None, None)
