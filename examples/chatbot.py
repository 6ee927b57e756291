"""A chatbot whose conversations become sessions. The model is a script: no key, no network.

python examples/chatbot.py
waxlocal sessions
"""

import asyncio
from dataclasses import dataclass, field

from waxlocal import WaxellContext, generate_session_id

Message = dict[str, str]

ANSWERS = {
    "What can you do?": "I answer questions about tides.",
    "When is high water today?": "At 14:20, 3.1 m above chart datum.",
    "And tomorrow?": "At 15:05. Each day it is some 45 minutes later.",
}


@dataclass
class Reply:
    """What a model's client would return."""

    text: str
    tokens_in: int
    tokens_out: int


async def ask_model(history: list[Message]) -> Reply:
    """Stand in for a call such as `client.chat.completions.create(...)`."""
    await asyncio.sleep(0.05)
    text = ANSWERS[history[-1]["content"]]
    tokens_in = sum(len(message["content"].split()) for message in history)
    return Reply(text, tokens_in, len(text.split()))


@dataclass
class Conversation:
    """One user's talk with the bot: one session, one run for each question."""

    user_id: str
    session_id: str = field(default_factory=generate_session_id)
    history: list[Message] = field(default_factory=list)

    async def ask(self, question: str) -> str:
        self.history.append({"role": "user", "content": question})
        async with WaxellContext(
            agent_name="tide-bot",
            session_id=self.session_id,
            user_id=self.user_id,
            inputs={"message": question},
        ) as run:
            run.set_tag("channel", "terminal")
            run.set_metadata("turn_number", (len(self.history) + 1) // 2)

            reply = await ask_model(self.history)

            run.record_llm_call(
                model="gpt-4o-mini",
                tokens_in=reply.tokens_in,
                tokens_out=reply.tokens_out,
                task="answer",
            )
            run.set_result({"response": reply.text})
        self.history.append({"role": "assistant", "content": reply.text})
        return reply.text


async def main() -> None:
    conversation = Conversation(user_id="ada")
    for question in ANSWERS:
        print("you:", question)
        print("bot:", await conversation.ask(question))
    print("\nlook at it with: waxlocal session", conversation.session_id)


if __name__ == "__main__":
    asyncio.run(main())
