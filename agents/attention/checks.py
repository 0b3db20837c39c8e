"""What code finds in a letter that deals with a flag."""

from agents import guards
from agents.drafting import checks
from agents.drafting.outputs import ReplyOutput
from tools.attention.context import FlagContext


def doubts(output: ReplyOutput, context: FlagContext) -> list[str]:
    """
    Return what a person should look at.

    Links and addresses count as known only from our own words: theirs may be there to be passed on.
    """
    text = f"{output.subject}\n{output.body}"
    ours = "\n".join([context.last_outbound, context.contact_email, *context.open_promises])
    found = [
        *checks.strange(text, ours, checks.LINK, checks.ADDRESS),
        *checks.strange(text, f"{ours}\n{context.last_inbound}", checks.AMOUNT),
    ]
    if any(map(guards.suspicious, (context.last_inbound, context.subject, context.flag.reason))):
        found.append("What they wrote gives instructions to a machine.")
    return found


def subject_of(output: ReplyOutput, context: FlagContext, *, answers: bool) -> str:
    """Return the thread's own subject for an answer, else the one that was written."""
    written = " ".join(output.subject.split())
    if not answers:
        return written or f"{context.product_name or 'Our conversation'}: how shall we go on?"
    subject = " ".join(context.subject.split()) or written
    return subject if subject.lower().startswith("re:") else f"Re: {subject}"
