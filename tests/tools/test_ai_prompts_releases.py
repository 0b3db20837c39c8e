"""Releases: evidence or an admin's word, one step back, and a row for every step."""

import asyncio

import pytest

from memory.db import Database, Tx
from tests.given import Given
from tests.tools.shelf_of_prompts import ANALYSIS, OFFER, WORDS, WRITERS, Library
from tools import ai_prompts
from tools.ai_prompts import (
    AlreadyActive,
    ChecksFailed,
    HistoryFilter,
    MayNotOverride,
    MayNotWritePrompts,
    NeverReleased,
    NothingBefore,
    NotReleasable,
    NotShipped,
    PromptChanged,
    ReleaseIn,
    RestoreIn,
    RevertIn,
    RollbackIn,
)

NO_PROMISES = "Say in one sentence what this message is about.\n\nSubject: {{ subject }}\n{{ content }}"


@pytest.fixture
async def library(tx: Tx, given: Given) -> Library:
    made = Library(tx, await given.user("admin", name="Ada Admin"))
    await made.ship()
    return made


async def roll_back(library: Library, version: int | None = None, key: str = ANALYSIS) -> int:
    body = RollbackIn(version=version, reason="It drops promises")
    return (await ai_prompts.rollback_prompt(library.tx, library.admin, key, body, WRITERS, OFFER)).version


class TestABadPromptThatDropsPromises:
    async def test_cannot_be_released_without_an_override(self, library: Library, tx: Tx):
        await library.edit(NO_PROMISES, change_reason="Shorter")
        await library.evaluate(2, analysis="regressed")
        with pytest.raises(NotReleasable, match="worse than what answers now: analysis") as refused:
            await library.release(2)
        assert refused.value.details[0] == "analysis: regressed. Missed promises: 1 before, 19 now."
        assert await library.active() == 1

    async def test_is_released_by_an_admin_who_says_why_and_both_are_kept(self, library: Library, tx: Tx):
        await library.edit(NO_PROMISES)
        regressed, *_ = await library.evaluate(2, analysis="regressed")
        release = await library.release(2, "Promises are read by another prompt from today")
        assert (release.kind, release.version, release.previous_version) == ("override", 2, 1)
        assert (release.verdict_id, release.verdicts[0].verdict) == (regressed.id, "regressed")
        assert (release.reason, release.released_by_name) == (
            "Promises are read by another prompt from today",
            "Ada Admin",
        )
        assert all(check.passed for check in release.checks if check.blocking)
        assert await library.active() == 2

    async def test_goes_back_in_one_step(self, library: Library):
        await library.edit(NO_PROMISES, override_reason="Tried in the open")
        assert await library.active() == 2
        assert await roll_back(library) == 1
        assert await library.active() == 1


