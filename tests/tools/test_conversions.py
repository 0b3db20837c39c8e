"""Conversions: one product for another, a migration to its end, a deal that becomes sales."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from memory import events
from memory.callers import Caller
from memory.db import Database, Tx
from memory.errors import Invalid
from tests.given import Given
from tools import company_products, conversions, deal_conversions, lifecycle
from tools.companies import CompanyNotFound
from tools.conversions import (
    CompleteMigrationIn,
    ConvertProductIn,
    NotAMigration,
    NothingToConvert,
    ProductInactive,
    ProductUnknown,
    SameProduct,
    SourceOver,
    TargetInUse,
)
from tools.deal_conversions import ConvertDealIn, DealLost, NoSalesProcess, OnlyInformed, ProductUnsellable
from tools.deals import DealNotFound


@pytest.fixture
async def rep(given: Given) -> Caller:
    return await given.user()


@pytest.fixture
async def manager(given: Given) -> Caller:
    return await given.user("manager")


async def command(tx: Tx, caller: Caller, company: Any, product: Any, *asks: lifecycle.Ask) -> UUID:
    row = await company_products.get_or_create(tx, caller, company.id, product.id)
    await lifecycle.execute(tx, caller, row.id, *asks)
    return row.id


async def customer(tx: Tx, caller: Caller, company: Any, product: Any, *, mrr: int = 500, seats: int = 7) -> UUID:
    """A company that uses the product, owned by the caller."""
    return await command(
        tx, caller, company, product,
        lifecycle.AdoptIn(toPhase="active", reason="Imported"), lifecycle.SetMrrIn(mrr=Decimal(mrr)),
        lifecycle.SetSeatsIn(seats=seats), lifecycle.SetTierIn(tier=2), lifecycle.SetOwnerIn(ownerId=owner(caller)),
    )  # fmt: skip


def owner(caller: Caller) -> UUID:
    assert caller.user_id is not None
    return caller.user_id


async def stands(given: Given, id: UUID) -> dict[str, Any]:
    row = await given.tx.tuples(
        "SELECT status, mrr, seats, tier, owner_id FROM company_product_read_model WHERE company_product_id = %(id)s",
        id=id,
    )
    return dict(zip(("status", "mrr", "seats", "tier", "owner_id"), row[0], strict=True))


class TestConvertProduct:
    async def test_moves_revenue_seats_and_owner(self, tx: Tx, given: Given, rep: Caller) -> None:
        company = await given.company()
        old, new = await given.product("Old"), await given.product("New")
        source = await customer(tx, rep, company, old)
        body = ConvertProductIn(from_product_id=old.id, to_product_id=new.id)
        done = await conversions.convert_product(tx, rep, company.id, body)
        target = done.converted.to.company_product_id
        assert done.model_dump(mode="json", by_alias=True) == {
            "success": True,
            "converted": {
                "from": {
                    "product_id": str(old.id), "product_name": "Old", "previous_status": "active", "new_status": "churned",
                },
                "to": {
                    "product_id": str(new.id), "product_name": "New", "company_product_id": str(target),
                    "status": "active", "mrr": 500.0,
                },
            },
        }  # fmt: skip
        assert await stands(given, target) == {
            "status": "active", "mrr": Decimal(500), "seats": 7, "tier": None, "owner_id": rep.user_id,
        }  # fmt: skip
        assert await stands(given, source) == {
            "status": "churned", "mrr": Decimal(0), "seats": 7, "tier": 2, "owner_id": rep.user_id,
        }  # fmt: skip
        last = (await events.read(tx, lifecycle.STREAM, source))[-1]
        assert (last.data["reason"], last.data["churn_reason"], last.actor_id) == (
            "converted",
            "converted",
            str(rep.user_id),
        )

    async def test_takes_what_is_asked_into_onboarding(self, tx: Tx, given: Given, rep: Caller) -> None:
        company = await given.company()
        old, new = await given.product("Old"), await given.product("New")
        await given.process(new, "onboarding", stages=["Kick-off", {"name": "Live", "terminal_type": "completed"}])
        await customer(tx, rep, company, old)
        body = ConvertProductIn(
            from_product_id=old.id,
            to_product_id=new.id,
            new_status="in_onboarding",
            transfer_mrr=False,
            transfer_tier=True,
        )
        done = await conversions.convert_product(tx, rep, company.id, body)
        row = await given.tx.tuples(
            "SELECT status, mrr, tier, current_stage_name FROM company_product_read_model WHERE company_product_id = %(id)s",
            id=done.converted.to.company_product_id,
        )
        assert row == [("in_onboarding", None, 2, "Kick-off")]

    async def test_ends_an_onboarding_of_the_target_that_is_under_way(self, tx: Tx, given: Given, rep: Caller) -> None:
        company = await given.company()
        old, new = await given.product("Old"), await given.product("New")
        await customer(tx, rep, company, old)
        target = await command(tx, rep, company, new, lifecycle.AdoptIn(toPhase="onboarding", reason="Imported"))
        body = ConvertProductIn(from_product_id=old.id, to_product_id=new.id)
        assert (await conversions.convert_product(tx, rep, company.id, body)).converted.to.status == "active"
        assert (await stands(given, target))["status"] == "active"

    async def test_refuses_what_makes_no_sense(self, tx: Tx, given: Given, rep: Caller) -> None:
        company = await given.company()
        old, new, gone = (
            await given.product("Old"),
            await given.product("New"),
            await given.product("Gone", is_active=False),
        )

        async def convert(a: Any, b: Any, where: UUID = company.id, **more: Any) -> None:
            body = ConvertProductIn(from_product_id=a, to_product_id=b, **more)
            await conversions.convert_product(tx, rep, where, body)

        with pytest.raises(SameProduct):
            await convert(old.id, old.id)
        with pytest.raises(CompanyNotFound):
            await convert(old.id, new.id, uuid4())
        with pytest.raises(ProductUnknown):
            await convert(old.id, uuid4())
        with pytest.raises(NothingToConvert):
            await convert(old.id, new.id)
        await customer(tx, rep, company, old)
        with pytest.raises(ProductInactive, match="Gone"):
            await convert(old.id, gone.id)
        await customer(tx, rep, company, new)
        with pytest.raises(TargetInUse, match="active"):
            await convert(old.id, new.id)
        third = await given.product("Third")
        await convert(old.id, third.id, new_status="in_onboarding")
        with pytest.raises(SourceOver, match="churned"):
            await convert(old.id, third.id)
        with pytest.raises(TargetInUse, match="in_onboarding"):
            await convert(new.id, third.id, new_status="in_onboarding")

    async def test_a_rep_converts_only_what_is_theirs_or_nobodys(self, tx: Tx, given: Given, rep: Caller) -> None:
        company, other = await given.company(), await given.user()
        old, new = await given.product("Old"), await given.product("New")
        await customer(tx, other, company, old)
        body = ConvertProductIn(from_product_id=old.id, to_product_id=new.id)
        with pytest.raises(lifecycle.NotYours):
            await conversions.convert_product(tx, rep, company.id, body)

    async def test_an_owner_who_has_left_is_not_passed_on(
        self, tx: Tx, given: Given, rep: Caller, manager: Caller
    ) -> None:
        company = await given.company()
        old, new = await given.product("Old"), await given.product("New")
        await customer(tx, rep, company, old)
        await tx.run("UPDATE users SET is_active = false WHERE id = %(id)s", id=rep.user_id)
        body = ConvertProductIn(from_product_id=old.id, to_product_id=new.id)
        done = await conversions.convert_product(tx, manager, company.id, body)
        assert (await stands(given, done.converted.to.company_product_id))["owner_id"] is None

    async def test_of_conversions_both_ways_at_once_one_goes_through(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            rep, company = await given.user(), await given.company()
            a, b, c = [await given.product(name) for name in "ABC"]
            await customer(tx, rep, company, a)
            await customer(tx, rep, company, b)

        async def convert(source: Any) -> str:
            body = ConvertProductIn(from_product_id=source.id, to_product_id=c.id)
            async with db.transaction() as tx:
                try:
                    await conversions.convert_product(tx, rep, company.id, body)
                except TargetInUse:
                    return "refused"
            return "done"

        assert sorted(await asyncio.gather(convert(a), convert(b))) == ["done", "refused"]
        async with db.transaction() as tx:
            paid = await tx.one(Decimal, "SELECT sum(mrr) FROM company_product_read_model")
        assert paid == 1000


class TestCompleteMigration:
    @pytest.fixture
    async def products(self, given: Given) -> tuple[Any, Any, Any]:
        one, two = await given.product("One"), await given.product("Two")
        move = await given.product("Move", migrates_product_id=one.id, successor_product_id=two.id)
        return one, two, move

    async def test_moves_the_company_to_the_successor_once(
        self, tx: Tx, given: Given, rep: Caller, products: tuple[Any, Any, Any]
    ) -> None:
        one, two, move = products
        company = await given.company("Acme")
        await given.process(two, "onboarding", stages=["Kick-off"])
        await given.process(move)
        before = await customer(tx, rep, company, one, mrr=300)
        process = await tx.one(UUID, "SELECT id FROM product_processes WHERE product_id = %(id)s", id=move.id)
        migration = await command(
            tx, rep, company, move, lifecycle.StartSaleIn(processId=process), lifecycle.SetMrrIn(mrr=Decimal(450))
        )
        body = CompleteMigrationIn(companyProductId=migration)
        done = await conversions.complete_migration(tx, rep, body)
        successor = done.successorCompanyProductId
        assert (done.message, done.company.name) == ("Acme is on Two now.", "Acme")
        assert await stands(given, successor) == {
            "status": "in_onboarding", "mrr": Decimal(450), "seats": 7, "tier": None, "owner_id": rep.user_id,
        }  # fmt: skip
        assert [(await stands(given, id))["status"] for id in (before, migration)] == ["churned", "active"]
        assert await tx.one(Decimal, "SELECT sum(mrr) FROM company_product_read_model") == 450
        counted = "SELECT sum(version) FROM event_streams"
        versions = await tx.one(int, counted)
        assert await conversions.complete_migration(tx, rep, body) == done
        assert await tx.one(int, counted) == versions

    async def test_without_a_price_of_its_own_the_price_so_far_stays(
        self, tx: Tx, given: Given, rep: Caller, products: tuple[Any, Any, Any]
    ) -> None:
        one, _, move = products
        company = await given.company()
        await customer(tx, rep, company, one, mrr=300)
        migration = await command(tx, rep, company, move, lifecycle.AdoptIn(toPhase="onboarding", reason="Imported"))
        done = await conversions.complete_migration(tx, rep, CompleteMigrationIn(companyProductId=migration))
        assert (await stands(given, done.successorCompanyProductId))["mrr"] == 300
        assert (await stands(given, migration))["status"] == "active"

    async def test_a_predecessor_that_is_not_in_use_stays(
        self, tx: Tx, given: Given, rep: Caller, products: tuple[Any, Any, Any]
    ) -> None:
        one, _, move = products
        company = await given.company()
        before = await command(tx, rep, company, one, lifecycle.SetPhaseIn(toPhase="prospect"))
        migration = await command(tx, rep, company, move, lifecycle.AdoptIn(toPhase="active", reason="Imported"))
        await conversions.complete_migration(tx, rep, CompleteMigrationIn(companyProductId=migration))
        assert (await stands(given, before))["status"] == "inactive"

    async def test_refuses_what_is_no_migration_and_a_successor_in_use(
        self, tx: Tx, given: Given, rep: Caller, products: tuple[Any, Any, Any]
    ) -> None:
        one, two, move = products
        company = await given.company()
        plain = await customer(tx, rep, company, one)
        with pytest.raises(NotAMigration, match="One"):
            await conversions.complete_migration(tx, rep, CompleteMigrationIn(companyProductId=plain))
        with pytest.raises(company_products.CompanyProductNotFound):
            await conversions.complete_migration(tx, rep, CompleteMigrationIn(companyProductId=uuid4()))
        migration = await command(tx, rep, company, move, lifecycle.AdoptIn(toPhase="onboarding", reason="Imported"))
        await customer(tx, rep, company, two)
        with pytest.raises(TargetInUse, match="Two"):
            await conversions.complete_migration(tx, rep, CompleteMigrationIn(companyProductId=migration))
        over = lifecycle.SetPhaseIn(toPhase="churned", reason="Called off")
        await lifecycle.execute(tx, rep, migration, over)
        with pytest.raises(SourceOver, match="Move"):
            await conversions.complete_migration(tx, rep, CompleteMigrationIn(companyProductId=migration))


class TestConvertDeal:
    async def test_goes_on_as_sales_from_the_first_thing_that_happened(self, tx: Tx, given: Given, rep: Caller) -> None:
        company = await given.company()
        a, b = await given.product("A", display_order=1), await given.product("B", display_order=2)
        stages = (await given.process(a)).stages
        await given.process(b)
        deal = await given.deal(company=company, owner=rep, name="Scanners", health_score=64, estimated_value=9000)
        first = await given.communication(user=rep, deal=deal, occurred_at=given.ago(days=40))
        await given.activity(user=rep, deal=deal, type="meeting_held", occurred_at=given.ago(days=20))
        await given.activity(user=rep, deal=deal, type="calendar_event", occurred_at=given.ahead(days=5))
        talk = await given.transcript(user=rep, company=company, deal_id=deal.id, meeting_date=given.ago(days=3))
        body = ConvertDealIn.model_validate(
            {"products": [{"product_id": b.id}, {"product_id": a.id, "stage_id": stages["proposal"].id}]}
        )
        done = await deal_conversions.convert_deal(tx, rep, deal.id, body)
        assert (done.converted, done.already_converted) == (True, False)
        assert (done.first_activity_at, done.last_activity_at) == (first.occurred_at, talk.meeting_date)
        assert [(p.product_name, p.stage_name, p.created) for p in done.products] == [
            ("A", "Proposal", True), ("B", "Discovery", True),
        ]  # fmt: skip
        assert done.stats.model_dump() == {"activities_count": 1, "communications_count": 1, "meetings_count": 2}
        assert (done.legacy_deal_status.status, done.legacy_deal_status.conversion_status) == (
            "closed_converted",
            "converted",
        )
        rows = await tx.tuples(
            """
            SELECT r.status, r.sales_started_at, r.owner_id, r.next_step, r.next_step_due_at, r.mrr, h.close_confidence,
                   h.converted_from_deal_id
              FROM company_product_read_model r JOIN company_products h ON h.id = r.company_product_id
            """
        )
        due = given.ahead(days=3)
        assert rows == 2 * [
            ("in_sales", first.occurred_at, rep.user_id, "Follow up on Scanners", due, None, 64, deal.id)
        ]
        note = await tx.one(str, "SELECT body FROM activities WHERE type = 'note' AND deal_id = %(id)s", id=deal.id)
        assert note == "Scanners goes on as A, B"
        moved = await tx.tuples("SELECT from_stage, to_stage, changed_by FROM deal_stage_history")
        assert moved == [("new_lead", "closed_converted", rep.user_id)]
        again = await deal_conversions.convert_deal(tx, rep, deal.id, body)
        assert (again.converted, again.already_converted) == (False, True)
        assert again.stats == done.stats
        assert again.company_product_ids == done.company_product_ids

    async def test_a_deal_on_which_nothing_happened_counts_from_its_creation(
        self, tx: Tx, given: Given, rep: Caller
    ) -> None:
        a = await given.product("A")
        await given.process(a)
        deal = await given.deal(owner=rep, created_at=given.ago(days=11))
        done = await deal_conversions.convert_deal(tx, rep, deal.id, of(a))
        assert done.first_activity_at == done.last_activity_at == given.ago(days=11)

    async def test_a_sale_under_way_keeps_its_stage_and_a_customer_stays_one(
        self, tx: Tx, given: Given, rep: Caller
    ) -> None:
        company = await given.company()
        a, b = await given.product("A"), await given.product("B")
        process = await given.process(a)
        under_way = await command(
            tx, rep, company, a,
            lifecycle.StartSaleIn(processId=process.id), lifecycle.AdvanceStageIn(toStageId=process.stages["proposal"].id),
        )  # fmt: skip
        await customer(tx, rep, company, b, mrr=80)
        deal = await given.deal(company=company, owner=rep)
        done = await deal_conversions.convert_deal(tx, rep, deal.id, of(a, b))
        assert [(p.product_name, p.stage_name, p.created) for p in done.products] == [
            ("A", "Proposal", False), ("B", None, False),
        ]  # fmt: skip
        assert under_way in done.company_product_ids
        assert await tx.one(Decimal, "SELECT sum(mrr) FROM company_product_read_model") == 80

    async def test_a_part_of_what_was_quoted_is_a_partial_conversion(self, tx: Tx, given: Given, rep: Caller) -> None:
        a, b = await given.product("A"), await given.product("B")
        for product in (a, b):
            await given.process(product)
        deal = await given.deal(owner=rep, quoted_products=[a.id, b.id])
        part = await deal_conversions.convert_deal(tx, rep, deal.id, of(a))
        assert part.legacy_deal_status.conversion_status == "partial"
        rest = await deal_conversions.convert_deal(tx, rep, deal.id, of(a, b))
        assert (rest.already_converted, rest.legacy_deal_status.conversion_status) == (False, "converted")
        assert [(p.product_name, p.created) for p in rest.products] == [("A", False), ("B", True)]

    async def test_refuses_what_cannot_be_sold(self, tx: Tx, given: Given, rep: Caller) -> None:
        a, b = await given.product("A"), await given.product("B")
        bare, gone = await given.product("Bare"), await given.product("Gone", is_sellable=False)
        await given.process(a)
        foreign = (await given.process(b)).stages["discovery"].id
        deal = await given.deal(owner=rep)

        async def convert(*products: dict[str, Any]) -> None:
            await deal_conversions.convert_deal(tx, rep, deal.id, ConvertDealIn.model_validate({"products": products}))

        for product, refusal in (
            ({"product_id": gone.id}, ProductUnsellable),
            ({"product_id": uuid4()}, ProductUnsellable),
            ({"product_id": bare.id}, NoSalesProcess),
            ({"product_id": a.id, "stage_id": foreign}, lifecycle.StageForeign),
        ):
            with pytest.raises(refusal):
                async with tx.savepoint():
                    await convert(product)
            assert issubclass(refusal, Invalid)
        for wrong in ([], [{"product_id": a.id}, {"product_id": a.id}]):
            with pytest.raises(ValueError, match="products"):
                ConvertDealIn.model_validate({"products": wrong})

    async def test_is_for_those_who_work_on_an_open_deal(
        self, tx: Tx, given: Given, rep: Caller, manager: Caller
    ) -> None:
        a = await given.product("A")
        await given.process(a)
        deal = await given.deal(owner=manager)
        with pytest.raises(DealNotFound):
            await deal_conversions.convert_deal(tx, rep, deal.id, of(a))
        await given.row("deal_collaborators", deal_id=deal.id, user_id=rep.user_id, role="informed")
        with pytest.raises(OnlyInformed):
            await deal_conversions.convert_deal(tx, rep, deal.id, of(a))
        await tx.run("UPDATE deal_collaborators SET role = 'collaborator'")
        done = await deal_conversions.convert_deal(tx, rep, deal.id, of(a))
        assert (await stands(given, done.company_product_ids[0]))["owner_id"] == manager.user_id
        lost = await given.deal(owner=rep, stage="closed_lost")
        with pytest.raises(DealLost):
            await deal_conversions.convert_deal(tx, rep, lost.id, of(a))


def of(*products: Any) -> ConvertDealIn:
    return ConvertDealIn.model_validate({"products": [{"product_id": product.id} for product in products]})
