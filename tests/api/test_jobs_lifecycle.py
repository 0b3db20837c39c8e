"""Jobs of lifecycles, on a database of the test's own: stages that last too long, health that has changed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.jobs import kit, lifecycle
from memory.db import Database, Tx
from tests.given import Given
from tests.tools.shop import Shop
from tools.lifecycle import execute, sla


@pytest.fixture
async def late(db: Database) -> list[UUID]:
    """Five sales that began eight days ago, in a stage that may last four."""
    async with db.transaction() as tx:
        given = Given(tx)
        shop = await Shop(given).open()
        rows = [shop.row, *[await given.held(shop.product) for _ in range(4)]]
        tx.now -= timedelta(days=8)
        for row in rows:
            await execute(tx, shop.me, row.id, shop.start)
    return sorted(row.id for row in rows)


async def _facts(db: Database) -> list[tuple[Any, ...]]:
    async with db.reading() as tx:
        return await tx.tuples(
            """
            SELECT m.company_product_id, m.is_sla_warning, m.is_sla_breached, m.health_score, m.risk_level, m.last_event_sequence
              FROM company_product_read_model m ORDER BY m.company_product_id
            """
        )


class TestScanStages:
    async def test_records_what_is_due_once(
        self, db: Database, late: list[UUID], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sla, "BATCH", 2)
        for _ in range(2):
            await kit.run_job_inline(db, "lifecycle.scan_stages")
            assert await _facts(db) == [(row, True, True, None, None, 4) for row in late]
        async with db.reading() as tx:
            over = await tx.many(Decimal, "SELECT DISTINCT days_over FROM sla_breach_facts")
        assert over == [Decimal("4.00")]

    async def test_one_that_fails_stops_no_other(
        self, db: Database, late: list[UUID], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        really = sla.record_due

        async def record_due(tx: Tx, company_product_id: UUID) -> int:
            if company_product_id == late[1]:
                raise RuntimeError("no")
            return await really(tx, company_product_id)

        monkeypatch.setattr(lifecycle.sla, "record_due", record_due)
        await kit.run_job_inline(db, "lifecycle.scan_stages")
        assert [row[2] for row in await _facts(db)] == [True, False, True, True, True]


class TestEvaluateHealth:
    async def test_judges_all_that_changed_and_then_none(self, db: Database, late: list[UUID]) -> None:
        await kit.run_job_inline(db, "lifecycle.scan_stages")
        for _ in range(2):
            await kit.run_job_inline(db, "health.evaluate_changed")
            # Health and a risk that rose: two events each, the first time.
            assert await _facts(db) == [(row, True, True, 85, "high", 6) for row in late]

    async def test_judges_one_when_a_case_of_it_changed(self, db: Database, late: list[UUID]) -> None:
        async with db.transaction() as tx:
            found = await Given(tx).fetch("company_products", late[0])
            await Given(tx).case(held=found, severity="critical")
        kept = await kit.run_due_jobs(db)
        assert "health.evaluate" in kept
        assert [row[3] for row in await _facts(db)] == [60, None, None, None, None]

    async def test_leaves_alone_what_is_not_there(self, db: Database) -> None:
        await kit.run_job_inline(db, "health.evaluate", {"company_product_id": str(uuid4())})
        assert await _facts(db) == []
