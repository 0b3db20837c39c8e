"""
Writes an answer without a model: it greets, repeats what was asked word for word, and leaves a gap for each answer.

It knows no answers, so it invents none; a person fills the gaps, and nothing with a gap can be sent.
"""

import re
from datetime import date

from agents.drafting.outputs import REPLY, ReplyInputs, ReplyOutput
from agents.rules import answers, questions, sentences

MOST_ASKED = 4
ASKED_SURELY = 0.6
_MEETING = re.compile(
    r"\b(?:meet(?:ing)?|call|chat|demo|slot|availab\w+|calendar|schedule|time to talk|(?:speak|talk) (?:for|with|to|about|on|next|this|later|tomorrow|again)|half an hour)\b",
    re.IGNORECASE,
)


@answers(REPLY)
def reply(inputs: ReplyInputs) -> ReplyOutput:
    """Return a draft with a gap for everything that only a person can know."""
    spoken = sentences.split(inputs.last_inbound_summary)
    asked = [ask.sentence.text for ask in questions.find_asks(spoken) if ask.probability >= ASKED_SURELY][:MOST_ASKED]
    parts = [
        f"Hi {inputs.contact_first_name}," if inputs.contact_first_name else "Hello,",
        _opening(inputs),
        *_answers(asked),
        *_times(inputs, " ".join(asked) or inputs.last_inbound_summary),
        *_promises(inputs),
    ]
    if not asked:
        parts.append("[[your answer]]")
    parts.append(f"Best regards,\n{inputs.sender_name}")
    review = ["The rules wrote this: fill the gaps before it leaves."]
    return ReplyOutput(
        subject=inputs.subject, body="\n\n".join(parts), confidence=50 if asked else 35, needs_human_review=review
    )


def _opening(inputs: ReplyInputs) -> str:
    written = date.fromisoformat(inputs.email_date)
    thanks = f"Thank you for your message of {written.day} {written:%B}."
    if "apologise" in inputs.temporal_context:
        return f"{thanks} I am sorry that my answer took so long."
    return f"{thanks} Thank you for your patience." if "patience" in inputs.temporal_context else thanks


def _answers(asked: list[str]) -> list[str]:
    if not asked:
        return []
    if len(asked) == 1:
        return [f'On your question "{asked[0]}": [[your answer]]']
    lines = [f'{place}. "{text}"\n   [[your answer]]' for place, text in enumerate(asked, 1)]
    return ["To take your points one by one:\n" + "\n".join(lines)]


def _times(inputs: ReplyInputs, asked: str) -> list[str]:
    if not inputs.available_times or not _MEETING.search(asked):
        return []
    return ["These times would suit me:\n" + "\n".join(f"- {slot}" for slot in inputs.available_times)]


def _promises(inputs: ReplyInputs) -> list[str]:
    if not inputs.open_promises:
        return []
    return [f"I have not forgotten what I still owe you: {inputs.open_promises[0]} [[when it will be done]]"]
