"""Evals in a browser: suites, a run with its cases, two runs side by side, a report that cannot do anything."""

from typing import Any
from uuid import uuid4

from playwright.async_api import expect

from memory.callers import Caller
from tests.browser.conftest import PHONE, House, Visit
from tools.evaluations import suites

CASES = 6


async def given_eval(house: House, *, lost: int = 0, status: str = "finished", **values: Any) -> Any:
    """A run of the analysis suite in which `lost` cases fail."""
    suite = suites.get_suite("analysis")
    async with house.given() as given:
        figures = [
            {"name": scorer.name, "question": scorer.question, "dear": scorer.dear, "passed": CASES - lost, "of": CASES,
             "share": (CASES - lost) / CASES, "low": max(0.0, (CASES - lost) / CASES - 0.2), "high": 1.0, "mean": None}
            for scorer in suite.scorers
        ]  # fmt: skip
        run = await given.row(
            "eval_runs", batch_id=uuid4(), suite="analysis", engine="rules", status=status, planned=CASES,
            cases=CASES if status == "finished" else 2, against_kind="baseline", started_at=given.ago(minutes=2),
            finished_at=given.ago(minutes=1) if status == "finished" else None,
            figures=given.json({"scorers": figures if status == "finished" else []}), **values,
        )  # fmt: skip
        for number in range(CASES):
            await given.row(
                "eval_cases", run_id=run.id, case_id=f"promise_{number}", digest=f"d{number}", split="dev" if number else "held_out",
                tags=["promise"], why="A promise with a day must be found.", answer=given.json({"promises": 1}), latency_ms=3,
            )  # fmt: skip
            for scorer in suite.scorers:
                failed = number >= CASES - lost
                await given.row(
                    "eval_case_results", run_id=run.id, case_id=f"promise_{number}", scorer=scorer.name,
                    outcome="failed" if failed else "passed",
                    explanation="Missed: send the list by Friday." if failed else "All there.",
                )  # fmt: skip
    return run


async def given_admin(house: House) -> Caller:
    async with house.given() as given:
        return await given.user("admin", name="Ada Admin")


class TestEvals:
    async def test_shows_suites_and_runs(self, house: House, visit: Visit) -> None:
        me = await given_admin(house)
        await given_eval(house)
        await given_eval(house, lost=2)
        window = await visit(me)
        page = await window.go("/console/evals")
        await expect(page.locator(".suites li")).to_have_count(len(suites.list_suites()))
        await expect(page.locator("tbody tr")).to_have_count(2)
        await window.look("evals")
        await page.get_by_role("combobox", name="Engine").select_option("openai")
        await expect(page.get_by_text("No run fits")).to_be_visible()
        phone = await visit(me, scheme="dark", size=PHONE)
        await phone.go("/console/evals")
        await phone.look("evals-dark-400")

    async def test_shows_what_was_said_of_each_case_and_hides_what_is_held_out(
        self, house: House, visit: Visit
    ) -> None:
        me = await given_admin(house)
        run = await given_eval(house, lost=2)
        window = await visit(me)
        page = await window.go(f"/console/evals/runs/{run.id}")
        await expect(page.locator(".case")).to_have_count(CASES - 1)
        await page.locator("#case-promise_5 > summary").click()
        await expect(page.locator("#case-promise_5")).to_contain_text("Missed: send the list by Friday.")
        await expect(page.get_by_text("Held out: 1 passed")).to_be_visible()
        await window.look("eval")
        await page.get_by_role("combobox", name="Outcome").select_option("failed")
        await expect(page.locator(".case")).to_have_count(2)

    async def test_holds_two_runs_side_by_side(self, house: House, visit: Visit) -> None:
        me = await given_admin(house)
        before = await given_eval(house)
        after = await given_eval(house, lost=2)
        window = await visit(me)
        page = await window.go(f"/console/evals/runs/{after.id}")
        await page.get_by_role("combobox", name="Compare with").select_option(str(before.id))
        await page.get_by_role("button", name="Compare").click()
        await expect(page.locator(".case")).to_have_count(2)
        await page.locator(".case > summary").first.click()
        await window.look("eval-compare")
        await page.get_by_role("combobox", name="Show").select_option("all")
        await expect(page.locator(".case")).to_have_count(CASES - 1)
        phone = await visit(me, scheme="dark", size=PHONE)
        await phone.go(f"/console/evals/compare?run_id={after.id}&against_run_id={before.id}")
        await phone.look("eval-compare-dark-400")

    async def test_follows_a_run_until_it_is_over(self, house: House, visit: Visit) -> None:
        me = await given_admin(house)
        run = await given_eval(house, status="running")
        window = await visit(me)
        page = await window.go(f"/console/evals/runs/{run.id}")
        await expect(page.get_by_role("progressbar", name="Cases answered")).to_be_visible()
        async with house.given() as given:
            await given.tx.run(
                "UPDATE eval_runs SET status = 'finished', finished_at = now() WHERE id = %(id)s", id=run.id
            )
        await expect(page.locator("h1 .badge").first).to_have_text("finished")
        await expect(page.get_by_role("progressbar", name="Cases answered")).to_have_count(0)

    async def test_opens_a_report_that_can_do_nothing(self, house: House, visit: Visit) -> None:
        me = await given_admin(house)
        report = (
            "<!doctype html><title>Report</title><style>body { color: rgb(1, 2, 3) }</style><h1>Figures</h1>"
            "<script>document.title = 'taken over'</script>"
        )
        run = await given_eval(house, report=report)
        window = await visit(me)
        page = await window.go(f"/console/evals/runs/{run.id}")
        async with page.context.expect_page() as opened:
            await page.get_by_role("link", name="Report").click()
        other = await opened.value
        await other.wait_for_load_state()
        assert await other.title() == "Report"
        assert await other.evaluate("getComputedStyle(document.body).color") == "rgb(1, 2, 3)"
        assert await other.evaluate("self.origin") == "null"

    async def test_asks_for_a_run(self, house: House, visit: Visit) -> None:
        window = await visit(await given_admin(house))
        page = await window.go("/console/evals")
        await page.locator("summary", has_text="Evaluate").click()
        await window.look("evals-ask")
        await page.locator(".ask select[name=suite]").select_option("matching")
        await page.get_by_role("button", name="Start").click()
        await expect(page.get_by_role("status").first).to_contain_text("a worker takes it up")
        await expect(page.locator("h1 .badge")).to_have_text("queued")
