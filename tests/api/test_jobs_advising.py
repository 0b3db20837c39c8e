"""From a mail that comes in to a stage that a person has moved: read, advised on, accepted or dismissed."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from api.jobs.kit import run_due_jobs
from memory import events
from memory.db import Database
from memory.settings import Settings
from tests.given import Given
from tests.tools.sales import a_process, a_sale
from tools import lifecycle

COMMANDS = "/api/lifecycle/commands"
DEMO = "Could you show us a demo of the scanner on Thursday?"


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(_env_file=None, data=tmp_path, OPENAI_API_KEY=None, OPENAI_BASE_URL=None)  # pyright: ignore[reportCallIssue]


@pytest.fixture
async def sale(db: Database, live: Any) -> Any:
    """A sale of the person's who is signed in, and a mail about it that nobody has read."""
    async with db.transaction() as tx:
        given = Given(tx)
        acme = await given.company("Acme")
        bo = await given.contact("Bo Li", company=acme, email="bo@acme.example")
        process = await a_process(given, await given.product("Scanner"))
        row = await a_sale(given, process, company=acme, since=given.ago(days=5), owner=live.caller)
        mail = await given.communication(user=live.caller, contact=bo, full_content=f"Hello,\n\n{DEMO}\n\nBo")
        await tx.enqueue("communications.analyze_pending")
    return SimpleNamespace(row=row, mail=mail, process=process, company=acme)


def answer(sale: Any, action: str, suggestion: Any, **params: Any) -> dict[str, Any]:
    return {
        "action": action, "companyProductId": str(sale.row.id), "companyId": str(sale.company.id),
        "productId": str(sale.process.product.id), "suggestionId": suggestion["id"], **params,
    }  # fmt: skip


async def last_events(db: Database, company_product_id: UUID, count: int) -> list[tuple[Any, ...]]:
    async with db.reading() as tx:
        happened = await events.read(tx, lifecycle.STREAM, company_product_id)
    return [(event.type, event.actor_type, event.actor_id) for event in happened[-count:]]


class TestAdvice:
    async def test_follows_a_reading_and_is_carried_out_as_whoever_accepts_it(
        self, db: Database, live: Any, sale: Any, settings: Settings
    ):
        kept = await run_due_jobs(db, settings=settings)
        assert {"communications.analyze_pending", "advising.advise"} <= set(kept)

        (suggestion,) = (await live.get("/api/lifecycle/suggestions")).json()["suggestions"]
        assert (suggestion["suggestion_type"], suggestion["title"]) == ("advance_stage", "Move Scanner to Demo")
        assert suggestion["evidence"] == {"communication_id": str(sale.mail.id), "quote": DEMO.rstrip("?")}
        accepted = await live.post(COMMANDS, json=answer(sale, "accept-suggestion", suggestion))

        assert accepted.status_code == 200
        me = str(live.caller.user_id)
        assert await last_events(db, sale.row.id, 3) == [
            ("AISuggestionCreated", "ai", me), ("AISuggestionAccepted", "user", me), ("CompanyProductStageSet", "user", me),
        ]  # fmt: skip
        async with db.reading() as tx:
            assert await tx.one(str, "SELECT current_stage_name FROM company_product_read_model") == "Demo"

    async def test_may_be_dismissed_and_moves_nothing_then(
        self, db: Database, live: Any, sale: Any, settings: Settings
    ):
        await run_due_jobs(db, settings=settings)
        (suggestion,) = (await live.get("/api/lifecycle/suggestions")).json()["suggestions"]
        dismissed = await live.post(
            COMMANDS, json=answer(sale, "dismiss-suggestion", suggestion, dismissReason="deferred")
        )
        assert dismissed.status_code == 200
        assert (await live.get("/api/lifecycle/suggestions")).json()["suggestions"] == []
        assert (await last_events(db, sale.row.id, 1))[0][0] == "AISuggestionDismissed"
        async with db.reading() as tx:
            assert await tx.one(str, "SELECT current_stage_name FROM company_product_read_model") == "Discovery"

    async def test_is_no_work_where_nothing_is_under_way(self, db: Database, live: Any, sale: Any, settings: Settings):
        async with db.transaction() as tx:
            await lifecycle.execute(tx, live.caller, sale.row.id, lifecycle.CloseSaleIn(outcome="lost"))
        assert "advising.advise" not in await run_due_jobs(db, settings=settings)

    async def test_ends_quietly_when_its_reader_has_left(self, db: Database, sale: Any, settings: Settings):
        async with db.transaction() as tx:
            await tx.enqueue("advising.advise", communication_id=sale.mail.id)
            await tx.run("UPDATE users SET is_active = false")
        assert "advising.advise" in await run_due_jobs(db, settings=settings)
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM ai_suggestions_read_model") == 0
