"""Prompts in a browser: finding one, editing it with a preview, comparing, releasing, going back."""

from typing import Any
from uuid import uuid4

from playwright.async_api import expect

from memory.callers import Caller
from prompts import registry
from tests.browser.conftest import PHONE, House, Visit
from tools import ai_prompts
from tools.ai_prompts import UpdatePromptIn
from tools.evaluations import suites, verdicts
from tools.evaluations.verdicts import NewVerdict

KEY = "communication_hub_analysis"
WRITERS = ("admin",)


async def given_library(house: House) -> Caller:
    """Every shipped prompt, and an admin."""
    async with house.given() as given:
        await ai_prompts.sync_shipped(given.tx, registry.shelf())
        return await given.user("admin", name="Ada Admin")


async def given_draft(
    house: House, caller: Caller, *, key: str = KEY, swap: tuple[str, str] = ("word for word", "verbatim")
) -> Any:
    """A draft of a shipped prompt in which some words are others."""
    async with house.given() as given:
        prompt = await ai_prompts.get_prompt_by_key(given.tx, caller, key)
        body = UpdatePromptIn(
            system_template=(prompt.system_template or "").replace(*swap),
            prompt_template=prompt.prompt_template + "\n\nThe date of today does not matter.",
            change_reason="Say it in fewer words",
        )
        return await ai_prompts.update_prompt(given.tx, caller, prompt.id, body, WRITERS)


async def given_verdict(
    house: House, verdict: Any, *, suite: str, version: int, key: str = KEY, reason: str = ""
) -> Any:
    """What one suite says about a version against the shipped one."""
    async with house.given() as given:
        run = await given.row(
            "eval_runs", batch_id=uuid4(), suite=suite, engine="openai", model="gpt-4.1",
            prompt_key=key, prompt_version=version, against_kind="prompt", against_key=key, against_version=1, status="finished",
            planned=40, cases=40,
        )  # fmt: skip
        detail = {
            "scorers": [{
                "name": suites.get_suite(suite).dear, "dear": True, "cases": 40, "passed": 30, "against_passed": 38, "lost": 8, "won": 0,
                "p": 0.008, "adjusted_p": 0.016, "difference": {"value": -0.2, "low": -0.33, "high": -0.08}, "detectable": 0.14,
                "verdict": verdict,
            }]
        }  # fmt: skip
        return await verdicts.record_verdict(
            given.tx,
            NewVerdict(
                run_id=run.id, against_run_id=None, prompt_key=key, prompt_version=version, against_key=key, against_version=1,
                suite=suite, engine="openai", model="gpt-4.1", dataset=suites.get_suite(suite).dataset, verdict=verdict,
                reason=reason or "8 promises that were found before are missed now, none is won.", detail=detail,
            ),
        )  # fmt: skip


class TestLibrary:
    async def test_finds_a_prompt_while_somebody_types(self, house: House, visit: Visit) -> None:
        window = await visit(await given_library(house))
        page = await window.go("/console/prompts")
        await window.look("prompts")
        await page.keyboard.press("/")
        await page.keyboard.type("deal_summ")
        await expect(page.locator("tbody tr")).to_have_count(1)
        assert page.url.endswith("search=deal_summ&category=&state=")
        await page.get_by_label("Search").fill("nothing like it")
        await expect(page.get_by_text("No prompt fits")).to_be_visible()

    async def test_shows_a_prompt_with_versions_and_releases(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}")
        await expect(page.get_by_text("Version 2 is a draft and does not answer")).to_be_visible()
        await window.look("prompt")
        dark = await visit(me, scheme="dark", size=PHONE)
        await dark.go(f"/console/prompts/{KEY}")
        await dark.look("prompt-dark-400")

    async def test_says_which_version_answers_for_a_suffix(self, house: House, visit: Visit) -> None:
        window = await visit(await given_library(house))
        page = await window.go(f"/console/prompts/{KEY}")
        await page.get_by_label("Suffixes").fill("onboarding")
        await expect(page.locator("#answers")).to_contain_text(f"{KEY}__onboarding")
        await expect(page.locator("#answers strong")).to_have_text(f"{KEY} v1")

    async def test_makes_a_new_prompt(self, house: House, visit: Visit) -> None:
        window = await visit(await given_library(house))
        page = await window.go("/console/prompts-new")
        await window.look("prompt-new")
        await page.get_by_role("textbox", name="Key").fill("deal_summary__onboarding")
        await page.get_by_label("Name").fill("Deal summary, onboarding")
        await page.get_by_role("textbox", name="Prompt", exact=True).fill("The deal: {{ dealInfo }")
        window.expected.add(400)
        await page.get_by_role("button", name="Save the draft").click()
        await expect(page.get_by_role("alert").first).to_contain_text("template is not valid")
        await page.get_by_role("textbox", name="Prompt", exact=True).fill("The deal: {{ dealInfo }}")
        await page.get_by_role("button", name="Save the draft").click()
        await page.wait_for_url("**/console/prompts/deal_summary__onboarding/release/1?said=saved")
        await window.look("release-suffix")


