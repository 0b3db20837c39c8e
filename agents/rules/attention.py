"""Takes a stalled sale up again without a model: greets, says what it is about, and leaves gaps for what a person knows."""

from agents.attention.outputs import STALLED, StalledInputs
from agents.drafting.outputs import ReplyOutput
from agents.rules import answers


@answers(STALLED)
def take_up(inputs: StalledInputs) -> ReplyOutput:
    """Return a letter that asks how to go on, offers times, and keeps to what is known."""
    about = inputs.product_name or "our conversation"
    greeting = f"Hi {inputs.contact_first_name}," if inputs.contact_first_name else "Hello,"
    heard = bool(inputs.last_inbound_summary.strip())
    parts = [
        greeting,
        f"thank you for your last message. I would like to know how we can go on with {about}."
        if heard
        else f"I would like to know how we can go on with {about}.",
        "[[what has happened since, or what you can offer now]]",
    ]
    if inputs.open_promises:
        parts.append(f"I have not forgotten what I still owe you: {inputs.open_promises[0]} [[when it will be done]]")
    if inputs.available_times:
        times = "\n".join(f"- {slot}" for slot in inputs.available_times)
        parts.append(f"Would a short call help? These times would suit me:\n{times}")
    parts.append(f"Best regards,\n{inputs.sender_name}")
    return ReplyOutput(
        subject=f"How shall we go on with {about}?"[:300],
        body="\n\n".join(parts),
        confidence=40,
        needs_human_review=["The rules wrote this: fill the gaps before it leaves."],
    )
