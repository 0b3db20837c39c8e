"""What a choice of a tool is asked with, and what comes back."""

from typing import Annotated

from pydantic import BaseModel, Field

from agents.purposes import Purpose, Untrusted


class Record(BaseModel):
    """A record that may be meant, under the number by which it may be named; its name may be somebody else's words."""

    number: int
    kind: str
    name: str


class ChoiceInputs(BaseModel):
    """
    What a person asks for, and what is at hand. `request` is their own words; `material` is what lies open before them.

    `now` is a moment in their own zone, with its weekday.
    """

    request: str
    now: str
    timezone: str
    tools: list[str]
    records: Annotated[list[Record], Untrusted(1500)]
    material: Annotated[str, Untrusted(1500)]


class Argument(BaseModel):
    """One argument: a record by its number, everything else as text."""

    name: str
    value: str


class Choice(BaseModel):
    """The number of the tool, or none when no tool does what is asked; then `say` is what the person is told."""

    tool: int | None = Field(default=None, description="Number of the tool; null when none does what is asked")
    arguments: list[Argument] = []
    confidence: Annotated[float, Field(ge=0, le=1, description="0.9 asked for outright, 0.7 little doubt, 0.5 a guess")]
    say: str = Field(default="", max_length=400)


CHOICE: Purpose[ChoiceInputs, Choice] = Purpose(
    key="tool_choice",
    capability="assistant",
    input=ChoiceInputs,
    output=Choice,
    folder="choosing/tool_choice",
    tier="cheap",
    max_output_tokens=600,
)
