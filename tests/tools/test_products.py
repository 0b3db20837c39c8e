"""Products: the catalogue and its figures, one product, its stages, what companies have of it."""

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from memory.callers import Caller
from memory.db import Database, Tx
from memory.rows import Doc
from tests.given import Given
from tools import company_products, lifecycle, processes, workflows
from tools.companies import CompanyNotFound
from tools.processes import ProductUnknown
from tools.products import held, listing, ordering, stages
from tools.products.listing import ProductFilter, ProductPageFilter
from tools.products.ordering import AtTheEdge, NotInCatalogue, ProductMissing, ReorderProductIn
from tools.products.rows import ProductNotFound
from tools.products.stages import (
    CreateStageIn,
    NotAPermutation,
    ReorderStagesIn,
    StageNotFound,
    StageOccupied,
    TerminalTaken,
    TerminalUnclear,
    UpdateStageIn,
    WarningTooLate,
)


@pytest.fixture
async def manager(given: Given) -> Caller:
    return await given.user("manager")


@pytest.fixture
async def rep(given: Given) -> Caller:
    return await given.user()


async def read(doc: Awaitable[Doc[Any]]) -> Any:
    return (await doc).parse()


async def names_of(tx: Tx, caller: Caller, slug: str) -> list[tuple[str, int]]:
    listed = await read(stages.list_stages(tx, caller, slug))
    return [(stage.slug, stage.stage_order) for stage in listed.stages]


class TestCatalogue:
    async def test_lists_active_products_that_stand_alone_in_their_order(
        self, tx: Tx, given: Given, rep: Caller
    ) -> None:
        core = await given.product("Core", display_order=2)
        await given.product("Addon", display_order=1, is_sellable=False)
        await given.product("Part", parent_product_id=core.id)
        await given.product("Old", is_active=False)
        await given.row("product_tiers", product_id=core.id, name="Gold", slug="gold", included_modules=["part"])
        await given.process(core)
        every = await read(listing.list_products(tx, rep, ProductFilter()))
        assert [product.slug for product in every.products] == ["addon", "core"]
        only = await read(listing.list_products(tx, rep, ProductFilter(sellable_only=True, include_modules=True)))
        [shown] = only.products
        assert [tier.slug for tier in shown.tiers] == ["gold"]
        assert [stage.slug for stage in shown.processes[0].stages] == ["discovery", "proposal", "won", "lost"]
        assert [module.slug for module in shown.modules] == ["part"]
        assert (shown.stats, shown.stages, shown.pipeline_by_stage) == (None, None, None)

    async def test_a_rep_counts_their_own_and_a_manager_all(
        self, tx: Tx, given: Given, rep: Caller, manager: Caller
    ) -> None:
        core = await given.product("Core")
        process = await given.process(core)
        here: dict[str, Any] = {"current_stage_id": process.stages["proposal"].id, "current_stage_name": "Proposal"}
        here |= (there := {"current_process_id": process.id})
        former = await given.process(core, stages=["Old stage"], status="archived", version=2)
        old: dict[str, Any] = {
            "current_stage_id": former.stages["old-stage"].id,
            "current_stage_name": "Old stage",
        } | there
        await given.held(core, owner=rep, status="in_sales", phase="in_sales", **here)
        await given.held(core, status="in_sales", phase="in_sales", **here)
        await given.held(core, status="in_sales", phase="in_sales", **old)
        await given.held(core, owner=rep, status="active", phase="active", mrr=Decimal("99.50"))
        await given.held(core, status="active", phase="active", mrr=Decimal("0.50"))
        await given.held(core, status="churned", phase="churned", mrr=Decimal(7))
        await given.held(core, status="declined", phase="churned")
        await given.counted()

        async def figures(caller: Caller) -> tuple[dict[str, Any], list[tuple[str, int]]]:
            [product] = (await read(listing.list_products(tx, caller, ProductFilter(include_stats=True)))).products
            return product.stats.model_dump(), [(stage.stage_name, stage.count) for stage in product.pipeline_by_stage]

        nothing = {"in_onboarding_count": 0, "inactive_count": 0}
        assert await figures(manager) == (
            {"active_count": 2, "in_sales_count": 3, "declined_count": 1, "churned_count": 1, "total_mrr": 100.0}
            | nothing,
            [("Discovery", 0), ("Proposal", 2), ("Old stage", 1)],
        )
        assert await figures(rep) == (
            {"active_count": 1, "in_sales_count": 1, "declined_count": 0, "churned_count": 0, "total_mrr": 99.5}
            | nothing,
            [("Discovery", 0), ("Proposal", 1)],
        )