class TestReleaseVersion:
    async def test_stands_on_the_verdict_of_every_suite(self, library: Library, given: Given):
        await library.edit(WORDS + "\nQuote each.")
        found = await library.evaluate(2, analysis="improved")
        release = await library.release(2, by=await given.user("manager"))
        assert (release.kind, len(release.verdicts), len(found)) == ("verdict", len(found), len(found))
        assert {verdict.suite for verdict in release.verdicts} == {"analysis", "due_dates", "injection"}
        assert await library.active() == 2

    async def test_takes_an_inconclusive_verdict_for_no_regression_and_keeps_it_in_view(self, library: Library, tx: Tx):
        await library.edit(WORDS + "\nQuote each.")
        await library.evaluate(2, due_dates="inconclusive")
        found = await ai_prompts.get_readiness(tx, library.admin, ANALYSIS, 2, OFFER)
        assert (found.may_release, found.explanation) == (
            True, "No suite says that it is worse; due_dates could not tell.",
        )  # fmt: skip
        assert (await library.release(2)).verdicts[0].verdict == "inconclusive"

    async def test_shows_the_evidence_to_those_who_may_release(self, library: Library, tx: Tx, given: Given):
        with pytest.raises(MayNotWritePrompts):
            await ai_prompts.get_readiness(tx, await given.user("manager"), ANALYSIS, 1, OFFER)
        shown = await ai_prompts.get_readiness(tx, await given.user("manager"), ANALYSIS, 1, OFFER, WRITERS)
        assert (shown.state, shown.may_release, shown.explanation) == ("active", False, "It is active.")

    async def test_waits_for_every_suite(self, library: Library):
        await library.edit(WORDS + "\nQuote each.")
        await library.verdict("injection", 2, 1, "same")
        with pytest.raises(NotReleasable, match="No verdict yet from analysis, due_dates"):
            await library.release(2)

    async def test_does_not_hear_the_rules_which_read_no_prompt(self, library: Library):
        await library.edit(NO_PROMISES)
        await library.evaluate(2, engine="rules")
        with pytest.raises(NotReleasable, match="by an engine that reads prompts"):
            await library.release(2)

    async def test_hears_the_newest_verdict_of_a_suite(self, library: Library, tx: Tx):
        await library.edit(WORDS + "\nQuote each.")
        await library.evaluate(2)
        await tx.run("UPDATE eval_verdicts SET created_at = created_at - interval '1 hour'")
        await library.verdict("due_dates", 2, 1, "regressed")
        with pytest.raises(NotReleasable, match="due_dates"):
            await library.release(2)

    async def test_wants_a_verdict_against_what_is_active_now(self, library: Library):
        await library.edit(WORDS + "\nQuote each.")
        await library.evaluate(2)
        await library.edit("Third: {{ content }} {{ subject }}", override_reason="Meanwhile")
        with pytest.raises(NotReleasable, match="No verdict yet"):
            await library.release(2)
        await library.evaluate(2, against=3)
        assert (await library.release(2)).previous_version == 3

    async def test_holds_a_first_suffixed_version_against_the_plain_prompt(self, library: Library, tx: Tx):
        key = f"{ANALYSIS}__onboarding"
        await library.make(key, WORDS)
        found = await ai_prompts.get_readiness(tx, library.admin, key, 1, OFFER)
        assert (found.against_key, found.against_version, found.may_release) == (ANALYSIS, 1, False)
        await library.evaluate(1, key=key, against_key=ANALYSIS)
        assert (await library.release(1, key=key)).kind == "verdict"

    async def test_needs_an_override_where_no_suite_holds_the_prompt(self, library: Library):
        await library.make()
        with pytest.raises(NotReleasable, match="nothing to hold it against"):
            await library.release(1, key="own_prompt")
        await library.release(1, "Nothing to compare with", key="own_prompt")
        await library.edit("New {{ content }}", key="own_prompt")
        with pytest.raises(NotReleasable, match="No suite of evals holds this prompt"):
            await library.release(2, key="own_prompt")

    async def test_lets_nobody_but_an_admin_override(self, library: Library, given: Given):
        await library.edit(NO_PROMISES)
        with pytest.raises(MayNotOverride):
            await library.release(2, "I know better", by=await given.user("manager"))
        with pytest.raises(MayNotOverride):
            await library.edit(WORDS + "!", by=await given.user("manager"), override_reason="I know better")
        with pytest.raises(MayNotWritePrompts):
            await library.release(2, "I know better", by=await given.user("rep"))

    async def test_lets_no_override_past_a_failed_check(self, library: Library):
        await library.edit("Read {{ secret }}")
        with pytest.raises(ChecksFailed, match="nothing for secret"):
            await library.release(2, "It will be fine")
        assert await library.active() == 1

    async def test_refuses_what_is_active_and_what_has_changed_since(self, library: Library, tx: Tx):
        with pytest.raises(AlreadyActive):
            await library.release(1, "Once more")
        edited = await library.edit(NO_PROMISES)
        body = ReleaseIn(version=2, override_reason="Late", lock_version=edited.lock_version - 1)
        with pytest.raises(PromptChanged):
            await ai_prompts.release_version(tx, library.admin, ANALYSIS, body, WRITERS, OFFER)

    async def test_makes_the_variables_of_the_prompt_those_of_the_version(self, library: Library, tx: Tx):
        await library.edit("Only {{ content }}", override_reason="For a test")
        kept = await tx.one(list[str], "SELECT variables FROM ai_prompts WHERE key = %(key)s", key=ANALYSIS)
        assert kept == ["content"]


