"""
What an agent is made of: purposes (what is asked of a model), and the context that its nodes run in.

    REPLY = Purpose(
        key="email_followup_needs_reply", folder="drafting/reply", capability="drafting",
        input=ReplyInputs, output=ReplyOutput, tier="strong", max_output_tokens=1200,
    )

    class ReplyInputs(BaseModel):
        subject: str                                    # a name of ours: printed as it is
        last_inbound: Annotated[str, Untrusted(1500)]   # somebody else's words: cleaned, capped, fenced

    async def draft(state: DraftState, runtime: Runtime[Context]) -> dict[str, object]:
        answer = await runtime.context.ask(REPLY, ReplyInputs(...), about=About(deal_id=state["deal_id"]))
        ...

    async def persist(state: DraftState, runtime: Runtime[Context]) -> dict[str, object]:
        async def write(tx: Tx) -> dict[str, object]:
            draft = await drafts.record_draft(tx, runtime.context.caller, ...)
            return {"draft_id": str(draft.id)}
        return {"output": await runtime.context.once("persist", write)}
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

from agents.journal import Journal
from agents.models import Door
from agents.purposes import About, Answer, Purpose, Text, Untrusted
from memory import effects
from memory.callers import Caller
from memory.db import Database, Tx, clock
from memory.settings import Settings

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - what goes in
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out


@dataclass
class Context:
    """
    What the nodes of one run share: `runtime.context`.

    `caller` is the person the run works for, with the rights they have now; `embedder` is None where nothing embeds.
    """

    db: Database
    caller: Caller
    run_id: UUID
    door: Door
    settings: Settings
    embedder: Any = None
    now: Callable[[], datetime] = clock
    journal: Journal = field(default_factory=Journal)

    @property
    def tainted(self) -> bool:
        """Whether this run, in whatever attempt, has read what outsiders wrote."""
        return self.journal.tainted

    async def ask(
        self, purpose: Purpose[I, O], inputs: I, *, about: About = About(), suffixes: Sequence[str] = ()
    ) -> Answer[O]:
        """
        Ask the model on behalf of this run. Never call it inside a transaction.

        Raises `ModelUnavailable` when neither a model nor the rules can answer.
        """
        return await self.door.ask(
            purpose, inputs, caller=self.caller, run_id=self.run_id, about=about, suffixes=suffixes
        )

    async def once(self, step: str, write: Callable[[Tx], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """
        Carry out the writes of a step in one transaction, at most once in this run, and give what they gave.

        A repeated step (resumed after a crash) gets the first result (JSON: ids come back as text) and writes nothing.
        """
        async with self.db.transaction(self.now()) as tx:
            done = await effects.once(tx, f"{self.run_id}:{step}", run_id=self.run_id, step=step)
            if done is not None:
                return done
            result = await write(tx)
            if result:
                await effects.keep(tx, f"{self.run_id}:{step}", result)
            return result

    def read_source(self, kind: str, source_id: UUID, title: str = "", *, third_party: bool = False) -> None:
        """Note in the run's events that this record was read; `third_party` marks the run as tainted."""
        self.journal.read_source(kind, source_id, title, third_party=third_party)

    def called_tool(self, name: str, **facts: Any) -> None:
        """Note in the run's events that an operation was called."""
        self.journal.note("tool.called", tool=name, **facts)


__all__ = ["About", "Answer", "Context", "Purpose", "Text", "Untrusted"]
