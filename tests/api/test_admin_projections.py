"""Projections over HTTP: who may look and rebuild, what a worker then finds, what operators read."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from memory import projections as engine
from memory.callers import SYSTEM
from memory.db import Database
from tests.given import Given
from tests.tools.shop import Shop
from tools import lifecycle, projections

METRICS, REBUILD = "/api/admin/projections/metrics", "/api/admin/projections/rebuild"


@pytest.fixture
async def shop(given: Any) -> Shop:
    return await open_shop(given)


async def open_shop(given: Any) -> Shop:
    shop = await Shop(given).open()
    await lifecycle.execute(given.tx, SYSTEM, shop.row.id, shop.start)
    await given.tx.finish()
    return shop


class TestMetrics:
    async def test_tell_how_far_everything_is(self, rep: Any, manager: Any, shop: Shop) -> None:
        await rep.post(
            "/api/lifecycle/commands",
            json={
                "action": "set-tier",
                "companyProductId": str(shop.row.id),
                "companyId": str(shop.company.id),
                "productId": str(shop.product.id),
                "tier": 9,
            },
        )
        found = (await manager.get(METRICS)).json()
        by_name = {each["name"]: each for each in found["projectors"]}
        assert set(by_name) == {each.name for each in engine.known()}
        assert by_name["company_product_read_model"]["lagEvents"] == 0
        assert by_name["pipeline_stage_counts"]["lagEvents"] == found["latestEventSequence"] > 0
        assert found["totals"]["totalProjectors"] == len(by_name)
        assert found["totals"]["totalLag"] == found["latestEventSequence"]
        assert found["inMemoryMetrics"]["events"]["byType"]["CompanyProductProcessSet"] == 1
        assert found["inMemoryMetrics"]["commands"]["byType"]["start-sale"] == 1
        assert {line["category"] for line in found["recentLogs"]} >= {"command", "event"}

    async def test_read_one_log_only(self, manager: Any, shop: Shop) -> None:
        assert shop.row.id
        events = (await manager.get(METRICS, params={"category": "event", "logs": 1})).json()["recentLogs"]
        assert [line["category"] for line in events] == ["event"]
        assert (await manager.get(METRICS, params={"category": "rebuild"})).json()["recentLogs"] == []

    async def test_come_as_prometheus_text(self, manager: Any, shop: Shop) -> None:
        assert shop.row.id
        response = await manager.get(METRICS, params={"format": "prometheus"})
        assert response.headers["content-type"].startswith("text/plain")
        lines = response.text.splitlines()
        assert "# TYPE rainmaker_projector_lag_events gauge" in lines
        assert 'rainmaker_projector_lag_events{projector="company_product_read_model"} 0' in lines

    async def test_are_for_managers(self, rep: Any, manager: Any) -> None:
        assert (await rep.get(METRICS)).status_code == 403
        assert (await manager.get(METRICS, params={"logs": 1001})).status_code == 400
        assert (await manager.get(METRICS, params={"category": "gossip"})).status_code == 400


class TestRebuild:
    async def test_counts_only_when_run_dry(self, admin: Any, shop: Shop) -> None:
        assert shop.row.id
        found = (await admin.post(REBUILD, json={"dryRun": True, "projectors": ["company_product_read_model"]})).json()
        assert found["projectors"] == ["company_product_read_model"]
        assert found["snapshotBefore"]["tables"] == [{"tableName": "company_product_read_model", "rowCount": 1}]
        assert (found["action"], found["success"], found["snapshotAfter"]) == ("dry_run", True, None)

    async def test_is_promised_once_at_a_time(self, admin: Any, shop: Shop) -> None:
        assert shop.row.id
        first = await admin.post(REBUILD, json={})
        assert (first.status_code, first.json()["action"], first.json()["status"]) == (202, "rebuild", "waiting")
        assert (await admin.get(f"{REBUILD}/{first.json()['rebuildId']}")).json()["status"] == "waiting"
        second = await admin.post(REBUILD, json={"verifyDeterminism": True})
        assert (second.status_code, second.json()) == (409, {"error": "A rebuild is running already."})

    async def test_refuses_what_it_does_not_know(self, rep: Any, manager: Any, admin: Any) -> None:
        unknown = await admin.post(REBUILD, json={"projectors": ["nonsense"]})
        assert unknown.status_code == 400
        assert unknown.json()["error"] == "There is no such projector: nonsense."
        assert "company_product_read_model" in unknown.json()["validProjectors"]
        assert (await admin.get(f"{REBUILD}/{uuid4()}")).status_code == 404
        assert (await rep.post(REBUILD, json={})).status_code == 403
        assert (await manager.post(REBUILD, json={})).status_code == 403


class TestCarriedOut:
    """By a worker, on events that were committed."""

    @pytest.fixture
    async def committed(self, db: Database) -> Database:
        async with db.transaction() as tx:
            await open_shop(Given(tx))
        return db

    async def ask(self, db: Database, **body: Any) -> UUID:
        async with db.transaction() as tx:
            return (await projections.request_rebuild(tx, SYSTEM, projections.RebuildIn(**body))).rebuildId

    async def test_gives_what_was_there_and_says_so(self, committed: Database) -> None:
        for projector in engine.known():
            if not projector.inline:
                await engine.catch_up(committed, projector)
        done = await projections.run_rebuild(committed, await self.ask(committed))
        assert (done.status, done.error) == ("succeeded", None)
        assert done.result is not None
        assert done.result["comparison"] == {"equal": True, "differences": []}
        assert done.result["snapshotBefore"] == done.result["snapshotAfter"]

    async def test_mends_what_has_drifted(self, committed: Database) -> None:
        async with committed.transaction() as tx:
            await tx.run("UPDATE company_product_read_model SET phase = 'churned'")
        done = await projections.run_rebuild(
            committed, await self.ask(committed, projectors=["company_product_read_model"])
        )
        assert done.result is not None
        assert done.result["comparison"] == {"equal": False, "differences": ["company_product_read_model"]}
        async with committed.reading() as tx:
            assert await tx.one(str, "SELECT phase FROM company_product_read_model") == "in_sales"

    async def test_finds_two_replays_the_same(self, committed: Database) -> None:
        done = await projections.run_rebuild(committed, await self.ask(committed, verifyDeterminism=True))
        assert done.result is not None
        assert done.result["deterministic"] is True
        assert done.result["rebuild1"] == done.result["rebuild2"] != []

    async def test_leaves_nothing_when_it_fails(self, committed: Database) -> None:
        async with committed.transaction() as tx:
            await tx.run(
                "ALTER TABLE company_product_read_model ADD CONSTRAINT never CHECK (phase <> 'in_sales') NOT VALID"
            )
        done = await projections.run_rebuild(committed, await self.ask(committed))
        assert (done.status, done.result) == ("failed", None)
        assert "never" in (done.error or "")
        async with committed.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM company_product_read_model") == 1
        assert (await projections.run_rebuild(committed, done.id)).finished_at == done.finished_at
