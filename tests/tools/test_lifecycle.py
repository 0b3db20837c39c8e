"""Lifecycle commands on the database: permission, versions, what the read models say, suggestions, limits, health."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter

from memory import events, projections
from memory.callers import SYSTEM
from memory.db import Database, Tx
from memory.events import Command, CommandRepeated, StreamMoved
from tests.given import Given
from tests.tools.shop import Shop
from tools import company_products, lifecycle
from tools.cases import handling
from tools.cases.commands import AnyCommand
from tools.lifecycle import evaluating, rules, sla


@pytest.fixture
async def shop(given: Any) -> Shop:
    return await Shop(given).open()


async def _row(tx: Tx, company_product_id: UUID) -> dict[str, Any]:
    return await tx.one(
        dict[str, Any],
        "SELECT to_jsonb(m) FROM company_product_read_model m WHERE company_product_id = %(id)s",
        id=company_product_id,
    )


async def _stages(tx: Tx, company_product_id: UUID) -> list[tuple[Any, ...]]:
    return await tx.tuples(
        """
        SELECT stage_name, exit_reason, duration_seconds, sla_met, days_over_sla FROM company_product_stage_facts
         WHERE company_product_id = %(id)s ORDER BY entry_sequence
        """,
        id=company_product_id,
    )


class TestExecute:
    async def test_answers_with_its_events_and_brings_the_row_along(self, tx: Tx, shop: Shop) -> None:
        result = await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        assert [each.sequenceNumber for each in result] == [1, 2]
        row = await _row(tx, shop.row.id)
        assert {name: row[name] for name in ("phase", "status", "current_stage_name", "stage_transition_count")} == {
            "phase": "in_sales", "status": "in_sales", "current_stage_name": "Lead", "stage_transition_count": 1,
        }  # fmt: skip
        assert (row["last_event_type"], row["last_event_sequence"]) == ("CompanyProductProcessSet", 2)
        assert (row["company_id"], row["product_id"]) == (str(shop.company.id), str(shop.product.id))
        deadlines = await tx.tuples(
            "SELECT stage_sla_warning_at, stage_sla_deadline FROM company_product_read_model WHERE company_product_id = %(id)s",
            id=shop.row.id,
        )
        assert deadlines == [(tx.now + timedelta(days=2), tx.now + timedelta(days=4))]

    async def test_appends_several_commands_at_once(self, tx: Tx, shop: Shop) -> None:
        result = await lifecycle.execute(
            tx, shop.me, shop.row.id, shop.start, lifecycle.SetOwnerIn(ownerId=_id(shop.me)),
            lifecycle.SetMrrIn(mrr=Decimal("99.90")), lifecycle.SetSeatsIn(seats=3), lifecycle.SetTierIn(tier=2),
            lifecycle.SetNextStepDueIn(nextStep="Call", dueDate=tx.now),
        )  # fmt: skip
        assert [each.sequenceNumber for each in result] == [1, 2, 3, 4, 5, 6, 7]
        row = await _row(tx, shop.row.id)
        assert (row["owner_id"], row["owner_name"], row["mrr"], row["mrr_currency"], row["seats"], row["tier"]) == (
            str(shop.me.user_id), shop.me.name, 99.9, "USD", 3, 2,
        )  # fmt: skip
        assert row["next_step"] == "Call"

    async def test_changes_nothing_for_an_equal_value(self, tx: Tx, shop: Shop) -> None:
        assert len(await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetTierIn(tier=3))) == 1
        assert await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetTierIn(tier=3)) == []

    async def test_keeps_who_acted_and_on_what_evidence(self, tx: Tx, shop: Shop) -> None:
        run_id = uuid4()
        agent = shop.me.for_run(run_id)
        await lifecycle.execute(tx, agent, shop.row.id, _suggestion("set-tier", tier=4))
        (event,) = await events.read(tx, lifecycle.STREAM, shop.row.id)
        assert (event.actor_type, event.actor_id) == ("ai", str(shop.me.user_id))
        assert event.metadata["run_id"] == str(run_id)

    async def test_is_for_owner_and_managers_once_it_is_owned(self, tx: Tx, given: Any, shop: Shop) -> None:
        other, manager = await given.user(), await given.user("manager")
        await lifecycle.execute(tx, other, shop.row.id, lifecycle.SetTierIn(tier=1))
        await lifecycle.execute(tx, other, shop.row.id, lifecycle.SetOwnerIn(ownerId=_id(shop.me)))
        with pytest.raises(lifecycle.NotYours):
            await lifecycle.execute(tx, other, shop.row.id, lifecycle.SetTierIn(tier=2))
        for who in (shop.me, manager):
            assert len(await lifecycle.execute(tx, who, shop.row.id, lifecycle.SetSeatsIn(seats=len(who.role)))) == 1
        assert await lifecycle.execute(tx, other, shop.row.id, lifecycle.SetTierIn(tier=5), permitted=True) != []

    async def test_refuses_another_version_and_tells_the_present_one(self, tx: Tx, shop: Shop) -> None:
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        with pytest.raises(StreamMoved) as refused:
            await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetTierIn(tier=1), expected_version=1)
        assert refused.value.body["currentVersion"] == 2
        assert await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetTierIn(tier=1), expected_version=2) != []

    async def test_answers_a_repeated_command_as_before(self, tx: Tx, shop: Shop) -> None:
        command = Command("set-tier", f"{shop.me.user_id}:key-1", "hash")
        first = await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetTierIn(tier=1), command=command)
        again = await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetTierIn(tier=1), command=command)
        assert first == again != []
        other = Command("set-tier", command.id, "other")
        with pytest.raises(CommandRepeated):
            await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetTierIn(tier=2), command=other)

    async def test_refuses_unknown_and_merged_rows(self, tx: Tx, given: Any, shop: Shop) -> None:
        with pytest.raises(company_products.CompanyProductNotFound):
            await lifecycle.execute(tx, shop.me, uuid4(), lifecycle.SetTierIn(tier=1))
        merged = await given.held(shop.product)
        await tx.run(
            "UPDATE company_products SET merged_into_id = %(to)s WHERE id = %(id)s", to=shop.row.id, id=merged.id
        )
        with pytest.raises(company_products.CompanyProductMerged):
            await lifecycle.execute(tx, shop.me, merged.id, lifecycle.SetTierIn(tier=1))

    async def test_refuses_owners_who_left_and_processes_of_other_products(
        self, tx: Tx, given: Any, shop: Shop
    ) -> None:
        left = await given.user(is_active=False)
        foreign = await given.process(await given.product())
        draft = await given.process(shop.product, status="draft", version=2)
        for ask, refusal in (
            (lifecycle.SetOwnerIn(ownerId=_id(left)), lifecycle.OwnerUnknown),
            (lifecycle.StartSaleIn(processId=foreign.id), lifecycle.ProcessUnusable),
            (lifecycle.StartSaleIn(processId=draft.id), lifecycle.ProcessUnusable),
            (lifecycle.StartSaleIn(processId=uuid4()), lifecycle.ProcessUnusable),
            (
                lifecycle.StartSaleIn(processId=shop.sales.id, initialStageId=foreign.stages["discovery"].id),
                lifecycle.StageForeign,
            ),
        ):
            with pytest.raises(refusal):
                await lifecycle.execute(tx, shop.me, shop.row.id, ask)
        assert await events.read(tx, lifecycle.STREAM, shop.row.id) == []

    async def test_refuses_a_stage_that_was_archived(self, tx: Tx, shop: Shop) -> None:
        lead = shop.sales.stages["lead"]
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        demo = shop.sales.stages["demo"]
        await tx.run("UPDATE product_process_stages SET archived_at = now() WHERE id = %(id)s", id=demo.id)
        with pytest.raises(rules.StageArchived):
            await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.AdvanceStageIn(toStageId=demo.id))
        assert (await _row(tx, shop.row.id))["current_stage_id"] == str(lead.id)


class TestReadModels:
    async def test_tell_the_way_from_sale_to_churn(self, tx: Tx, shop: Shop) -> None:
        began = tx.now
        ask = lifecycle.BackdatedSaleIn(processId=shop.sales.id, effectiveAt=began - timedelta(days=90))
        await lifecycle.execute(tx, shop.me, shop.row.id, ask)
        tx.now = began + timedelta(days=5)
        await lifecycle.execute(
            tx, shop.me, shop.row.id, lifecycle.AdvanceStageIn(toStageId=shop.sales.stages["demo"].id)
        )
        tx.now = began + timedelta(days=6)
        await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.CompleteSaleStartOnboardingIn())
        tx.now = began + timedelta(days=7)
        ask = lifecycle.SetPhaseIn(toPhase="churned", churnReason="Too dear")
        await lifecycle.execute(tx, shop.me, shop.row.id, ask)
        row = await tx.tuples(
            """
            SELECT phase, status, sales_started_at, onboarding_started_at, churned_at, declined_at, last_outcome,
                   current_process_type, current_stage_name, process_completed_at, stage_sla_deadline
              FROM company_product_read_model WHERE company_product_id = %(id)s
            """,
            id=shop.row.id,
        )
        assert row == [(
            "churned", "churned", began - timedelta(days=90), began + timedelta(days=6), tx.now, None, "churned",
            "onboarding", None, tx.now, None,
        )]  # fmt: skip
        assert await _stages(tx, shop.row.id) == [
            ("Lead", "progressed", 5 * 86400, False, Decimal("1.00")),
            ("Demo", "completed", 86400, None, None),
            ("Setup", "cancelled", 86400, True, None),
        ]

    async def test_tell_a_lost_sale_as_declined_until_it_starts_again(self, tx: Tx, shop: Shop) -> None:
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.CloseSaleIn(outcome="lost", reason="Budget"))
        row = await _row(tx, shop.row.id)
        assert (row["status"], row["declined_reason"], row["current_stage_name"]) == ("declined", "Budget", "Lost")
        assert row["declined_at"] == row["churned_at"] is not None
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        row = await _row(tx, shop.row.id)
        assert (row["status"], row["declined_at"], row["churned_at"], row["process_completed_at"]) == (
            "in_sales",
            None,
            None,
            None,
        )

    async def test_follow_a_row_that_moves_to_another_company(self, tx: Tx, given: Any, shop: Shop) -> None:
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        heir = await given.company()
        await tx.run(
            "UPDATE company_products SET company_id = %(heir)s WHERE id = %(id)s", heir=heir.id, id=shop.row.id
        )
        assert (await _row(tx, shop.row.id))["company_id"] == str(heir.id)
        (fact,) = await tx.tuples(
            "SELECT company_id FROM company_product_stage_facts WHERE company_product_id = %(id)s", id=shop.row.id
        )
        assert fact == (heir.id,)

    async def test_count_weekdays_between_two_moments(self, tx: Tx) -> None:
        counted = await tx.tuples(
            """
            SELECT business_days(a::timestamptz, b::timestamptz)::float FROM (VALUES
                ('2026-03-02 09:00+00', '2026-03-06 09:00+00'), ('2026-03-06 12:00+00', '2026-03-09 12:00+00'),
                ('2026-03-07 00:00+00', '2026-03-08 23:00+00'), ('2026-03-02 00:00+00', '2026-03-16 00:00+00'),
                ('2026-03-06 12:00+00', '2026-03-06 18:00+00'), ('2026-03-09 00:00+00', '2026-03-06 00:00+00')) v (a, b)
            """
        )
        assert [days for (days,) in counted] == [4.0, 1.0, 0.0, 10.0, 0.25, 0.0]


class TestStageLimits:
    async def test_are_recorded_as_of_the_moment_they_fell_due(self, tx: Tx, shop: Shop) -> None:
        began = tx.now
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        tx.now = began + timedelta(days=1)
        assert await sla.list_due(tx, None) == []
        tx.now = began + timedelta(days=4, hours=12)
        assert await sla.list_due(tx, None) == [shop.row.id]
        assert await sla.list_due(tx, shop.row.id) == []
        assert await sla.record_due(tx, shop.row.id) == 2
        assert await sla.list_due(tx, None) == []
        assert await sla.record_due(tx, shop.row.id) == 0
        warned, late = (await events.read(tx, lifecycle.STREAM, shop.row.id))[2:]
        assert (warned.occurred_at, late.occurred_at) == (began + timedelta(days=2), began + timedelta(days=4))
        assert (late.data["actual_days"], late.data["days_over"], late.actor_type) == (4.5, 0.5, "system")
        row = await _row(tx, shop.row.id)
        assert (row["is_sla_warning"], row["is_sla_breached"]) == (True, True)

    async def test_breaches_are_over_with_the_next_stage(self, tx: Tx, shop: Shop) -> None:
        began = tx.now
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        tx.now = began + timedelta(days=5)
        await sla.record_due(tx, shop.row.id)
        fact = "SELECT stage_name, sla_days, days_over, breached_at, resolved_at FROM sla_breach_facts"
        assert await tx.tuples(fact) == [("Lead", 4, Decimal("1.00"), began + timedelta(days=4), None)]
        await lifecycle.execute(
            tx, shop.me, shop.row.id, lifecycle.AdvanceStageIn(toStageId=shop.sales.stages["demo"].id)
        )
        assert (await tx.tuples(fact))[0][4] == tx.now
        row = await _row(tx, shop.row.id)
        assert (row["is_sla_warning"], row["is_sla_breached"], row["stage_sla_deadline"]) == (False, False, None)


class TestHealth:
    async def test_is_judged_when_its_facts_change_and_not_before(self, tx: Tx, shop: Shop) -> None:
        began = tx.now
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        assert await evaluating.list_changed(tx, None) == [shop.row.id]
        assert await evaluating.evaluate(tx, shop.row.id) is True
        assert await evaluating.list_changed(tx, None) == []
        assert await evaluating.evaluate(tx, shop.row.id) is False
        assert (await _row(tx, shop.row.id))["health_score"] == 100
        tx.now = began + timedelta(days=5)
        await sla.record_due(tx, shop.row.id)
        assert await evaluating.list_changed(tx, None) == [shop.row.id]
        assert await evaluating.evaluate(tx, shop.row.id) is True
        row = await _row(tx, shop.row.id)
        assert (row["health_score"], row["risk_level"]) == (85, "high")
        assert [factor["code"] for factor in row["risk_factors"]] == ["stage_sla_breached"]
        kinds = [event.type for event in await events.read(tx, lifecycle.STREAM, shop.row.id)]
        assert kinds[-2:] == ["CompanyProductHealthComputed", "CompanyProductRiskLevelSet"]

    async def test_counts_open_cases_and_what_was_rated_lately(self, tx: Tx, given: Any, shop: Shop) -> None:
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        for severity, commands in (
            ("high", []),
            ("low", [{"command": "resolve", "resolution_summary": "x"}, {"command": "submit_csat", "score": 2}]),
        ):
            case = await given.case(held=shop.row, severity=severity)
            for each in commands:
                await handling.execute(tx, SYSTEM, case.id, TypeAdapter(AnyCommand).validate_python(each))
        await evaluating.evaluate(tx, shop.row.id)
        row = await _row(tx, shop.row.id)
        assert (row["health_score"], [each["code"] for each in row["risk_factors"]]) == (
            65,
            ["high_case_open", "negative_impact"],
        )
        assert row["risk_level"] == "medium"
        tx.now += timedelta(days=91)
        await evaluating.evaluate(tx, shop.row.id)
        assert (await _row(tx, shop.row.id))["health_score"] == 75

    async def test_is_not_judged_of_what_nobody_looks_after(self, tx: Tx, shop: Shop) -> None:
        assert await evaluating.evaluate(tx, shop.row.id) is False
        await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetPhaseIn(toPhase="prospect"))
        assert await evaluating.list_changed(tx, None) == []


def _suggestion(command: str | None = None, **params: Any) -> lifecycle.CreateSuggestionIn:
    return lifecycle.CreateSuggestionIn(
        suggestionType="other",
        title="A thought",
        description="They wrote so.",
        confidence=0.9,
        sourceType="email",
        suggestedAction=lifecycle.SuggestedAction(command=command, params=params) if command else None,
    )


class TestSuggestions:
    async def test_are_all_that_an_agent_may_ask_for(self, tx: Tx, shop: Shop) -> None:
        agent = shop.me.for_run(uuid4())
        suggestion = _suggestion("set-tier", tier=4)
        await lifecycle.execute(tx, agent, shop.row.id, suggestion)
        for ask in (
            lifecycle.SetTierIn(tier=4),
            lifecycle.AcceptSuggestionIn(suggestionId=suggestion.suggestionId),
            lifecycle.DismissSuggestionIn(suggestionId=suggestion.suggestionId),
        ):
            with pytest.raises(lifecycle.AgentsSuggest):
                await lifecycle.execute(tx, agent, shop.row.id, ask)

    async def test_are_executed_as_whoever_accepts_them(self, tx: Tx, shop: Shop) -> None:
        await lifecycle.execute(tx, shop.me, shop.row.id, shop.start)
        demo = shop.sales.stages["demo"]
        suggestion = _suggestion("advance-stage", toStageId=str(demo.id))
        await lifecycle.execute(tx, shop.me.for_run(uuid4()), shop.row.id, suggestion)
        accept = lifecycle.AcceptSuggestionIn(suggestionId=suggestion.suggestionId)
        assert len(await lifecycle.execute(tx, shop.me, shop.row.id, accept)) == 2
        accepted, moved = (await events.read(tx, lifecycle.STREAM, shop.row.id))[-2:]
        assert (accepted.type, moved.type) == ("AISuggestionAccepted", "CompanyProductStageSet")
        assert (moved.actor_type, moved.actor_id, moved.data["trigger"]) == ("user", str(shop.me.user_id), "ai")
        (listed,) = (
            (await lifecycle.list_suggestions(tx, shop.me, lifecycle.SuggestionFilter(status="all")))
            .parse()
            .suggestions
        )
        assert (listed.status, listed.resolved_at) == ("accepted", tx.now)

    async def test_take_what_the_person_changes_about_them(self, tx: Tx, shop: Shop) -> None:
        suggestion = _suggestion("set-tier", tier=4)
        await lifecycle.execute(tx, shop.me, shop.row.id, suggestion)
        accept = lifecycle.AcceptSuggestionIn(suggestionId=suggestion.suggestionId, modification={"tier": 2})
        await lifecycle.execute(tx, shop.me, shop.row.id, accept)
        assert (await _row(tx, shop.row.id))["tier"] == 2

    async def test_are_accepted_wholly_or_not_at_all(self, tx: Tx, shop: Shop) -> None:
        suggestion = _suggestion("advance-stage", toStageId=str(uuid4()))
        await lifecycle.execute(tx, shop.me, shop.row.id, suggestion)
        accept = lifecycle.AcceptSuggestionIn(suggestionId=suggestion.suggestionId)
        with pytest.raises(rules.NoOpenProcess):
            await lifecycle.execute(tx, shop.me, shop.row.id, accept)
        assert len(await events.read(tx, lifecycle.STREAM, shop.row.id)) == 1

    async def test_may_be_a_task(self, tx: Tx, shop: Shop) -> None:
        suggestion = _suggestion("add-task", title="Send the offer")
        await lifecycle.execute(tx, shop.me.for_run(uuid4()), shop.row.id, suggestion)
        accept = lifecycle.AcceptSuggestionIn(suggestionId=suggestion.suggestionId)
        assert len(await lifecycle.execute(tx, shop.me, shop.row.id, accept)) == 1
        made = await tx.tuples("SELECT title, company_product_id, company_id, created_by FROM tasks")
        assert made == [("Send the offer", shop.row.id, shop.company.id, shop.me.user_id)]

    @pytest.mark.parametrize(
        ("command", "params"),
        [
            ("set-tier", {"tier": 9}),
            ("set-tier", {}),
            ("delete-everything", {}),
            ("add-task", {}),
            ("set-tier", {"tier": 1, "x": 1}),
        ],
    )
    async def test_are_refused_when_they_could_never_be_executed(
        self, tx: Tx, shop: Shop, command: str, params: dict[str, Any]
    ) -> None:
        with pytest.raises(rules.ActionUnknown) as refused:
            await lifecycle.execute(tx, shop.me, shop.row.id, _suggestion(command, **params))
        assert refused.value.details

    async def test_expire_by_themselves(self, tx: Tx, shop: Shop) -> None:
        suggestion = _suggestion().model_copy(update={"expiresAt": tx.now + timedelta(days=1)})
        await lifecycle.execute(tx, shop.me, shop.row.id, suggestion)
        assert (
            len((await lifecycle.list_suggestions(tx, shop.me, lifecycle.SuggestionFilter())).parse().suggestions) == 1
        )
        tx.now += timedelta(days=2)
        assert (await lifecycle.list_suggestions(tx, shop.me, lifecycle.SuggestionFilter())).parse().suggestions == []
        (gone,) = (
            (await lifecycle.list_suggestions(tx, shop.me, lifecycle.SuggestionFilter(status="expired")))
            .parse()
            .suggestions
        )
        assert gone.id == suggestion.suggestionId

    async def test_are_shown_to_those_who_may_act(self, tx: Tx, given: Any, shop: Shop) -> None:
        await lifecycle.execute(tx, shop.me, shop.row.id, lifecycle.SetOwnerIn(ownerId=_id(shop.me)))
        other = await given.user()
        await lifecycle.execute(tx, other.for_run(uuid4()), shop.row.id, _suggestion())
        for who, seen in ((shop.me, 1), (await given.user("manager"), 1), (other, 0)):
            listed = (await lifecycle.list_suggestions(tx, who, lifecycle.SuggestionFilter())).parse().suggestions
            assert len(listed) == seen


class TestPipelineCounts:
    async def test_follow_behind(self, db: Database) -> None:
        counts = projections.known(["pipeline_stage_counts"])[0]
        async with db.transaction() as tx:
            given = Given(tx)
            shop = await Shop(given).open()
            other = await given.held(shop.product)
            for row, mrr in ((shop.row, 100), (other, 50)):
                await lifecycle.execute(tx, shop.me, row.id, shop.start, lifecycle.SetMrrIn(mrr=Decimal(mrr)))
        assert await projections.catch_up(db, counts) == 6
        assert await _counts(db) == [("Lead", 2, 2, 0, 0, Decimal("150.00"), Decimal("75.00"), None, None)]
        async with db.transaction() as tx:
            tx.now += timedelta(days=3)
            await sla.record_due(tx, other.id)
            ask = lifecycle.AdvanceStageIn(toStageId=shop.sales.stages["demo"].id)
            await lifecycle.execute(tx, shop.me, shop.row.id, ask)
        await projections.catch_up(db, counts)
        assert await _counts(db) == [
            ("Demo", 1, 1, 0, 0, Decimal("100.00"), Decimal("50.00"), None, None),
            ("Lead", 1, 0, 1, 0, Decimal("50.00"), Decimal("25.00"), Decimal("3.00"), Decimal("3.00")),
        ]
        async with db.transaction() as tx:
            await lifecycle.execute(tx, SYSTEM, other.id, lifecycle.CloseSaleIn(outcome="lost"))
        await projections.catch_up(db, counts)
        assert [row[:2] for row in await _counts(db)] == [("Demo", 1), ("Lead", 0)]


async def _counts(db: Database) -> list[tuple[Any, ...]]:
    async with db.reading() as tx:
        return await tx.tuples(
            """
            SELECT s.name, total_count, active_count, stalled_count, breached_count, total_value, weighted_value,
                   c.avg_days_in_stage, c.median_days_in_stage
              FROM product_pipeline_stage_counts c JOIN product_process_stages s ON s.id = c.stage_id ORDER BY s.name
            """
        )


class TestGetOrCreate:
    async def test_makes_one_row_per_pair(self, tx: Tx, given: Any) -> None:
        company, product, me = await given.company(), await given.product(), await given.user()
        made = await company_products.get_or_create(tx, me, company.id, product.id)
        found = await company_products.get_or_create(tx, me, company.id, product.id)
        assert (made.created, found.created, made.id) == (True, False, found.id)

    async def test_refuses_what_does_not_exist(self, tx: Tx, given: Any) -> None:
        company, product, me = await given.company(), await given.product(), await given.user()
        with pytest.raises(company_products.CompanyUnknown):
            await company_products.get_or_create(tx, me, uuid4(), product.id)
        with pytest.raises(company_products.ProductUnknown):
            await company_products.get_or_create(tx, me, company.id, uuid4())


def _id(user: Any) -> UUID:
    assert user.user_id is not None
    return user.user_id