class TestProduct:
    async def test_shows_who_is_on_the_way_longest_first(self, tx: Tx, given: Given, rep: Caller) -> None:
        core = await given.product("Core")
        process = await given.process(core)
        stage = process.stages["proposal"]
        standing: dict[str, Any] = {
            "phase": "in_sales", "status": "in_sales", "current_stage_id": stage.id, "current_stage_name": stage.name,
            "current_stage_slug": stage.slug, "current_stage_order": stage.stage_order,
        }  # fmt: skip
        young, old = await given.company("Young"), await given.company("Old")
        await given.held(core, company=young, sales_started_at=given.ago(days=1), **standing)
        await given.held(
            core, company=old, owner=rep, sales_started_at=given.ago(days=9), stage_entered_at=given.ago(days=3, hours=2),
            process_started_at=given.ago(days=9), next_step_due_at=given.ago(hours=1), last_event_sequence=4, **standing,
        )  # fmt: skip
        await given.held(core, phase="active", status="active", activated_at=given.ago(days=2), mrr=10)
        await given.counted()
        shown = await read(listing.get_product(tx, rep, "core", ProductPageFilter()))
        assert [item.company.name for item in shown.pipeline] == ["Old", "Young"]
        first = shown.pipeline[0]
        assert first.current_stage.model_dump() == {"id": stage.id, "name": "Proposal", "slug": "proposal", "order": 2}
        assert (first.owner_user.name, first.days_in_stage, first.total_process_days) == (rep.name, 3, 9)
        assert (first.is_overdue, first.version) == (True, 4)
        assert [float(item.mrr) for item in shown.activeCustomers] == [10.0]
        assert shown.stats.model_dump() == {
            "active": 1, "in_sales": 2, "in_onboarding": 0, "declined": 0, "churned": 0, "total_mrr": 10.0,
        }  # fmt: skip
        assert [stage.slug for stage in shown.product.stages] == ["discovery", "proposal", "won", "lost"]
        assert shown.product.insights is None
        page = await read(listing.get_product(tx, rep, "core", ProductPageFilter(limit=1, offset=1)))
        assert [item.company.name for item in page.pipeline] == ["Young"]

    async def test_refuses_a_product_that_is_not_there(self, tx: Tx, rep: Caller) -> None:
        with pytest.raises(ProductNotFound):
            await listing.get_product(tx, rep, "nothing", ProductPageFilter())


class TestCompanyProducts:
    async def test_a_rep_sees_their_own_and_what_nobody_owns(
        self, tx: Tx, given: Given, rep: Caller, manager: Caller
    ) -> None:
        company = await given.company()
        mine, free, theirs = [await given.product(name, display_order=at) for at, name in enumerate(("A", "B", "C"))]
        tier = await given.row("product_tiers", product_id=mine.id, name="Gold", slug="gold", price_monthly=9)
        row = await given.held(mine, company=company, owner=rep, phase="active", status="active", seats=3)
        await tx.run("UPDATE company_products SET tier_id = %(tier)s WHERE id = %(id)s", tier=tier.id, id=row.id)
        await given.held(free, company=company)
        await given.held(theirs, company=company, owner=manager, phase="active", status="active")
        seen = (await read(held.list_company_products(tx, rep, company.id))).companyProducts
        assert [(item.product.name, item.status) for item in seen] == [("A", "active"), ("B", "inactive")]
        assert (seen[0].tier.name, seen[0].owner.email, seen[0].seats) == ("Gold", rep.email, 3)
        assert (seen[1].tier, seen[1].owner, seen[1].phase, seen[1].version) == (None, None, None, 0)
        every = (await read(held.list_company_products(tx, manager, company.id))).companyProducts
        assert [item.product.name for item in every] == ["A", "B", "C"]

    async def test_refuses_a_company_that_is_not_there(self, tx: Tx, rep: Caller) -> None:
        with pytest.raises(CompanyNotFound):
            await held.list_company_products(tx, rep, uuid4())


