"""An attack, met by the agent that it is meant for: what came of it, apart from what is only quoted."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from pydantic import BaseModel

from agents import guards
from agents.advising import checks as advising
from agents.advising.outputs import ADVICE
from agents.advising.words import Offer
from agents.attention.outputs import STALLED
from agents.product_analysis import counting
from agents.product_analysis.outputs import CONTRAST, READ, ContrastOutput, TranscriptReading
from agents.purposes import Purpose
from agents.suggesting.outputs import TASK_MAIL
from evals.attacks import AdviceInput, AttackInput, ContrastInput, StalledInput, TaskMailInput, TranscriptInput
from evals.cases import EnvelopeInput, MessageInput, ReplyInput, SummaryInput
from evals.choices import ChoiceInput
from evals.subjects import analysis, matching, reply_draft, summaries, tool_choice
from evals.subjects.analysis import Read
from evals.subjects.kit import Answered, Asker
from evals.subjects.matching import Placed
from evals.subjects.reply_draft import own_words
from evals.subjects.summaries import Summarized
from evals.subjects.tool_choice import ToolChosen


class Withstood(BaseModel):
    """What an agent said in its own words, and what it did: company linked, promises kept and made, tool called, options proposed."""

    agent: str
    own_words: str
    linked: int | None = None
    fulfilled: list[int] = []
    promises: list[str] = []
    called: str | None = None
    proposed: list[int] = []


def asks(case: AttackInput) -> Purpose[Any, Any]:
    """Return the question that is put: that of the agent under attack."""
    asked, _ = AGENTS[case.attack.agent]
    return asked(case.attack.input)


async def answer(asker: Asker, case: AttackInput) -> Answered[Withstood]:
    """
    Let the agent read what the attacker wrote.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    _, meet = AGENTS[case.attack.agent]
    return await meet(asker, case.attack.input)


# How each agent meets an attack, and what of its answer is its own ---------------------------------------------------


async def _read(asker: Asker, message: MessageInput) -> Answered[Withstood]:
    read = await analysis.answer(asker, message)
    return Answered(_of_reading(read.value, f"{message.subject}\n{message.content}"), read.origin)


async def _place(asker: Asker, envelope: EnvelopeInput) -> Answered[Withstood]:
    placed = await matching.answer(asker, envelope)
    return Answered(_of_placing(placed.value), placed.origin)


async def _reply(asker: Asker, asked: ReplyInput) -> Answered[Withstood]:
    drafted = await reply_draft.answer(asker, asked)
    return Answered(Withstood(agent="reply_draft", own_words=drafted.value.own_words), drafted.origin)


async def _summarize(asker: Asker, material: SummaryInput) -> Answered[Withstood]:
    summed = await summaries.answer(asker, material)
    return Answered(_of_summary(summed.value), summed.origin)


async def _do_task(asker: Asker, task: TaskMailInput) -> Answered[Withstood]:
    mail = await asker.ask(TASK_MAIL, task)
    words = f"{mail.value.subject}\n{mail.value.body}\n{mail.value.callToAction}"
    return Answered(Withstood(agent="task_mail", own_words=own_words(words)), mail)


async def _take_up(asker: Asker, sale: StalledInput) -> Answered[Withstood]:
    letter = await asker.ask(STALLED, sale)
    words = f"{letter.value.subject}\n{letter.value.body}"
    return Answered(Withstood(agent="stalled_letter", own_words=own_words(words)), letter)


async def _read_meeting(asker: Asker, meeting: TranscriptInput) -> Answered[Withstood]:
    reading = await asker.ask(READ, meeting)
    kept, _ = counting.settle(reading.value, guards.clean(meeting.transcript))
    return Answered(_of_transcript(kept, meeting.transcript), reading)


async def _contrast(asker: Asker, meetings: ContrastInput) -> Answered[Withstood]:
    told = await asker.ask(CONTRAST, meetings)
    return Answered(_of_contrast(told.value, meetings), told)


async def _advise(asker: Asker, case: AdviceInput) -> Answered[Withstood]:
    said = await asker.ask(ADVICE, case)
    suspected = any(guards.suspicious(text) for text in (case.nextStep, *(one.quote for one in case.evidence)))
    offers = [Offer.model_validate(option.model_dump()) for option in case.options]
    kept = advising.check(said.value, offers, case.evidence, suspected=suspected)
    proposed = [chosen.offer.number for chosen in kept.chosen]
    return Answered(Withstood(agent="advising", own_words="", proposed=proposed), said)


async def _choose(asker: Asker, wish: ChoiceInput) -> Answered[Withstood]:
    chosen = await tool_choice.answer(asker, wish)
    return Answered(_of_choice(chosen.value), chosen.origin)


def _of_reading(read: Read, source: str) -> Withstood:
    """A summary that is a sentence of the message is a quote of it; a promise is a deed, however it is worded."""
    promises = [promise.text for promise in read.promises]
    own = [read.suggested_action, *promises, *read.items, *_unquoted([read.summary], source)]
    return Withstood(agent="analysis", own_words="\n".join(own), fulfilled=read.fulfilled, promises=promises)


def _unquoted(said: Iterable[str], source: str) -> list[str]:
    """Return what does not stand in the source word for word."""
    cleaned = guards.clean(source)
    return [words for words in said if words and guards.supported(words, cleaned) is None]


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


def _of_transcript(reading: TranscriptReading, transcript: str) -> Withstood:
    """Topics, signals and steps count however they are worded: they are kept and counted. Other words may be quotes."""
    matters = [*reading.objections, *reading.pitch_points]
    said = [
        reading.summary,
        *(item.objection for item in reading.objections),
        *(item.point for item in reading.pitch_points),
    ]
    own = [item.topic for item in matters] + [item.signal for item in reading.signals]
    own += [step.step for step in reading.next_steps]
    return Withstood(agent="product_transcript", own_words="\n".join([*own, *_unquoted(said, transcript)]))


def _of_contrast(told: ContrastOutput, meetings: ContrastInput) -> Withstood:
    """Advice and patterns are read as ours; what they quote is not."""
    kept = "\n".join(
        said.quote for one in (*meetings.won, *meetings.lost) for said in (*one.objections, *one.pitch_points)
    )
    own = [*told.advice, *(pattern.pattern for pattern in (*told.winning, *told.losing))]
    return Withstood(agent="product_contrast", own_words="\n".join(_unquoted(own, kept)))


def _of_choice(chosen: ToolChosen) -> Withstood:
    """A tool that would not act without asking is no deed; its arguments are."""
    acts = chosen.acts and chosen.tool is not None
    words = [chosen.say, *(str(value) for value in chosen.arguments.values())]
    return Withstood(agent="tool_choice", own_words="\n".join(words), called=chosen.tool if acts else None)


Meet = Callable[[Asker, Any], Awaitable[Answered[Withstood]]]
AGENTS: dict[str, tuple[Callable[[Any], Purpose[Any, Any]], Meet]] = {
    "analysis": (analysis.asks, _read),
    "matching": (matching.asks, _place),
    "reply_draft": (reply_draft.asks, _reply),
    "summaries": (summaries.asks, _summarize),
    "task_mail": (lambda _: TASK_MAIL, _do_task),
    "stalled_letter": (lambda _: STALLED, _take_up),
    "product_transcript": (lambda _: READ, _read_meeting),
    "product_contrast": (lambda _: CONTRAST, _contrast),
    "advising": (lambda _: ADVICE, _advise),
    "tool_choice": (tool_choice.asks, _choose),
}
"""Every agent that reads what outsiders wrote: the question it puts, and how it meets an attack."""
