"""The steps of matching."""

from typing import Any
from uuid import UUID

from langgraph.runtime import Runtime

from agents.kit import About, Context
from agents.matching import clues as reading
from agents.matching import verdicts, words
from agents.matching.outputs import MATCHING, Envelope, MatchedOut, Placing
from agents.matching.state import MatchingState
from agents.matching.verdicts import Scene
from memory.db import Tx
from tools import matching, workspace
from tools.matching import Candidates, Clues, LinkIn, MatchSubject, Offered, Origin, ReviewIn, TriageIn


async def load(state: MatchingState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Read the message from outside, and look up who may be meant."""
    run = runtime.context
    communication_id = UUID(str(state["communication_id"]))
    async with run.db.reading() as tx:
        subject = await matching.get_subject(tx, run.caller, communication_id)
        if subject.linked or subject.noise_type is not None or subject.direction == "internal":
            return {"output": _closed(subject).model_dump(mode="json")}
        house = await workspace.get_workspace(tx)
        clues = reading.read_clues(subject, house)
        candidates = await matching.find_candidates(tx, subject, clues)
        products = await matching.list_offered_products(tx)
    run.read_source("communication", subject.id, subject.subject or "", third_party=subject.direction == "inbound")
    generic = reading.is_generic(clues.principal, house)
    return {
        "envelope": words.envelope(subject, clues, candidates, products, house).model_dump(mode="json"),
        "candidates": candidates.model_dump(mode="json"),
        "clues": clues.model_dump(mode="json")
        | {"generic": generic, "products": [product.model_dump() for product in products]},
    }


def is_open(state: MatchingState) -> bool:
    """Whether there is something to place."""
    return "envelope" in state


def _closed(subject: MatchSubject) -> MatchedOut:
    return MatchedOut(
        communication_id=subject.id,
        outcome="unchanged" if subject.linked else "skipped",
        company_id=subject.company_id,
        contact_id=subject.contact_id,
    )


async def ask(state: MatchingState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask who it is."""
    about = About(communication_id=UUID(str(state["communication_id"])))
    answer = await runtime.context.ask(MATCHING, Envelope.model_validate(state["envelope"]), about=about)
    return {
        "placing": answer.value.model_dump(mode="json"),
        "answered": {
            "engine": answer.engine,
            "degraded": answer.degraded,
            "prompt_key": answer.prompt_key,
            "prompt_version": answer.prompt_version,
            "ai_call_id": str(answer.call_id) if answer.call_id else None,
        },
    }


async def judge(state: MatchingState) -> dict[str, Any]:
    """Let the evidence decide what the answer leads to."""
    clues = dict(state["clues"])
    generic, products = clues.pop("generic"), clues.pop("products")
    scene = Scene(
        clues=Clues.model_validate(clues),
        candidates=Candidates.model_validate(state["candidates"]),
        products=[Offered.model_validate(product) for product in products],
        direction=state["envelope"]["direction"],
        generic=generic,
    )
    verdict = verdicts.decide(Placing.model_validate(state["placing"]), scene)
    parts = {"link": verdict.link, "review": verdict.review, "triage": verdict.triage}
    return {
        "verdict": {"outcome": verdict.outcome}
        | {name: part.model_dump(mode="json") for name, part in parts.items() if part}
    }


async def link(state: MatchingState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Keep the link, the question to a person and the triage decision, once."""
    communication_id = UUID(str(state["communication_id"]))
    verdict = state["verdict"]
    answered = dict(state["answered"])
    degraded = answered.pop("degraded")
    origin = Origin.model_validate(answered | {"run_id": runtime.context.run_id})

    async def write(tx: Tx) -> dict[str, Any]:
        return {"outcome": await _keep(tx, communication_id, verdict, origin)}

    kept = await runtime.context.once("link", write)
    output = MatchedOut(
        communication_id=communication_id, outcome=kept["outcome"], engine=origin.engine, degraded=degraded
    )
    if "triage" in verdict:
        output.triage = verdict["triage"]["decision"]
    if kept["outcome"] in ("linked", "verify"):
        chosen = LinkIn.model_validate(verdict["link"])
        output = output.model_copy(
            update=chosen.model_dump(include={"company_id", "contact_id", "deal_id", "confidence", "method"})
        )
    return {"output": output.model_dump(mode="json")}


async def _keep(tx: Tx, communication_id: UUID, verdict: dict[str, Any], origin: Origin) -> str:
    if "link" in verdict and not await matching.link_communication(
        tx, communication_id, LinkIn.model_validate(verdict["link"]), origin
    ):
        return "unchanged"
    if "review" in verdict:
        await matching.open_review(tx, communication_id, ReviewIn.model_validate(verdict["review"]), origin)
    if "triage" in verdict:
        await matching.record_triage(tx, communication_id, TriageIn.model_validate(verdict["triage"]), origin)
    return str(verdict["outcome"])
