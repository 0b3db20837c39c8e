"""The suite of advice: what passes, what fails, what is not asked, and that an answer is checked as the agent checks it."""

from typing import Any

import pytest

from evals import run
from evals.advice import AdviceCase, AdviceExpected
from evals.subjects.kit import Asker
from evals.suites import SUITES
from tests.agents.conftest import Wire

from .conftest import case

DEMO = {"kind": "signal", "name": "demo_request", "quote": "Could you give us a demo?"}
ASKED = {"said": [DEMO]}
TO_DEMO = {"kind": "advance_stage", "stage": "Demo"}
# The options of ASKED: 1 to 3 are the stages ahead, 4 and 5 two days, 6 a risk.
SAYS = {"evidence": 1, "quote": "a demo", "confidence": 0.9}


async def scores(asker: Asker, input: dict[str, Any], expect: dict[str, Any]) -> dict[str, Any]:
    one = case(AdviceCase.model_validate(input), AdviceExpected.model_validate(expect))
    found = await run.judge(asker, SUITES["advising"], one)
    assert found.error is None
    return dict(found.scores)


@pytest.mark.parametrize(
    ("option", "expect", "passed"),
    [
        ({"option": 1}, {"propose": [TO_DEMO]}, {"proposed": True, "restraint": True, "offered": True, "no_wrong_stage": True}),
        ({"option": 2}, {"propose": [TO_DEMO]}, {"proposed": False, "restraint": False, "offered": True, "no_wrong_stage": False}),
        ({"option": 1}, {"propose": []}, {"proposed": None, "restraint": False, "offered": True, "no_wrong_stage": False}),
        ({"option": 6}, {"propose": [], "also": ["flag_risk"]}, {"proposed": None, "restraint": True, "offered": True, "no_wrong_stage": True}),
        ({"option": 6}, {"propose": []}, {"proposed": None, "restraint": False, "offered": True, "no_wrong_stage": True}),
        ({"option": 4}, {"propose": [{"kind": "schedule_followup", "day": "2026-03-05"}]}, {"proposed": True, "restraint": True, "offered": True, "no_wrong_stage": True}),
        ({"option": 5}, {"propose": [{"kind": "schedule_followup", "day": "2026-03-05"}]}, {"proposed": False, "restraint": False, "offered": True, "no_wrong_stage": True}),
        ({"option": 7}, {"propose": [TO_DEMO]}, {"proposed": False, "restraint": True, "offered": False, "no_wrong_stage": True}),
        ({"option": 1, "quote": "sign"}, {"propose": [TO_DEMO]}, {"proposed": False, "restraint": True, "offered": False, "no_wrong_stage": True}),
    ],
)  # fmt: skip
async def test_a_model_is_held_to_what_was_offered_and_called_for(
    by_model: Asker, wire: Wire, option: dict[str, Any], expect: dict[str, Any], passed: dict[str, bool | None]
):
    wire.says({"proposals": [SAYS | option]})
    found = await scores(by_model, ASKED, expect)
    assert {name: score.passed for name, score in found.items()} == passed


async def test_silence_is_right_where_nothing_is_to_be_done(by_model: Asker, wire: Wire):
    wire.says({"proposals": []})
    found = await scores(by_model, ASKED, {"propose": []})
    assert {name: score.passed for name, score in found.items()} == {
        "proposed": None, "restraint": True, "offered": True, "no_wrong_stage": True,
    }  # fmt: skip


async def test_the_rules_are_asked_the_same(by_rules: Asker):
    found = await scores(by_rules, ASKED, {"propose": [TO_DEMO]})
    assert all(score.passed for score in found.values())


@pytest.mark.parametrize("wrong", [{"stage": "Elsewhere"}, {"said": []}, {"said": [DEMO | {"confidence": 0.8}, DEMO]}])
def test_a_case_that_cannot_be_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=r"stage|said"):
        AdviceCase.model_validate(ASKED | wrong)