class TestEditor:
    async def test_shows_what_a_model_would_read_while_somebody_types(self, house: House, visit: Visit) -> None:
        window = await visit(await given_library(house))
        page = await window.go(f"/console/prompts/{KEY}/edit")
        words = page.get_by_role("textbox", name="Prompt", exact=True)
        await window.look("editor")
        await words.fill("They said: {{ content }}\nand we: {{ nothing_like_it }}")
        preview = page.locator("#preview")
        await expect(preview).to_contain_text("the agent has nothing for nothing_like_it")
        await expect(preview.locator("pre").last).to_contain_text("They said:")
        await expect(preview.locator(".value.missing")).to_have_text("{{ nothing_like_it }}")
        await window.look("editor-problem")
        await words.fill("About ")
        await preview.get_by_role("button", name="subject", exact=False).first.click()
        await expect(words).to_have_value("About {{ subject }}")
        await expect(preview.locator(".value[title=subject]")).to_be_visible()

    async def test_previews_with_a_real_record(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        async with house.given() as given:
            company = await given.company("Northwind Traders")
            await given.communication(
                user=me, company=company, subject="The offer", full_content="We take the larger box."
            )
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/edit")
        await page.get_by_role("combobox", name="With").select_option(index=1)
        await expect(page.locator("#preview")).to_contain_text("with a real record")
        await expect(page.locator("#preview")).to_contain_text("We take the larger box.")

    async def test_keeps_a_draft_and_leads_to_its_release(self, house: House, visit: Visit) -> None:
        window = await visit(await given_library(house))
        page = await window.go(f"/console/prompts/{KEY}/edit")
        words = page.get_by_role("textbox", name="Prompt", exact=True)
        await words.fill(await words.input_value() + "\n\nBe brief.")
        await page.get_by_label("Why this change?").fill("Shorter answers")
        await page.keyboard.press("Control+Enter")
        await page.wait_for_url(f"**/console/prompts/{KEY}/release/2?said=saved")
        await expect(page.locator(".side.come").last).to_contain_text("Be brief.")

    async def test_does_not_write_over_what_somebody_else_saved(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/edit")
        await given_draft(house, me)
        words = page.get_by_role("textbox", name="Prompt", exact=True)
        await words.fill(await words.input_value() + "\n\nBe brief.")
        await page.get_by_label("Why this change?").fill("Shorter answers")
        window.expected.add(409)
        await page.get_by_role("button", name="Save the draft").click()
        await expect(page.get_by_role("alert").first).to_contain_text("Somebody else has changed the prompt")
        assert (await words.input_value()).endswith("Be brief.")
        await page.get_by_role("button", name="Save the draft").click()
        await page.wait_for_url(f"**/console/prompts/{KEY}/release/3?said=saved")

    async def test_works_on_a_phone_in_the_dark_and_without_scripts(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        window = await visit(me, scheme="dark", size=PHONE)
        await window.go(f"/console/prompts/{KEY}/edit")
        await window.look("editor-dark-400")
        plain = await visit(me, script=False)
        page = await plain.go(f"/console/prompts/{KEY}/edit")
        await page.get_by_role("textbox", name="Prompt", exact=True).fill("Only {{ subject }}")
        await page.get_by_role("button", name="Show the preview").click()
        await expect(page.get_by_role("heading", name="What a model would read")).to_be_visible()
        await expect(page.locator(".value[title=subject]")).to_be_visible()


class TestDiff:
    async def test_marks_the_words_that_differ(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/diff?base=1&version=2")
        assert "verbatim" in await page.locator("ins").all_inner_texts()
        await window.look("diff")
        phone = await visit(me, scheme="dark", size=PHONE)
        await phone.go(f"/console/prompts/{KEY}/diff?base=1&version=2")
        await phone.look("diff-dark-400")
        await page.get_by_role("combobox", name="to", exact=True).select_option("1")
        await expect(page.get_by_text("No difference")).to_be_visible()


class TestRelease:
    async def test_does_not_let_a_regression_answer_without_a_reason(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        for suite in suites.suites_of(KEY):
            await given_verdict(house, "regressed", suite=suite.name, version=2)
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/release/2")
        await expect(page.locator(".decide")).to_contain_text("It is worse than what answers now")
        await expect(page.get_by_role("button", name="Release version 2")).to_have_count(0)
        await window.look("release-regressed")
        await page.get_by_role("button", name="Release without evidence").click()
        assert page.url.endswith("/release/2"), "a reason is required"
        await page.get_by_label("Reason for the override").fill("The suite asks for what we no longer sell")
        await page.get_by_role("button", name="Release without evidence").click()
        await page.wait_for_url(f"**/console/prompts/{KEY}?said=released")
        await expect(page.locator(".history li").first).to_contain_text("The suite asks for what we no longer sell")
        await expect(page.locator(".history li").first).to_contain_text("override")
        await window.look("prompt-overridden")
        # One action leads back.
        await page.get_by_label("Reason").fill("It dropped promises")
        await page.get_by_role("button", name="Roll back").click()
        await page.wait_for_url(f"**/console/prompts/{KEY}?said=rolled-back")
        await expect(page.locator("h1 .badge")).to_have_text("v1 answers")

    async def test_releases_on_evidence(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        for suite in suites.suites_of(KEY):
            await given_verdict(house, "same", suite=suite.name, version=2, reason="Nothing lost, nothing won.")
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/release/2")
        await window.look("release-ready")
        await page.get_by_role("button", name="Release version 2").click()
        await page.wait_for_url(f"**/console/prompts/{KEY}?said=released")
        await expect(page.locator("h1 .badge")).to_have_text("v2 answers")
        await page.get_by_role("button", name="Restore the shipped version 1").click()
        await expect(page.locator("h1 .badge")).to_have_text("v1 answers")

    async def test_can_be_decided_as_soon_as_the_evals_have_answered(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        async with house.given() as given:
            asked = await given.row(
                "eval_runs", batch_id=uuid4(), suite="analysis", engine="openai", prompt_key=KEY, prompt_version=2,
                status="running", planned=40,
            )  # fmt: skip
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/release/2")
        await expect(page.locator("#decide")).to_contain_text("No verdict yet")
        for suite in suites.suites_of(KEY):
            await given_verdict(house, "improved", suite=suite.name, version=2, reason="3 promises won, none lost.")
        async with house.given() as given:
            await given.tx.run("UPDATE eval_runs SET status = 'finished' WHERE id = %(id)s", id=asked.id)
        await page.get_by_role("button", name="Release version 2").click()
        await page.wait_for_url(f"**/console/prompts/{KEY}?said=released")

    async def test_says_what_stands_in_the_way_on_a_phone(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        window = await visit(me, scheme="dark", size=PHONE)
        page = await window.go(f"/console/prompts/{KEY}/release/2")
        await expect(page.locator(".decide")).to_contain_text("No verdict yet from")
        await window.look("release-dark-400")

    async def test_takes_an_old_version_up_again(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/versions/1")
        await window.look("version")
        await page.get_by_role("button", name="Take up again").click()
        await page.wait_for_url(f"**/console/prompts/{KEY}/release/3?said=reverted")

    async def test_tries_a_version_out(self, house: House, visit: Visit) -> None:
        me = await given_library(house)
        await given_draft(house, me)
        window = await visit(me)
        page = await window.go(f"/console/prompts/{KEY}/try/2")
        await page.get_by_role("button", name="Ask once").click()
        await expect(page.locator("#trial")).to_contain_text("They did not read these words")
        await window.look("try")


class TestWhoMay:
    async def test_keeps_prompts_from_those_who_may_not_write_them(self, house: House, visit: Visit) -> None:
        async with house.given() as given:
            me = await given.user("manager")
        window = await visit(me)
        window.expected.add(403)
        page = await window.go("/console/prompts")
        await expect(page.get_by_role("heading", name="Not for you")).to_be_visible()
        await expect(page.get_by_role("link", name="Prompts")).to_have_count(0)
        await window.look("refused")
