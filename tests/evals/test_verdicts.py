"""A verdict on a suite: what decides it, and what cannot be told."""

from evals import comparison, verdicts
from evals.results import CaseResult, RunResult, ScoreKept, SuiteResult
from tests.evals.test_run import NOW

SCORERS = ("dear", "one", "two", "three", "four")


def suite(**failed: int) -> SuiteResult:
    """Sixty cases, each asked by every scorer; so many of the first fail for each scorer named."""
    cases = [
        CaseResult(
            id=f"case-{place:02}", digest="d", split="dev", cost_usd=0.01,
            scores={name: ScoreKept(value=float(place >= failed.get(name, 0)), passed=place >= failed.get(name, 0)) for name in SCORERS},
        )
        for place in range(60)
    ]  # fmt: skip
    return SuiteResult(name="analysis", about="", dear="dear", questions=dict.fromkeys(SCORERS, "?"), cases=cases)


def settle(before: SuiteResult, after: SuiteResult) -> verdicts.SuiteVerdict:
    def run(found: SuiteResult) -> RunResult:
        return RunResult(started_at=NOW, seconds=1, engine="openai", model="m", split="all", suites=[found])

    return verdicts.settle(after, before, comparison.compare(run(after), run(before)))


def test_without_a_change_is_same():
    told = settle(suite(), suite())
    assert (told.verdict, told.reason) == (
        "same", "Of 60 cases 0 pass no longer and 0 pass now: no difference that matters.",
    )  # fmt: skip
    assert (told.detail["cost_usd"], told.detail["against_cost_usd"]) == (0.6, 0.6)


def test_a_dear_mistake_is_asked_by_itself():
    told = settle(suite(), suite(dear=6))
    assert (told.verdict, told.reason) == ("regressed", "dear (dear) passes 54 of 60, 60 before (p = 0.0312).")
    (dear,) = [one for one in told.detail["scorers"] if one["dear"]]
    assert (dear["passed"], dear["against_passed"], dear["lost"], dear["verdict"]) == (54, 60, 6, "regressed")


def test_others_are_allowed_for_their_number():
    assert settle(suite(), suite(one=6)).verdict == "inconclusive"
    assert settle(suite(), suite(one=9)).verdict == "regressed"


def test_a_loss_outweighs_a_gain():
    assert settle(suite(one=20), suite(dear=10)).verdict == "regressed"
    assert settle(suite(one=20), suite()).verdict == "improved"


def test_a_dear_mistake_more_is_never_the_same():
    told = settle(suite(), suite(dear=1))
    assert told.verdict == "inconclusive"
    assert "dear (dear) passes 59 of 60, 60 before" in told.reason


def test_few_cases_cannot_tell():
    few, alike = suite(), suite()
    few.cases, alike.cases = few.cases[:10], alike.cases[:10]
    told = settle(few, alike)
    assert told.verdict == "inconclusive"
    assert "cannot be told from chance" in told.reason


def test_is_given_only_by_complete_runs():
    whole = RunResult(started_at=NOW, seconds=1, engine="openai", model="m", split="all", suites=[suite()])
    assert whole.is_whole
    broken = suite()
    broken.cases[0] = broken.cases[0].model_copy(update={"error": "down", "scores": {}})
    for fields in ({"split": "dev"}, {"stopped": "limit"}, {"distrusted": "no"}, {"suites": [broken]}):
        assert not whole.model_copy(update=fields).is_whole
