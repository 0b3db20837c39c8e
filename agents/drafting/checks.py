"""What code finds in a draft: gaps, and words that nothing in the thread supports."""

import re

from agents import guards
from agents.drafting.outputs import QualityChecks, ReplyInputs, ReplyOutput
from tools import outbound
from tools.drafts import ReplyContext

GAP = re.compile(r"\[\[[^\[\]\n]{0,200}\]\]")
LINK = re.compile(r"\bhttps?://[^\s<>\")\]]+|\bwww\.[^\s<>\")\]]+", re.IGNORECASE)
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
AMOUNT = re.compile(
    r"(?:[$€£]\s?\d[\d.,]*\d|[$€£]\s?\d|\b\d[\d.,]*\s?(?:%|(?:USD|EUR|GBP|dollars|euros?)\b))", re.IGNORECASE
)
NAMED = {LINK: "A link", ADDRESS: "An address", AMOUNT: "An amount"}
SUSPICIOUS = 40
WITH_GAPS = 60


def gaps(output: ReplyOutput) -> list[str]:
    """Return the places that a person must fill before it may leave."""
    text = f"{output.subject}\n{output.body}"
    return list(dict.fromkeys([*GAP.findall(text), *(found[0] for found in outbound.PLACEHOLDER.finditer(text))]))


def doubts(output: ReplyOutput, inputs: ReplyInputs, context: ReplyContext) -> list[str]:
    """Return what a person should look at: links, addresses and amounts that the thread does not have."""
    known = "\n".join(
        [
            context.last_inbound,
            context.last_outbound or "",
            context.to_email,
            inputs.instructions,
            *inputs.open_promises,
        ]
    )
    found = strange(output.body, known, LINK, ADDRESS, AMOUNT)
    if guards.suspicious(context.last_inbound):
        found.append("The message that is answered gives instructions to a machine.")
    return found


def strange(text: str, known: str, *patterns: re.Pattern[str]) -> list[str]:
    """Return the links, addresses and amounts of a text that what is known does not have, as lines for a person."""
    return [
        f"{NAMED[pattern]} that is not in the thread: {said}"
        for pattern in patterns
        for said in dict.fromkeys(pattern.findall(text))
        if said.rstrip(".,;") not in known
    ]


def quality(output: ReplyOutput, inputs: ReplyInputs, context: ReplyContext) -> QualityChecks:
    """Return whether the draft greets the person by name and speaks of what was said."""
    return quality_of(output.body, inputs.contact_first_name, context.last_inbound)


def quality_of(body: str, name: str, said: str) -> QualityChecks:
    """Return whether a mail has the name in it and at least two of the longer words that were said."""
    words = {word.lower() for word in re.findall(r"[^\W\d_]{5,}", said)}
    shared = words & {word.lower() for word in re.findall(r"[^\W\d_]{5,}", body)}
    return QualityChecks(
        used_contact_name=bool(name) and re.search(rf"\b{re.escape(name)}\b", body) is not None,
        referenced_prior_interaction=len(shared) >= 2,
    )


def confidence(output: ReplyOutput, placeholders: list[str], doubtful: list[str]) -> int:
    """Return how sure one may be of the draft (0..100): gaps and doubts cap what the model says."""
    limits = [output.confidence]
    if placeholders:
        limits.append(WITH_GAPS)
    if doubtful:
        limits.append(SUSPICIOUS)
    return min(limits)
