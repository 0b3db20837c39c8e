"""Suggests a mail for a task without a model: whom it greets and what it is about, with a gap for the rest."""

from agents.rules import answers
from agents.suggesting.outputs import TASK_MAIL, Suggestion, TaskInputs


@answers(TASK_MAIL)
def suggest(inputs: TaskInputs) -> Suggestion:
    """Return a mail that names the task and leaves what only a person knows as a gap."""
    title = inputs.task.splitlines()[0].rsplit(" (due ", 1)[0]
    first_name = inputs.contacts[0].split(",")[0].split(" ")[0] if inputs.contacts else "[[name]]"
    about = inputs.deal.rsplit(",", 1)[0] or inputs.company or "our conversation"
    body = (
        f"Hi {first_name},\n\nI am writing about {about}: {title[:1].lower()}{title[1:]}.\n\n[[what you want to say]]\n\n"
        f"[[what should happen next, and when]]\n\nBest regards,\n{inputs.sender}"
    )
    return Suggestion(subject=title, body=body, tone="friendly", callToAction="[[what should happen next, and when]]")
