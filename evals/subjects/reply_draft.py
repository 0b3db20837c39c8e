"""An answer to a message, drafted: what a person would find, and what code found in it."""

import re
from datetime import UTC, date, datetime, time
from typing import Any

from pydantic import BaseModel

from agents.drafting import checks
from agents.drafting.outputs import REPLY, ReplyInputs
from agents.purposes import Purpose
from evals.cases import ReplyInput, made_id
from evals.subjects.kit import Answered, Asker
from tools.drafts import ReplyContext

_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|^>.*$", re.MULTILINE)


def own_words(text: str) -> str:
    """Return a letter without what it quotes."""
    return _QUOTED.sub(" ", text)


class Drafted(BaseModel):
    """A draft. `doubts` are links, addresses and amounts that the thread does not have."""

    subject: str
    body: str
    gaps: list[str]
    doubts: list[str]
    confidence: int

    @property
    def text(self) -> str:
        """Subject and body."""
        return f"{self.subject}\n{self.body}"

    @property
    def own_words(self) -> str:
        """The body without what it quotes."""
        return own_words(self.body)


def asks(_: ReplyInput) -> Purpose[Any, Any]:
    """Return the question that is put."""
    return REPLY


async def answer(asker: Asker, case: ReplyInput) -> Answered[Drafted]:
    """
    Have the answer drafted as the agent has it drafted.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    inputs = ReplyInputs.model_validate(case.model_dump(exclude={"to_email"}))
    said = await asker.ask(REPLY, inputs)
    context = _context(case)
    gaps, doubts = checks.gaps(said.value), checks.doubts(said.value, inputs, context)
    drafted = Drafted(
        subject=said.value.subject,
        body=said.value.body,
        gaps=gaps,
        doubts=[doubt for doubt in doubts if "instructions to a machine" not in doubt],
        confidence=checks.confidence(said.value, gaps, doubts),
    )
    return Answered(drafted, said)


def _context(case: ReplyInput) -> ReplyContext:
    """Return the thread that the draft is held against."""
    written = datetime.combine(date.fromisoformat(case.email_date), time(12), UTC)
    return ReplyContext(
        communication_id=made_id("communication"), user_id=made_id("user"), user_name=case.sender_name, user_timezone="UTC",
        conversation_id=None, company_id=made_id("company"), company_name=case.company_name, contact_id=made_id("contact"),
        contact_name=case.contact_first_name, contact_title=case.contact_title, to_email=case.to_email, subject=case.subject,
        occurred_at=written, last_inbound=case.last_inbound_summary, last_inbound_id=made_id("communication"),
        last_outbound=case.last_outbound_summary or None, last_outbound_id=None, product_names=[case.product_name],
        deal_id=None, stage=case.stage_name, open_promises=case.open_promises, questions=case.questions, objections=[],
        style={}, avoided=[], busy=[],
    )  # fmt: skip
