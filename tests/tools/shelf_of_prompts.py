"""A library of prompts to release, and evals to have been run on them."""

from typing import Any
from uuid import uuid4

from memory.callers import Caller
from memory.db import Tx
from prompts import registry
from tools import ai_prompts
from tools.ai_prompts import CreatePromptIn, Offer, PromptRow, ReleaseIn, ReleaseRow, UpdatePromptIn
from tools.evaluations import recording, suites, verdicts
from tools.evaluations.recording import NewEvalRun
from tools.evaluations.rows import VerdictRow
from tools.evaluations.verdicts import NewVerdict

WRITERS = ("admin", "manager")
ANALYSIS = "communication_hub_analysis"
OFFER = Offer(
    sample={"subject": "Renewal", "content": "We will send the list by Friday.", "stage": "trial"},
    untrusted=frozenset({"subject", "content"}),
    answer=frozenset({"summary", "commitments_them"}),
)
WORDS = "Report every promise in this message.\n\nSubject: {{ subject }}\n{{ content }}"


class Library:
    """Prompts on one transaction, written by one admin."""

    def __init__(self, tx: Tx, admin: Caller) -> None:
        self.tx = tx
        self.admin = admin

    async def ship(self, words: str = WORDS, *, key: str = ANALYSIS, version: int = 1) -> PromptRow:
        """Ship words as the default of a key."""
        prompt = registry.Prompt(key=key, version=version, user=words, system="You read mail.", changed="First.")
        await ai_prompts.sync_shipped(self.tx, registry.Shelf({key: prompt}))
        return await ai_prompts.get_prompt_by_key(self.tx, self.admin, key)

    async def make(self, key: str = "own_prompt", words: str = WORDS, **fields: Any) -> PromptRow:
        body = CreatePromptIn(key=key, name=key, prompt_template=words, **fields)
        return await ai_prompts.create_prompt(self.tx, self.admin, body, WRITERS, OFFER)

    async def edit(self, words: str, *, key: str = ANALYSIS, by: Caller | None = None, **fields: Any) -> PromptRow:
        """Add a version and return the prompt as it has it."""
        prompt = await ai_prompts.get_prompt_by_key(self.tx, self.admin, key)
        body = UpdatePromptIn(prompt_template=words, **fields)
        return await ai_prompts.update_prompt(self.tx, by or self.admin, prompt.id, body, WRITERS, OFFER)

    async def release(
        self, version: int, override: str | None = None, *, key: str = ANALYSIS, by: Caller | None = None
    ) -> ReleaseRow:
        body = ReleaseIn(version=version, override_reason=override)
        return await ai_prompts.release_version(self.tx, by or self.admin, key, body, WRITERS, OFFER)

    async def active(self, key: str = ANALYSIS) -> int | None:
        return (await ai_prompts.get_prompt_by_key(self.tx, self.admin, key)).active_version

    async def evaluate(
        self, version: int, against: int = 1, *, key: str = ANALYSIS, against_key: str | None = None,
        engine: Any = "openai", **said: Any,
    ) -> list[VerdictRow]:  # fmt: skip
        """Have every suite that holds the prompt say `same`, but for the suites that `said` names."""
        return [
            await self.verdict(
                suite.name,
                version,
                against,
                said.get(suite.name, "same"),
                key=key,
                against_key=against_key,
                engine=engine,
            )
            for suite in suites.suites_of(key)
        ]

    async def verdict(
        self, suite: str, version: int, against: int, verdict: Any, *, key: str = ANALYSIS,
        against_key: str | None = None, engine: Any = "openai",
    ) -> VerdictRow:  # fmt: skip
        dataset, batch_id = suites.get_suite(suite).dataset, uuid4()
        run = NewEvalRun(
            batch_id=batch_id, suite=suite, split="all", engine=engine, model="gpt-test", prompt_key=key, prompt_version=version,
            against_kind="prompt", against_key=against_key or key, against_version=against, dataset=dataset, planned=40, limit_usd=1,
        )  # fmt: skip
        run_id = await recording.open_run(self.tx, run)
        reason = "Missed promises: 1 before, 19 now." if verdict == "regressed" else "Nothing changed."
        new = NewVerdict(
            run_id=run_id, against_run_id=None, prompt_key=key, prompt_version=version, against_key=against_key or key,
            against_version=against, suite=suite, engine=engine, model="gpt-test", dataset=dataset, verdict=verdict, reason=reason,
            detail={},
        )  # fmt: skip
        return await verdicts.record_verdict(self.tx, new)