class TestOrdering:
    async def test_swaps_neighbours_among_what_is_sold(self, tx: Tx, given: Given, manager: Caller) -> None:
        a, b, c = [await given.product(name) for name in ("A", "B", "C")]
        await given.product("Bb", is_sellable=False)
        await ordering.reorder_product(tx, manager, ReorderProductIn(productId=c.id, direction="up"))
        await ordering.reorder_product(tx, manager, ReorderProductIn(productId=c.id, direction="up"))
        with pytest.raises(AtTheEdge, match="up"):
            await ordering.reorder_product(tx, manager, ReorderProductIn(productId=c.id, direction="up"))
        done = await ordering.reorder_product(tx, manager, ReorderProductIn(productId=a.id, direction="down"))
        assert done.success
        order = await read(listing.list_products(tx, manager, ProductFilter(sellable_only=True)))
        assert [product.name for product in order.products] == ["C", "B", "A"]
        assert b.name == "B"

    async def test_refuses_modules_and_strangers(self, tx: Tx, given: Given, manager: Caller, rep: Caller) -> None:
        core = await given.product("Core")
        part = await given.product("Part", parent_product_id=core.id)
        with pytest.raises(NotInCatalogue):
            await ordering.reorder_product(tx, manager, ReorderProductIn(productId=part.id, direction="up"))
        with pytest.raises(ProductMissing):
            await ordering.reorder_product(tx, manager, ReorderProductIn(productId=uuid4(), direction="up"))
        with pytest.raises(stages.OnlyManagers):
            await ordering.reorder_product(tx, rep, ReorderProductIn(productId=core.id, direction="up"))


