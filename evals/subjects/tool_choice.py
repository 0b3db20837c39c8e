"""A wish, and the tool that is chosen for it: what is left of the choice after every number was looked up."""

from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from agents.choosing import checks, words
from agents.choosing.outputs import CHOICE, ChoiceInputs
from agents.purposes import Purpose
from evals.choices import ChoiceInput
from evals.subjects.kit import Answered, Asker


class ToolChosen(BaseModel):
    """
    The tool by its name, None for none; `acts` when it may be called without asking. Moments are in the person's zone.

    Records are numbers, as they were offered.
    """

    tool: str | None
    effect: Literal["read", "write", "send"] | None
    acts: bool
    arguments: dict[str, Any]
    say: str
    problems: list[str]

    @property
    def writes(self) -> bool:
        """Whether something would be changed without anybody being asked."""
        return self.acts and self.effect in ("write", "send")


def asks(_: ChoiceInput) -> Purpose[Any, Any]:
    """Return the question that is put."""
    return CHOICE


async def answer(asker: Asker, case: ChoiceInput) -> Answered[ToolChosen]:
    """
    Have a tool chosen.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    zone = ZoneInfo(case.timezone)
    said = await asker.ask(CHOICE, inputs(case))
    chosen = checks.settle(said.value, words.BELT, case.records)
    tool = chosen.tool
    return Answered(
        ToolChosen(
            tool=tool.name if tool else None,
            effect=tool.effect if tool else None,
            acts=chosen.certainty == "plain",
            arguments={name: _local(value, zone) for name, value in chosen.arguments.items()},
            say=said.value.say,
            problems=chosen.problems,
        ),
        said,
    )


def inputs(case: ChoiceInput) -> ChoiceInputs:
    """Return what is asked about the case."""
    return words.question(case.request, case.now, case.timezone, case.records, case.material)


def _local(value: Any, zone: ZoneInfo) -> Any:
    """Return a moment as it is on the person's clock."""
    if not isinstance(value, str) or "T" not in value:
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return moment.astimezone(zone).isoformat() if moment.tzinfo else value
