"""Traces in a browser: from a result to its prompt, run and sources."""

from playwright.async_api import expect

from tests.browser.conftest import PHONE, House, Visit
from tests.browser.test_prompts import KEY, given_library
from tests.browser.test_runs import given_run


class TestTrace:
    async def test_leads_from_a_result_to_its_prompt_run_and_sources(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        run = await given_run(house, me)
        window = await visit(me)
        page = await window.go(f"/console/runs/{run.id}")
        await page.get_by_role("link", name="The offer").click()
        await expect(page.locator(".trail")).to_contain_text(f"{KEY} v1")
        await expect(page.locator("blockquote mark").first).to_have_text("please send the updated offer by Friday")
        await window.look("trace")
        await page.get_by_role("link", name=f"{KEY} v1").click()
        await expect(page.get_by_role("heading", name="Communication hub analysis")).to_be_visible()
        await page.go_back()
        await page.locator(".trail").get_by_role("link", name="Analysis", exact=True).click()
        await page.wait_for_url(f"**/console/runs/{run.id}")
        phone = await visit(me, scheme="dark", size=PHONE)
        await phone.go(f"/console/trace?id={run.id}")
        assert phone.page.url.endswith(f"/console/runs/{run.id}")

    async def test_begins_from_the_latest_actions_and_says_when_there_is_no_such_thing(
        self, house: House, visit: Visit
    ) -> None:
        async with house.given() as given:
            me = await given.user()
            company = await given.company("Northwind Traders")
            await given.row(
                "ai_action_log", source="communications", action_type="EMAIL_DRAFTED", status="success",
                user_id=me.user_id, company_id=company.id,
            )  # fmt: skip
        window = await visit(me, scheme="dark", size=PHONE)
        page = await window.go("/console/trace")
        await window.look("trace-ask-dark-400")
        await page.get_by_role("link", name="Email drafted").click()
        await expect(page.get_by_role("heading", name="Email drafted, success")).to_be_visible()
        await expect(page.locator(".trail")).to_contain_text("no model was asked")
        window.expected |= {400, 404}
        await window.go("/console/trace?id=nonsense")
        await expect(page.get_by_role("alert").first).to_contain_text("That is no id")
        await window.go("/console/trace?id=00000000-0000-0000-0000-000000000000")
        await expect(page.get_by_role("alert").first).to_contain_text("no result of an agent")
