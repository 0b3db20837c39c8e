"""Products, processes, whitespace and conversions over HTTP: who may, what comes back, what is refused how."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from memory.db import Tx
from tests.api.conftest import Client
from tests.given import Given
from tools import company_products, lifecycle


@pytest.fixture
async def core(given: Given) -> Any:
    """A product that is sold in stages."""
    made = await given.product("Core", base_price_monthly=100)
    made.sales = await given.process(made)
    return made


class TestCatalogue:
    async def test_what_is_not_asked_for_is_missing(self, rep: Client, core: Any) -> None:
        [product] = (await rep.get("/api/products")).json()["products"]
        assert not {"modules", "stats", "stages", "pipeline_by_stage"} & set(product)
        every = {"include_modules": "true", "include_stats": "true", "sellable_only": "true"}
        [product] = (await rep.get("/api/products", params=every)).json()["products"]
        assert (product["modules"], product["stats"]["active_count"]) == ([], 0)
        assert [stage["slug"] for stage in product["stages"]] == ["discovery", "proposal", "won", "lost"]
        assert [stage["count"] for stage in product["pipeline_by_stage"]] == [0, 0]

    async def test_one_product(self, rep: Client, core: Any) -> None:
        shown = (await rep.get("/api/products/core")).json()
        assert set(shown) == {"product", "pipeline", "activeCustomers", "stats"}
        assert (shown["product"]["slug"], shown["pipeline"]) == ("core", [])
        assert (await rep.get("/api/products/nothing")).status_code == 404

    async def test_managers_order_it(self, rep: Client, manager: Client, given: Given, core: Any) -> None:
        other = await given.product("Other")
        down = {"productId": str(core.id), "direction": "down"}
        assert (await rep.post("/api/products/reorder", json=down)).status_code == 403
        assert (await manager.post("/api/products/reorder", json=down)).json() == {
            "success": True,
            "message": "Moved down.",
        }
        assert (await manager.post("/api/products/reorder", json=down)).status_code == 400
        listed = (await rep.get("/api/products")).json()["products"]
        assert [product["slug"] for product in listed] == ["other", "core"]
        assert other.slug == "other"

    async def test_strangers_see_nothing(self, client: Client, core: Any) -> None:
        for path in ("/api/products", "/api/products/core", "/api/process/core/sales", "/api/analytics/whitespace"):
            assert (await client.get(path)).status_code == 401


class TestStages:
    async def test_a_stage_from_its_making_to_its_end(self, rep: Client, manager: Client, core: Any) -> None:
        at = "/api/products/core/stages"
        made = await manager.post(at, json={"name": "Trial", "stage_order": 2, "sla_days": 14})
        assert made.status_code == 201
        stage = made.json()["stage"]
        assert (stage["slug"], stage["stage_order"], stage["config"]["sla_days"]) == ("trial", 2, 14)
        one = f"{at}/{stage['id']}"
        changed = await manager.patch(
            one, json={"goal": "They use it", "resources": [{"title": "Kit", "url": "https://a.b/c"}]}
        )
        assert (changed.json()["stage"]["goal"], changed.json()["stage"]["resources"][0]["type"]) == (
            "They use it",
            "link",
        )
        assert (await rep.get(one)).json() == changed.json()
        ids = [stage["id"] for stage in (await rep.get(at)).json()["stages"]]
        assert (await manager.post(f"{at}/reorder", json={"stage_ids": ids[::-1]})).json() == {"success": True}
        assert [stage["id"] for stage in (await rep.get(at)).json()["stages"]] == ids[::-1]
        assert (await manager.delete(one)).json() == {"success": True}
        assert (await rep.get(one)).status_code == 404

    async def test_only_managers_write(self, rep: Client, core: Any) -> None:
        at, one = "/api/products/core/stages", f"/api/products/core/stages/{core.sales.stages['proposal'].id}"
        answers = [
            await rep.post(at, json={"name": "Trial"}), await rep.patch(one, json={"goal": "x"}), await rep.delete(one),
            await rep.post(f"{at}/reorder", json={"stage_ids": [str(uuid4())]}),
        ]  # fmt: skip
        assert [answer.status_code for answer in answers] == [403] * 4

    async def test_a_stage_with_a_company_in_it_stays(self, manager: Client, tx: Tx, given: Given, core: Any) -> None:
        company = await given.company()
        row = await company_products.get_or_create(tx, manager.caller, company.id, core.id)
        await lifecycle.execute(tx, manager.caller, row.id, lifecycle.StartSaleIn(processId=core.sales.id))
        await tx.finish()
        one = f"/api/products/core/stages/{core.sales.stages['discovery'].id}"
        gone = await manager.delete(one)
        assert (gone.status_code, gone.json()["occupied"]) == (409, 1)
        assert (await manager.patch(one, json={"terminal_type": "cancelled"})).status_code == 409
        assert (await manager.patch(one, json={"name": "First talk"})).status_code == 200
        move = lifecycle.AdvanceStageIn(toStageId=core.sales.stages["proposal"].id)
        await lifecycle.execute(tx, manager.caller, row.id, move)
        await tx.finish()
        assert (await manager.delete(one)).status_code == 200
        [shown] = (await manager.get("/api/products/core")).json()["pipeline"]
        assert (shown["current_stage"]["name"], shown["company"]["name"]) == ("Proposal", company.name)
        assert shown["version"] == 3

    @pytest.mark.parametrize(
        "wrong", [{"slug": "x"}, {"ai_insights": {}}, {"conversion_rate": 5}, {"sla_days": 0}, {"name": ""}]
    )
    async def test_refuses_what_nobody_sets(self, manager: Client, core: Any, wrong: dict[str, Any]) -> None:
        one = f"/api/products/core/stages/{core.sales.stages['proposal'].id}"
        assert (await manager.patch(one, json=wrong)).status_code == 400


class TestProcess:
    async def test_shows_stages_and_workflow(self, rep: Client, core: Any) -> None:
        shown = (await rep.get("/api/process/core/sales")).json()
        assert shown["process"] == {"id": str(core.sales.id), "name": "sales", "version": 1, "status": "published"}
        assert shown["stages"][2]["config"] == {
            "sla_days": None, "sla_warning_days": None, "is_terminal": True, "terminal_type": "won",
        }  # fmt: skip
        assert (await rep.get("/api/process/core/support")).json() == {"stages": [], "process": None}
        assert (await rep.get("/api/process/core/sales/workflow")).json() == {"workflow": None}
        assert (await rep.get("/api/process/core/other")).status_code == 400
        assert (await rep.get("/api/process/other/sales")).status_code == 404


class TestAnalyze:
    async def test_one_at_a_time_as_a_run(self, rep: Client, manager: Client, tx: Tx, core: Any) -> None:
        at = "/api/products/core/analyze"
        assert (await rep.post(at)).status_code == 403
        begun = await manager.post(at, json={"type": "metrics"})
        assert begun.status_code == 202
        job_id = UUID(begun.json()["job_id"])
        asked = await tx.one(dict[str, Any], "SELECT input FROM agent_runs WHERE id = %(id)s", id=job_id)
        assert asked == {"product_id": str(core.id), "type": "metrics"}
        again = await manager.post(at)
        assert (again.status_code, again.json()["job_id"]) == (409, str(job_id))
        assert (await manager.post("/api/products/nothing/analyze")).status_code == 404
        assert (await manager.post(at, json={"type": "some"})).status_code == 400


class TestWhitespace:
    async def test_both_views(self, rep: Client, given: Given, core: Any) -> None:
        extra = await given.product("Extra", product_type="addon", base_price_monthly=50)
        company = await given.company("Acme")
        await given.held(core, company=company, phase="active", status="active")
        [found] = (await rep.get("/api/analytics/whitespace")).json()["opportunities"]
        assert (found["company_name"], found["missing_products"][0]["product_id"]) == ("Acme", str(extra.id))
        stats = (await rep.get("/api/analytics/whitespace", params={"view": "stats"})).json()
        assert (stats["total_base_customers"], stats["total_whitespace_mrr"]) == (1, 50)
        assert (await rep.get("/api/analytics/whitespace", params={"sort_by": "name"})).status_code == 400


class TestConversions:
    async def test_a_company_exchanges_a_product(self, rep: Client, tx: Tx, given: Given, core: Any) -> None:
        company, other = await given.company(), await given.product("Other")
        row = await company_products.get_or_create(tx, rep.caller, company.id, core.id)
        await lifecycle.execute(tx, rep.caller, row.id, lifecycle.AdoptIn(toPhase="active", reason="Imported"))
        await tx.finish()
        at, body = (
            f"/api/companies/{company.id}/products",
            {"from_product_id": str(core.id), "to_product_id": str(other.id)},
        )
        done = await rep.post(f"{at}/convert", json=body)
        assert (done.status_code, done.json()["converted"]["from"]["new_status"]) == (200, "churned")
        held = {item["product"]["slug"]: item["status"] for item in (await rep.get(at)).json()["companyProducts"]}
        assert held == {"core": "churned", "other": "active"}
        assert (await rep.post(f"{at}/convert", json=body)).status_code == 409
        assert (await rep.post(f"{at}/convert", json=body | {"to_product_id": str(core.id)})).status_code == 400
        assert (await rep.get(f"/api/companies/{uuid4()}/products")).status_code == 404

    async def test_a_deal_becomes_a_sale(self, rep: Client, given: Given, core: Any) -> None:
        deal = await given.deal(owner=rep.caller)
        at, body = f"/api/deals/{deal.id}/convert", {"products": [{"product_id": str(core.id)}]}
        done = (await rep.post(at, json=body)).json()
        assert (done["converted"], done["products"][0]["stage_name"]) == (True, "Discovery")
        again = (await rep.post(at, json=body)).json()
        assert (again["already_converted"], again["company_product_ids"]) == (True, done["company_product_ids"])
        assert (await rep.post(at, json={"products": []})).status_code == 400
        assert (await rep.post(f"/api/deals/{uuid4()}/convert", json=body)).status_code == 404

    async def test_a_migration_ends(self, rep: Client, tx: Tx, given: Given, core: Any) -> None:
        company, following = await given.company("Acme"), await given.product("Next")
        move = await given.product("Move", migrates_product_id=core.id, successor_product_id=following.id)
        row = await company_products.get_or_create(tx, rep.caller, company.id, move.id)
        at = "/api/products/migration/complete"
        done = await rep.post(at, json={"companyProductId": str(row.id)})
        assert (done.status_code, done.json()["company"]) == (200, {"id": str(company.id), "name": "Acme"})
        assert (await rep.post(at, json={"companyProductId": str(row.id)})).json() == done.json()
        successor = done.json()["successorCompanyProductId"]
        assert (await rep.post(at, json={"companyProductId": successor})).status_code == 400
        assert (await rep.post(at, json={"companyProductId": str(uuid4())})).status_code == 404
