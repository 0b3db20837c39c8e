"""The steps of an advice."""

from typing import Any, TypedDict
from uuid import UUID

from langgraph.runtime import Runtime

from agents import guards
from agents.advising import checks, proposals, words
from agents.advising.checks import Chosen
from agents.advising.outputs import ADVICE, Advice, AdviceInputs, AdvisedOut, Evidence
from agents.advising.words import Offer
from agents.kit import About, Context
from memory.db import Tx
from tools import advising
from tools.advising import AdvisingSubject, Proposals


class AdvisingState(TypedDict, total=False):
    """
    What the steps hand on: JSON values only, so that any worker can go on.

    `offers` and `evidence` stand in the order of their numbers; `suspected` says that the message talked to machines.
    """

    communication_id: Any
    subject: dict[str, Any]
    evidence: list[dict[str, Any]]
    offers: list[dict[str, Any]]
    suspected: bool
    asked: dict[str, Any]
    advice: dict[str, Any]
    answered: dict[str, Any]
    chosen: list[dict[str, Any]]
    hidden: int
    output: dict[str, Any]


async def load(state: AdvisingState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Read the message, what it says, where its product stands, and what may be proposed."""
    run = runtime.context
    communication_id = UUID(str(state["communication_id"]))
    now = run.now()
    async with run.db.reading(now) as tx:
        subject = await advising.find_subject(tx, run.caller, communication_id)
    if subject is None:
        return {"output": AdvisedOut(communication_id=communication_id).model_dump(mode="json")}
    run.read_source("communication", communication_id, subject.subject or "", third_party=True)
    evidence = words.evidence_of(subject)
    if not evidence:
        return {"output": _done(subject).model_dump(mode="json")}
    offers = words.offers_of(subject, evidence, now)
    return {
        "subject": subject.model_dump(mode="json", exclude={"content", "said", "stages"}),
        "evidence": [each.model_dump() for each in evidence],
        "offers": [offer.model_dump() for offer in offers],
        "asked": words.question(subject, evidence, offers, now).model_dump(mode="json"),
        "suspected": subject.injection_suspected or guards.suspicious(f"{subject.subject or ''}\n{subject.content}"),
    }


def has_ground(state: AdvisingState) -> bool:
    """Whether the message says anything to go on."""
    return "subject" in state


async def ask(state: AdvisingState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask what a person may do next."""
    subject = _subject(state)
    about = About(
        company_id=subject.company_id, contact_id=subject.contact_id, communication_id=subject.communication_id
    )
    answer = await runtime.context.ask(ADVICE, AdviceInputs.model_validate(state["asked"]), about=about)
    return {
        "advice": answer.value.model_dump(mode="json"),
        "answered": {"engine": answer.engine, "degraded": answer.degraded},
    }


async def verify(state: AdvisingState) -> dict[str, Any]:
    """Let only stand what was offered and what the message bears out."""
    checked = checks.check(
        Advice.model_validate(state["advice"]),
        [Offer.model_validate(offer) for offer in state["offers"]],
        [Evidence.model_validate(each) for each in state["evidence"]],
        suspected=state["suspected"],
    )
    return {"chosen": [each.model_dump(mode="json") for each in checked.chosen], "hidden": checked.hidden}


async def settle(state: AdvisingState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Suggest it, once; nothing is carried out."""
    run, subject = runtime.context, _subject(state)
    chosen = [Chosen.model_validate(each) for each in state["chosen"]]

    async def write(tx: Tx) -> dict[str, Any]:
        given = Proposals(
            **subject.model_dump(include={"communication_id", "company_product_id", "process_id", "stage_id"}),
            proposals=[proposals.proposal(each, subject, tx.now, suspected=state["suspected"]) for each in chosen],
        )
        made = await advising.propose(tx, run.caller.for_run(run.run_id), given)
        return {"suggestion_ids": [str(suggestion_id) for suggestion_id in made]}

    made: dict[str, Any] = await run.once("settle", write) if chosen else {}
    output = _done(subject, hidden=state["hidden"], **state["answered"], **made)
    return {"output": output.model_dump(mode="json")}


def _subject(state: AdvisingState) -> AdvisingSubject:
    return AdvisingSubject.model_validate(state["subject"] | {"content": "", "said": [], "stages": []})


def _done(subject: AdvisingSubject, **facts: Any) -> AdvisedOut:
    return AdvisedOut(communication_id=subject.communication_id, company_product_id=subject.company_product_id, **facts)
