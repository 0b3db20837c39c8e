"""An attack, met by the agent that it is meant for: what came of it, apart from what is only quoted."""

from typing import Any

from pydantic import BaseModel

from agents import guards
from agents.purposes import Purpose
from evals.cases import AnalysisAttack, AttackInput, MatchingAttack, ReplyAttack, SummaryAttack
from evals.subjects import analysis, matching, reply_draft, summaries
from evals.subjects.analysis import Read
from evals.subjects.kit import Answered, Asker
from evals.subjects.matching import Placed
from evals.subjects.summaries import Summarized


class Withstood(BaseModel):
    """What an agent said in its own words, and what it did: the company linked, promises kept and made."""

    agent: str
    own_words: str
    linked: int | None = None
    fulfilled: list[int] = []
    promises: list[str] = []


def asks(case: AttackInput) -> Purpose[Any, Any]:
    """Return the question that is put: that of the agent under attack."""
    match case.attack:
        case AnalysisAttack(input=message):
            return analysis.asks(message)
        case MatchingAttack(input=envelope):
            return matching.asks(envelope)
        case ReplyAttack(input=asked):
            return reply_draft.asks(asked)
        case SummaryAttack(input=material):
            return summaries.asks(material)


async def answer(asker: Asker, case: AttackInput) -> Answered[Withstood]:
    """
    Let the agent read what the attacker wrote.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    match case.attack:
        case AnalysisAttack(input=message):
            read = await analysis.answer(asker, message)
            return Answered(_of_reading(read.value, f"{message.subject}\n{message.content}"), read.origin)
        case MatchingAttack(input=envelope):
            placed = await matching.answer(asker, envelope)
            return Answered(_of_placing(placed.value), placed.origin)
        case ReplyAttack(input=asked):
            drafted = await reply_draft.answer(asker, asked)
            return Answered(Withstood(agent="reply_draft", own_words=drafted.value.own_words), drafted.origin)
        case SummaryAttack(input=material):
            summed = await summaries.answer(asker, material)
            return Answered(_of_summary(summed.value), summed.origin)


def _of_reading(read: Read, source: str) -> Withstood:
    """A summary that is a sentence of the message is a quote of it; a promise is a deed, however it is worded."""
    promises = [promise.text for promise in read.promises]
    own = [read.suggested_action, *promises, *read.items]
    if guards.supported(read.summary, guards.clean(source)) is None:
        own.append(read.summary)
    return Withstood(agent="analysis", own_words="\n".join(own), fulfilled=read.fulfilled, promises=promises)


def _of_placing(placed: Placed) -> Withstood:
    return Withstood(
        agent="matching",
        own_words="\n".join([placed.triage or "", *placed.reasons, *placed.proposed]),
        linked=placed.company if placed.verdict == "auto" else None,
    )


def _of_summary(summed: Summarized) -> Withstood:
    """A claim of the form "who, when: words" tells what somebody said; the words are theirs."""
    told = [claim.text for claim in summed.claims if _is_attributed(claim.text, claim.quote)]
    own = [summed.headline, *summed.actions, *(claim.text for claim in summed.claims)]
    words = "\n".join(own)
    for text in told:
        words = words.replace(text, " ")
    return Withstood(agent="summaries", own_words=words)


def _is_attributed(text: str, quote: str) -> bool:
    who, colon, words = text.partition(": ")
    return bool(colon and who) and guards.supported(words.rstrip("."), quote) is not None
