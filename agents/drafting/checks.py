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
    found = [
        f"{what} that is not in the thread: {said}"
        for what, pattern in (("A link", LINK), ("An address", ADDRESS), ("An amount", AMOUNT))
        for said in dict.fromkeys(pattern.findall(output.body))
        if said.rstrip(".,;") not in known
    ]
    if guards.suspicious(context.last_inbound):
        found.append("The message that is answered gives instructions to a machine.")
    return found


def quality(output: ReplyOutput, inputs: ReplyInputs, context: ReplyContext) -> QualityChecks:
    """Return whether the draft greets the person by name and speaks of what was said."""
    words = {word.lower() for word in re.findall(r"[^\W\d_]{5,}", context.last_inbound)}
    shared = words & {word.lower() for word in re.findall(r"[^\W\d_]{5,}", output.body)}
    name = inputs.contact_first_name
    return QualityChecks(
        used_contact_name=bool(name) and re.search(rf"\b{re.escape(name)}\b", output.body) is not None,
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