class TestCreateStage:
    async def test_the_first_stage_makes_the_first_process(self, tx: Tx, given: Given, manager: Caller) -> None:
        core = await given.product("Core")
        draft = {"product_id": core.id, "process_type": "sales", "name": "Draft", "version": 3}
        await given.row("product_processes", **draft)
        made = (
            await read(stages.create_stage(tx, manager, "core", CreateStageIn(name="Först: Call!", sla_days=5)))
        ).stage
        assert (made.slug, made.stage_order, made.is_terminal, made.sla_days) == ("forst-call", 1, False, 5)
        process = await processes.find_published(tx, core.id, "sales")
        assert process is not None
        assert (process.version, process.status, [stage.id for stage in process.stages]) == (4, "published", [made.id])

    async def test_shifts_what_stands_behind_and_keeps_slugs_apart(self, tx: Tx, given: Given, manager: Caller) -> None:
        core = await given.product("Core")
        await given.process(core, stages=["Discovery", "Proposal"])
        await stages.create_stage(tx, manager, "core", CreateStageIn(name="Proposal", stage_order=2))
        await stages.create_stage(tx, manager, "core", CreateStageIn(name="Won", terminal_type="won", stage_order=99))
        assert await names_of(tx, manager, "core") == [("discovery", 1), ("proposal-2", 2), ("proposal", 3), ("won", 4)]
        await tx.run("SET CONSTRAINTS ALL IMMEDIATE")

    async def test_refuses_what_does_not_fit(self, tx: Tx, given: Given, manager: Caller, rep: Caller) -> None:
        core = await given.product("Core")
        await given.process(core)
        for wrong, refusal in (
            (CreateStageIn(name="Won", terminal_type="won"), TerminalTaken),
            (CreateStageIn(name="Slow", sla_days=2, sla_warning_days=3), WarningTooLate),
            (CreateStageIn(name="Slow", sla_warning_days=3), WarningTooLate),
        ):
            with pytest.raises(refusal):
                await stages.create_stage(tx, manager, "core", wrong)
        with pytest.raises(ProductUnknown):
            await stages.create_stage(tx, manager, "nothing", CreateStageIn(name="A"))
        with pytest.raises(stages.OnlyManagers):
            await stages.create_stage(tx, rep, "core", CreateStageIn(name="A"))

    async def test_two_at_once_make_one_process_and_two_stages(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            manager, core = await given.user("manager"), await given.product("Core")

        async def add(name: str) -> None:
            async with db.transaction() as tx:
                await stages.create_stage(tx, manager, "core", CreateStageIn(name=name))

        await asyncio.gather(*(add(name) for name in ("A", "B", "A", "C")))
        async with db.reading() as tx:
            process = await processes.find_published(tx, core.id, "sales")
        assert process is not None
        assert sorted(stage.slug for stage in process.stages) == ["a", "a-2", "b", "c"]
        assert [stage.order for stage in process.stages] == [1, 2, 3, 4]


class TestUpdateStage:
    @pytest.fixture
    async def stage(self, given: Given) -> Any:
        core = await given.product("Core")
        return (await given.process(core)).stages["proposal"]

    async def test_changes_only_what_is_named(self, tx: Tx, manager: Caller, stage: Any) -> None:
        first = UpdateStageIn.model_validate(
            {
                "goal": "A signature", "sla_days": 5, "sla_warning_days": 3, "exit_criteria": {"all": ["signed"]},
                "pitch_points": [{"id": "p1", "text": "It pays", "source": "ai_suggested", "effectiveness_score": 0.8}],
                "resources": [{"id": "r1", "title": "Prices", "url": "https://ours.example/prices"}],
            }
        )  # fmt: skip
        await stages.update_stage(tx, manager, "core", stage.id, first)
        changed = (
            await read(
                stages.update_stage(tx, manager, "core", stage.id, UpdateStageIn(name="Offer", sla_warning_days=None))
            )
        ).stage
        assert (changed.name, changed.slug, changed.goal) == ("Offer", "proposal", "A signature")
        assert changed.config.model_dump() == {
            "sla_days": 5, "sla_warning_days": None, "is_terminal": False, "terminal_type": None,
        }  # fmt: skip
        assert changed.exit_criteria == {"all": ["signed"]}
        assert changed.pitch_points[0]["effectiveness_score"] == 0.8
        assert changed.resources == [
            {"id": "r1", "title": "Prices", "url": "https://ours.example/prices", "type": "link"}
        ]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"slug": "offer"},
            {"ai_insights": {}},
            {"avg_days_in_stage": 1},
            {"name": None},
            {"exit_criteria": None},
            {"exit_criteria": ["x" * 30_000]},
            {"resources": [{"title": "Prices", "url": "javascript:alert(1)"}]},
            {"resources": [{"title": "Prices", "url": "https://user:word@ours.example"}]},
            {"pitch_points": [{"id": "a", "text": "One"}, {"id": "a", "text": "Two"}]},
        ],
    )
    def test_refuses_what_is_not_for_people_to_set(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="1 validation error"):
            UpdateStageIn.model_validate(wrong)

    async def test_a_stage_may_become_an_end_and_cease_to_be_one(self, tx: Tx, manager: Caller, stage: Any) -> None:
        async def change(**wanted: Any) -> Any:
            body = UpdateStageIn.model_validate(wanted)
            return (await read(stages.update_stage(tx, manager, "core", stage.id, body))).stage

        assert (await change(terminal_type="cancelled")).is_terminal
        assert (await change(is_terminal=True)).terminal_type == "cancelled"
        assert (await change(is_terminal=False)).terminal_type is None
        assert (await change(is_terminal=True, terminal_type="completed")).terminal_type == "completed"
        assert not (await change(terminal_type=None)).is_terminal
        for wrong, refusal in (
            ({"is_terminal": True}, TerminalUnclear),
            ({"is_terminal": False, "terminal_type": "cancelled"}, TerminalUnclear),
            ({"terminal_type": "won"}, TerminalTaken),
            ({"sla_days": 1, "sla_warning_days": 2}, WarningTooLate),
        ):
            with pytest.raises(refusal):
                await change(**wrong)

    async def test_refuses_to_end_the_process_under_a_company(
        self, tx: Tx, given: Given, manager: Caller, stage: Any
    ) -> None:
        core = await given.fetch("product_processes", stage.process_id)
        product = await given.fetch("products", core.product_id)
        here: dict[str, Any] = {
            "current_process_id": stage.process_id,
            "current_stage_id": stage.id,
            "phase": "in_sales",
            "status": "in_sales",
        }
        await given.held(product, **here)
        await given.held(product, process_completed_at=tx.now, **here)
        with pytest.raises(StageOccupied) as refused:
            await stages.update_stage(tx, manager, "core", stage.id, UpdateStageIn(terminal_type="cancelled"))
        assert refused.value.body["occupied"] == 1
        renamed = await read(stages.update_stage(tx, manager, "core", stage.id, UpdateStageIn(name="Offer")))
        assert renamed.stage.name == "Offer"

    async def test_knows_no_stage_of_another_product(self, tx: Tx, given: Given, manager: Caller, stage: Any) -> None:
        other = await given.product("Other")
        await given.process(other)
        with pytest.raises(StageNotFound):
            await stages.get_stage(tx, manager, "other", stage.id)
        with pytest.raises(StageNotFound):
            await stages.update_stage(tx, manager, "other", stage.id, UpdateStageIn(name="Mine now"))
        with pytest.raises(StageNotFound):
            await stages.archive_stage(tx, manager, "other", stage.id)


