"""
From the edit of a prompt to what answers: evaluated by a scripted model, refused, released on an admin's word, taken back.

The model is that of the campaigns: it reads as the rules do, and obeys a prompt that tells it to leave promises out.
"""

from pathlib import Path

import pytest
from pydantic import SecretStr

from agents import prompt_trials
from agents.analysis.outputs import ANALYSIS
from agents.models import Door
from evals import campaign, locking
from evals.campaign import Order
from evals.run import Plan
from evals.subjects import analysis
from evals.suites import SUITES
from memory.callers import SYSTEM, Caller
from memory.db import Database
from memory.settings import Settings
from prompts import registry
from tests.agents.conftest import Wire, hire
from tests.evals.test_campaign import ANALYSED, SPOILED, Reader, progress
from tools import ai_prompts
from tools.ai_prompts import NotReleasable, ReleaseIn, RollbackIn, UpdatePromptIn

KEY = ANALYSIS.key
WRITERS = ("admin",)


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer cases are not those that were locked; a release is noticed by the next question."""
    monkeypatch.setattr(locking, "check", lambda _: None)
    monkeypatch.setattr("agents.questions.STAMP_S", 0)


@pytest.fixture
async def admin(db: Database) -> Caller:
    async with db.transaction() as tx:
        await ai_prompts.sync_shipped(tx, registry.shelf())
    return await hire(db, "Ada Admin", "admin")


@pytest.fixture
def house(settings_with_model: Settings, fresh_url: str) -> Settings:
    return settings_with_model.model_copy(update={"database_url": SecretStr(fresh_url), "model_fallback": None})


async def spoil(db: Database, admin: Caller) -> None:
    """Save a version that leaves promises out."""
    async with db.transaction() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, admin, KEY)
        system = f"{prompt.system_template}\n{SPOILED}"
        body = UpdatePromptIn(system_template=system, change_reason="Shorter reports")
        await ai_prompts.update_prompt(tx, admin, prompt.id, body, WRITERS)


async def release(db: Database, admin: Caller, override: str | None = None) -> str:
    async with db.transaction() as tx:
        body = ReleaseIn(version=2, override_reason=override)
        done = await ai_prompts.release_version(tx, admin, KEY, body, WRITERS, prompt_trials.find_offer(KEY))
    return done.kind


class TestAPromptThatDropsPromises:
    async def test_is_found_out_refused_overridden_and_taken_back(
        self, db: Database, house: Settings, wire: Wire, admin: Caller, tmp_path: Path
    ):
        wire.says(Reader())
        promising = next(case for case in SUITES["analysis"].read("dev") if case.expect.all_promises)
        message = analysis.message_of(promising.input)
        door = Door(house, db)

        async def promises() -> tuple[int, int]:
            """Which version answers, and how many promises it reads in a message that has some."""
            answer = await door.ask(ANALYSIS, message, caller=SYSTEM)
            return answer.prompt_version, len(answer.value.commitments_us) + len(answer.value.commitments_them)

        try:
            version, found = await promises()
            assert (version, found > 0) == (1, True)
            await spoil(db, admin)
            assert await promises() == (1, found)

            plan = Plan(suites=[ANALYSED], engine="openai", limit_usd=50.0, concurrency=8)
            await campaign.conduct(Order(plan, f"{KEY}@2", f"{KEY}@1"), house, tmp_path, progress)
            with pytest.raises(NotReleasable, match="worse than what answers now: analysis") as refused:
                await release(db, admin)
            assert refused.value.details[0].startswith("analysis: regressed. no_missed_promise (dear) passes ")
            assert await promises() == (1, found)

            assert await release(db, admin, "Promises are read by another prompt from today") == "override"
            assert await promises() == (2, 0)

            async with db.transaction() as tx:
                body = RollbackIn(reason="They were not")
                await ai_prompts.rollback_prompt(tx, admin, KEY, body, WRITERS)
            assert await promises() == (1, found)
        finally:
            await door.close()
