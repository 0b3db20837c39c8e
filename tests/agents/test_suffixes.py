"""Answers to mail take the words of the product they are about, where somebody has released some."""

from typing import Any

import pytest

from agents import runs
from agents.runs import Engine
from memory.callers import Caller
from memory.db import Database
from prompts import registry
from tests.given import Given
from tools import ai_prompts
from tools.ai_prompts import CreatePromptIn

from .conftest import hire

KEY = "email_followup_needs_reply"


@pytest.fixture
async def mail(db: Database, rep: Caller) -> Any:
    """A mail of a company that has one product, for which there are words of its own."""
    admin = await hire(db, "Ada Admin", "admin")
    async with db.transaction() as tx:
        await ai_prompts.sync_shipped(tx, registry.shelf())
        made = CreatePromptIn(
            key=f"{KEY}__route-planner",
            name="Routes",
            prompt_template="On routes: {{ subject }}",
            override_reason="For a test",
        )
        await ai_prompts.create_prompt(tx, admin, made, ("admin",))
        given = Given(tx)
        company = await given.company("Acme")
        product = await given.product("Route Planner")
        await given.row("company_products", company_id=company.id, product_id=product.id)
        return await given.communication(user=rep, company=company, full_content="Which depots are included?")


async def drafted_with(db: Database, engine: Engine, rep: Caller, mail: Any) -> str:
    await runs.perform_run(engine, rep, "drafting", {"communication_id": str(mail.id)})
    async with db.reading() as tx:
        return await tx.one(str, "SELECT prompt_key FROM email_drafts ORDER BY created_at DESC LIMIT 1")


class TestProductSuffix:
    async def test_chooses_the_words_of_the_only_product(self, db: Database, engine: Engine, rep: Caller, mail: Any):
        assert await drafted_with(db, engine, rep, mail) == f"{KEY}__route-planner"

    async def test_guesses_nothing_among_several(self, db: Database, engine: Engine, rep: Caller, mail: Any):
        async with db.transaction() as tx:
            given = Given(tx)
            product = await given.product("Driver App")
            await given.row("company_products", company_id=mail.company_id, product_id=product.id)
        assert await drafted_with(db, engine, rep, mail) == KEY

    async def test_takes_the_product_that_the_message_is_about(
        self, db: Database, engine: Engine, rep: Caller, mail: Any
    ):
        async with db.transaction() as tx:
            given = Given(tx)
            product = await given.product("Driver App")
            await given.row("company_products", company_id=mail.company_id, product_id=product.id)
            await tx.run(
                """
                UPDATE communications m SET company_product_id = x.id
                  FROM company_products x JOIN products p ON p.id = x.product_id
                 WHERE m.id = %(id)s AND p.slug = 'route-planner'
                """,
                id=mail.id,
            )
        assert await drafted_with(db, engine, rep, mail) == f"{KEY}__route-planner"