class TestRollbackPrompt:
    async def test_takes_the_steps_back_one_by_one(self, library: Library):
        for words in ("Two {{ content }}", "Three {{ content }}"):
            await library.edit(words, override_reason="For a test")
        assert [await roll_back(library), await roll_back(library)] == [2, 1]
        with pytest.raises(NothingBefore):
            await roll_back(library)

    async def test_goes_to_any_version_that_was_active_without_a_verdict(self, library: Library):
        for words in ("Two {{ content }}", "Three {{ content }}"):
            await library.edit(words, override_reason="For a test")
        assert await roll_back(library, 1) == 1
        assert await roll_back(library, 3) == 3

    async def test_goes_forward_again_after_a_rollback(self, library: Library):
        await library.edit("Two {{ content }}", override_reason="For a test")
        await roll_back(library)
        await library.edit("Three {{ content }}", override_reason="For a test")
        assert await roll_back(library) == 1

    async def test_refuses_a_draft(self, library: Library):
        await library.edit(NO_PROMISES)
        with pytest.raises(NeverReleased):
            await roll_back(library, 2)
        with pytest.raises(AlreadyActive):
            await roll_back(library, 1)

    async def test_a_version_taken_up_again_is_a_draft_like_any_other(self, library: Library, tx: Tx):
        await library.edit("Two {{ content }}", override_reason="For a test")
        await ai_prompts.revert_version(tx, library.admin, ANALYSIS, RevertIn(version=1), WRITERS)
        with pytest.raises(NeverReleased):
            await roll_back(library, 3)


class TestRestoreDefault:
    async def test_brings_back_what_was_shipped_and_follows_it_again(self, library: Library, tx: Tx):
        await library.edit("Mine {{ content }}", override_reason="For a test")
        await library.ship("Shipped later {{ content }}", version=2)
        release = await ai_prompts.restore_default(tx, library.admin, ANALYSIS, RestoreIn(), WRITERS, OFFER)
        assert (release.kind, release.version, release.previous_version) == ("restore", 3, 2)
        await library.ship("Shipped last {{ content }}", version=3)
        assert await library.active() == 4

    async def test_is_refused_where_nothing_was_shipped_or_it_answers_already(self, library: Library, tx: Tx):
        await library.make(override_reason="For a test")
        with pytest.raises(NotShipped):
            await ai_prompts.restore_default(tx, library.admin, "own_prompt", RestoreIn(), WRITERS)
        with pytest.raises(AlreadyActive):
            await ai_prompts.restore_default(tx, library.admin, ANALYSIS, RestoreIn(), WRITERS)


class TestSwitchingOn:
    async def test_is_a_release_like_any_other_return(self, library: Library, tx: Tx):
        prompt = await library.make(override_reason="For a test")
        await ai_prompts.deactivate_prompt(tx, library.admin, prompt.id, WRITERS)
        await library.edit(WORDS, key="own_prompt", is_active=True)
        releases = (await ai_prompts.list_releases(tx, library.admin, "own_prompt", HistoryFilter())).releases
        assert [(row.kind, row.version, row.previous_version, row.reason) for row in releases] == [
            ("rollback", 1, None, "Switched on again"),
            ("override", 1, None, "For a test"),
        ]


class TestReleases:
    async def test_never_change(self, library: Library, tx: Tx):
        for change in ("reason = 'Other'", "version = 2", "kind = 'verdict'"):
            with pytest.raises(Exception, match=r"immutable|violates"):
                async with tx.savepoint():
                    await tx.run(f"UPDATE prompt_releases SET {change}")  # pyright: ignore[reportArgumentType]


class TestTwoAtOnce:
    async def test_the_second_release_is_weighed_against_the_first(self, db: Database):
        async with db.transaction() as tx:
            admin = await Given(tx).user("admin")
            library = Library(tx, admin)
            await library.ship()
            for words in ("Two {{ content }} {{ subject }}", "Three {{ content }} {{ subject }}"):
                await library.edit(words)
            await library.evaluate(2)
            await library.evaluate(3)

        async def release(version: int) -> str:
            async with db.transaction() as tx:
                try:
                    return (await Library(tx, admin).release(version)).kind
                except NotReleasable:
                    return "refused"

        assert sorted(await asyncio.gather(release(2), release(3))) == ["refused", "verdict"]
