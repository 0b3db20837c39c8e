"""Runs in a browser: signing in, following a run, reading what it did."""

from typing import Any

from playwright.async_api import expect

from api import auth
from tests.browser.conftest import PHONE, House, Visit

MAIL = (
    "Hello,\n\nplease send the updated offer by Friday, we decide on Monday.\nIs the setup fee still included?\n\nKim"
)


async def given_run(house: House, caller: Any, **values: Any) -> Any:
    """A run of the analysis with one model call, one source and the analysis it wrote."""
    async with house.given() as given:
        company = await given.company("Northwind Traders")
        mail = await given.communication(user=caller, company=company, subject="The offer", full_content=MAIL)
        values = {"status": "succeeded", "engine": "rules", "finished_at": given.ago(), "tainted": True} | values
        run = await given.row(
            "agent_runs", agent="analysis", user_id=caller.user_id, communication_id=mail.id, company_id=company.id,
            started_at=given.ago(seconds=2), output=given.json({"status": "complete", "items": 2}), **values,
        )  # fmt: skip
        events: list[tuple[str, str, dict[str, Any]]] = [
            ("step.started", "load", {}),
            ("source.read", "load", {"record": "communication", "id": str(mail.id), "title": "The offer", "third_party": True}),
            ("step.finished", "load", {"ms": 40}),
            ("step.started", "read", {}),
            ("step.finished", "read", {"ms": 1210}),
        ]  # fmt: skip
        for seq, (kind, step, data) in enumerate(events, 1):
            at = given.ago(seconds=2 - seq * 0.1)
            await given.row(
                "agent_run_events", run_id=run.id, seq=seq, kind=kind, step=step, data=given.json(data), created_at=at
            )
        await given.row(
            "ai_calls", capability="analysis", prompt_key="communication_hub_analysis", prompt_version=1, engine="rules",
            provider="rules", model="rules", status="ok", run_id=run.id, user_id=caller.user_id, input_tokens=812, output_tokens=96,
        )  # fmt: skip
        await given.analysis(
            mail, run_id=run.id, engine="rules", prompt_key="communication_hub_analysis", prompt_version=1,
            key_questions=[{"question": "Is the setup fee included?", "quote": "Is the setup fee still included?", "confidence": 0.9}],
            extracted_next_steps=[{"step": "Send the offer", "quote": "please send the updated offer by Friday", "confidence": 0.9}],
        )  # fmt: skip
    return run


class TestSignIn:
    async def test_leads_back_to_where_somebody_wanted_to_go(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user("manager", name="Mona Manager")
        window = await visit(None)
        page = await window.go("/console/runs?agent=analysis")
        await window.look("sign-in")
        await expect(page.get_by_label("Token")).to_be_focused()
        window.expected.add(401)
        await page.get_by_label("Token").fill("nonsense")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("Sign in first")
        await window.look("sign-in-refused")
        await page.get_by_label("Token").fill(auth.issue_token(house.settings, me.auth_id))
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/console/runs?agent=analysis")
        await page.locator(".menu > summary").click()
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/console/sign-in")
        assert [cookie for cookie in await page.context.cookies() if cookie.get("name") == auth.SESSION_COOKIE] == []


class TestRuns:
    async def test_marks_the_quoted_words_in_their_source(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user(name="Rita Rep")
        run = await given_run(house, me)
        window = await visit(me)
        page = await window.go("/console/runs")
        await window.look("runs")
        await page.get_by_role("link", name="Analysis").click()
        await page.wait_for_url(f"**/console/runs/{run.id}")
        marked = page.locator("blockquote mark")
        assert await marked.all_inner_texts() == [
            "please send the updated offer by Friday",
            "Is the setup fee still included?",
        ]
        await page.locator("summary", has_text="communication_hub_analysis").click()
        await expect(page.locator("pre.words .slot").first).to_be_visible()
        await window.look("run")

    async def test_is_usable_on_a_phone_and_in_the_dark(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user(name="Rita Rep")
        run = await given_run(house, me)
        window = await visit(me, scheme="dark", size=PHONE)
        await window.go("/console/runs")
        await window.look("runs-dark-400")
        page = await window.go(f"/console/runs/{run.id}")
        await window.look("run-dark-400")
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(13, 17, 23)"

    async def test_follows_a_run_without_loading_the_page_again(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user()
        run = await given_run(house, me, status="running", finished_at=None)
        window = await visit(me)
        page = await window.go(f"/console/runs/{run.id}")
        await page.evaluate("window.sameDocument = true")
        await page.locator("#input > summary").click()
        await expect(page.locator(".timeline li")).to_have_count(2)
        async with house.given() as given:
            await given.row("agent_run_events", run_id=run.id, seq=6, kind="step.started", step="settle")
        await expect(page.locator(".timeline li")).to_have_count(3)
        await expect(page.locator("#input")).to_have_attribute("open", "")
        async with house.given() as given:
            await given.tx.run(
                "UPDATE agent_runs SET status = 'succeeded', finished_at = now() WHERE id = %(id)s", id=run.id
            )
            await given.row("agent_run_events", run_id=run.id, seq=7, kind="run.finished")
        await expect(page.locator("h1 .badge")).to_have_text("succeeded")
        assert await page.evaluate("window.sameDocument") is True

    async def test_cancels_a_run_that_waits(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user()
        run = await given_run(house, me, status="queued", finished_at=None)
        window = await visit(me)
        page = await window.go(f"/console/runs/{run.id}")
        await page.get_by_role("button", name="Cancel the run").click()
        await expect(page.get_by_role("status")).to_contain_text("stops after the step")
        await expect(page.locator("h1 .badge")).to_have_text("cancelled")

    async def test_filters_without_loading_the_page_again(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user()
        await given_run(house, me)
        window = await visit(me)
        page = await window.go("/console/runs")
        await page.evaluate("window.sameDocument = true")
        await page.get_by_label("Status").select_option("failed")
        await expect(page.get_by_text("No run fits")).to_be_visible()
        assert page.url.endswith("status=failed")
        await window.look("runs-empty")
        await page.get_by_role("link", name="All runs").click()
        await expect(page.locator("tbody tr")).to_have_count(1)


class TestKeyboard:
    async def test_skips_to_the_content_first(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user()
        await given_run(house, me)
        window = await visit(me)
        page = await window.go("/console/runs")
        await page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        await expect(skip).to_be_focused()
        await expect(skip).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await expect(page.locator("#main")).to_be_focused()

    async def test_leads_by_letters_and_lists_them(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user("admin")
        await given_run(house, me)
        window = await visit(me)
        page = await window.go("/console/trace")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        await window.look("keys")
        await page.keyboard.press("Escape")
        await page.keyboard.press("g")
        await page.keyboard.press("r")
        await page.wait_for_url("**/console/runs")
        await page.keyboard.press("j")
        await expect(page.locator("td.main > a").first).to_be_focused()
        outline = await page.locator("td.main > a").first.evaluate("node => getComputedStyle(node).outlineStyle")
        assert outline == "solid"
        await page.keyboard.press("/")
        await expect(page.get_by_label("Agent")).to_be_focused()

    async def test_chooses_light_or_dark(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user()
        window = await visit(me, scheme="light")
        page = await window.go("/console/runs")
        await page.locator(".menu > summary").click()
        await window.look("menu")
        await page.get_by_role("button", name="Dark").click()
        await page.wait_for_load_state("load")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
        assert page.url.endswith("/console/runs")
