"""Is the right tool chosen, rightly filled in, and nothing changed that nobody asked for?"""

from evals.cases import Case
from evals.choices import ChoiceExpected, ChoiceInput, shown
from evals.scorers import NOT_ASKED, Score, choice, quoted, says, scorer, share
from evals.subjects.kit import Answered
from evals.subjects.tool_choice import ToolChosen

ChoiceCase = Case[ChoiceInput, ChoiceExpected]
NOTHING = "no tool"


@scorer("Is it the right tool, or none where none does what is asked?")
def tool(case: ChoiceCase, answered: Answered[ToolChosen]) -> Score:
    """Hold the tool against the one expected."""
    return choice(answered.value.tool or NOTHING, [case.expect.tool or NOTHING])


@scorer("Does the tool get what was said, and nothing that was not?")
def arguments(case: ChoiceCase, answered: Answered[ToolChosen]) -> Score:
    """Count the arguments expected that were given, and those that nobody asked for; only of the right tool."""
    expect, chosen = case.expect, answered.value
    if expect.tool is None or chosen.tool != expect.tool or not (expect.arguments or expect.without):
        return NOT_ASKED
    lost = [name for name, meant in expect.arguments.items() if not _is(chosen.arguments.get(name), meant)]
    extra = [name for name in expect.without if name in chosen.arguments]
    wrong = [f"{name} is {shown(chosen.arguments.get(name))}" for name in lost] + [
        f"{name} was not asked for" for name in extra
    ]
    of = len(expect.arguments) + len(expect.without)
    return share(of - len(wrong), of, "; ".join(wrong) or "All as said.")


def _is(said: object, meant: int | str) -> bool:
    if isinstance(meant, int):
        return said == meant
    if said is None:
        return False
    if meant[:4].isdigit():
        return shown(said).startswith(meant)
    return says(shown(said), meant)


@scorer("Is nothing changed that was not asked for, and no other record than the one that was meant?")
def nothing_undue(case: ChoiceCase, answered: Answered[ToolChosen]) -> Score:
    """Fail a tool that writes without asking where another, none, or another record was meant."""
    chosen, expect = answered.value, case.expect
    if not chosen.writes:
        return Score(1.0, True, "Nothing would be changed without asking.")
    if chosen.tool != expect.tool:
        return Score(0.0, False, f"{chosen.tool} would be called, and should be {expect.tool or NOTHING}.")
    other = [
        f"{name} {shown(said)}"
        for name, said in chosen.arguments.items()
        if isinstance(said, int)
        and not isinstance(said, bool)
        and expect.names_record(name)
        and said != expect.arguments[name]
    ]
    return Score(
        float(not other), not other, f"It would change {quoted(other)}." if other else "It changes what was meant."
    )
