"""A wish as words: what a choice of a tool is asked with."""

from collections.abc import Sequence
from datetime import datetime

from agents.choosing.outputs import ChoiceInputs, Record
from tools import names
from tools.bindings import kit
from tools.bindings.belts import ASSISTANT as BELT
from tools.bindings.kit import Tool


def question(
    request: str,
    now: datetime,
    timezone: str,
    records: Sequence[Record],
    material: str = "",
    belt: Sequence[Tool] = BELT,
) -> ChoiceInputs:
    """Return what is asked about a wish; `now` is told on the person's own clock."""
    local = now.astimezone(names.zone_of(timezone))
    return ChoiceInputs(
        request=request,
        now=f"{local.isoformat(timespec='seconds')}, {local:%A}",
        timezone=timezone,
        tools=[f"{number}. {kit.describe(tool)}" for number, tool in enumerate(belt, 1)],
        records=list(records),
        material=material,
    )