class TestArchiveStage:
    async def test_closes_the_gap_and_keeps_its_name_taken(self, tx: Tx, given: Given, manager: Caller) -> None:
        core = await given.product("Core")
        process = await given.process(core, stages=["A", "B", "C", "D"])
        await stages.archive_stage(tx, manager, "core", process.stages["b"].id)
        await stages.archive_stage(tx, manager, "core", process.stages["a"].id)
        assert await names_of(tx, manager, "core") == [("c", 1), ("d", 2)]
        await stages.create_stage(tx, manager, "core", CreateStageIn(name="B", stage_order=1))
        assert await names_of(tx, manager, "core") == [("b-2", 1), ("c", 2), ("d", 3)]
        await tx.run("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(StageNotFound):
            await stages.archive_stage(tx, manager, "core", process.stages["b"].id)
        kept = await processes.find_process(tx, process.id)
        assert kept is not None
        gone = kept.find_stage(process.stages["b"].id)
        assert gone is not None
        assert gone.archived
        assert kept.first_stage is not None
        assert kept.first_stage.slug == "b-2"

    async def test_refuses_while_a_company_is_in_it(self, tx: Tx, given: Given, manager: Caller) -> None:
        core = await given.product("Core")
        process = await given.process(core)
        stage = process.stages["discovery"]
        await given.held(
            core, current_process_id=process.id, current_stage_id=stage.id, phase="in_sales", status="in_sales"
        )
        with pytest.raises(StageOccupied, match="1 companies"):
            await stages.archive_stage(tx, manager, "core", stage.id)

    async def test_waits_for_a_company_that_is_entering(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            manager, core = await given.user("manager"), await given.product("Core")
            process = await given.process(core)
            stage = process.stages["discovery"]

        async def archive() -> None:
            async with db.transaction() as tx:
                await stages.archive_stage(tx, manager, "core", stage.id)

        async with db.transaction() as entering:
            assert await processes.hold_stage(entering, stage.id)
            archiving = asyncio.create_task(archive())
            await until_somebody_waits(db)
            here: dict[str, Any] = {"current_process_id": process.id, "current_stage_id": stage.id}
            await Given(entering).held(core, phase="in_sales", status="in_sales", **here)
        with pytest.raises(StageOccupied):
            await archiving
        async with db.transaction() as tx:
            await tx.run("DELETE FROM company_product_read_model")
        await archive()
        async with db.transaction() as tx:
            assert not await processes.hold_stage(tx, stage.id)

    async def test_of_entering_and_archiving_at_once_one_is_refused(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            manager, core = await given.user("manager"), await given.product("Core")
            process = await given.process(core, stages=[f"Stage {n}" for n in range(6)])
            rows = [
                await company_products.get_or_create(tx, manager, (await given.company()).id, core.id) for _ in range(6)
            ]

        async def enter(row: Any, stage: Any) -> str | None:
            ask = lifecycle.StartSaleIn(processId=process.id, initialStageId=stage.id)
            async with db.transaction() as tx:
                try:
                    await lifecycle.execute(tx, manager, row.id, ask)
                except lifecycle.StageArchived:
                    return "entering"
            return None

        async def archive(stage: Any) -> str | None:
            async with db.transaction() as tx:
                try:
                    await stages.archive_stage(tx, manager, "core", stage.id)
                except StageOccupied:
                    return "archiving"
            return None

        for row, stage in zip(rows, process.stages.values(), strict=True):
            refused = await asyncio.gather(enter(row, stage), archive(stage))
            assert len([what for what in refused if what]) == 1
        async with db.reading() as tx:
            lost = await tx.one(
                int,
                """
                SELECT count(*) FROM company_product_read_model r JOIN product_process_stages s ON s.id = r.current_stage_id
                 WHERE s.archived_at IS NOT NULL
                """,
            )
        assert lost == 0


async def until_somebody_waits(db: Database) -> None:
    async with asyncio.timeout(10):
        while True:
            async with db.reading() as tx:
                if await tx.one(bool, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                    return


class TestReorderStages:
    async def test_takes_an_exact_permutation_only(self, tx: Tx, given: Given, manager: Caller) -> None:
        core = await given.product("Core")
        made = (await given.process(core, stages=["A", "B", "C"])).stages
        a, b, c = (made[slug].id for slug in "abc")
        await stages.reorder_stages(tx, manager, "core", ReorderStagesIn(stage_ids=[c, a, b]))
        await tx.run("SET CONSTRAINTS ALL IMMEDIATE")
        assert await names_of(tx, manager, "core") == [("c", 1), ("a", 2), ("b", 3)]
        wrong: list[list[UUID]] = [[a, b], [a, b, c, c], [a, b, b], [a, b, uuid4()]]
        for ids in wrong:
            with pytest.raises(NotAPermutation):
                await stages.reorder_stages(tx, manager, "core", ReorderStagesIn(stage_ids=ids))


class TestProcess:
    async def test_shows_the_published_one_or_else_the_newest_draft(self, tx: Tx, given: Given, rep: Caller) -> None:
        core = await given.product("Core")
        empty = await read(processes.get_process(tx, rep, "core", "onboarding"))
        assert (empty.process, empty.stages) == (None, [])
        await given.process(core, "onboarding", status="draft", version=1)
        second = await given.process(core, "onboarding", status="draft", version=2, stages=["Kick-off"])
        assert (await read(processes.get_process(tx, rep, "core", "onboarding"))).process.id == second.id
        first = await given.process(core, "onboarding", version=3, stages=["Kick-off", "Training"])
        await given.process(core, "onboarding", status="draft", version=4)
        shown = await read(processes.get_process(tx, rep, "core", "onboarding"))
        assert (shown.process.id, shown.process.status) == (first.id, "published")
        assert [(stage.name, stage.order) for stage in shown.stages] == [("Kick-off", 1), ("Training", 2)]
        with pytest.raises(ProductUnknown):
            await processes.get_process(tx, rep, "nothing", "sales")

    async def test_a_workflow_as_it_was_drawn(self, tx: Tx, given: Given, rep: Caller) -> None:
        core = await given.product("Core")
        assert (await read(workflows.get_workflow(tx, rep, "core", "sales"))).workflow is None
        await given.row("workflows", product_id=core.id, process_type="sales", name="Draft")
        drawn = await given.row(
            "workflows", product_id=core.id, process_type="sales", name="Sale", status="active", canvas_zoom=1.5
        )
        nodes = [
            await given.row("workflow_nodes", workflow_id=drawn.id, type=kind, label=kind, position_x=at)
            for at, kind in enumerate(("trigger", "exit"))
        ]
        line = await given.row(
            "workflow_connections", workflow_id=drawn.id, from_node_id=nodes[0].id, to_node_id=nodes[1].id
        )
        shown = (await read(workflows.get_workflow(tx, rep, "core", "sales"))).workflow
        assert (shown.id, shown.canvasState.zoom, shown.canvasState.pan.x) == (drawn.id, 1.5, 0)
        assert [(node.type, node.position.x) for node in shown.nodes] == [("trigger", 0), ("exit", 1)]
        assert shown.connections[0].model_dump() == {
            "id": line.id, "fromNodeId": nodes[0].id, "fromPort": "out", "toNodeId": nodes[1].id, "toPort": "in",
            "label": None, "color": None, "style": "solid",
        }  # fmt: skip
