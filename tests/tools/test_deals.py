"""Deals and activities: who sees them, and what a review settles."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from memory.db import Tx
from tools import activities, deals
from tools.activities import ActivityFilter, ActivityNotFound, DealOfOtherCompany, ResolveReviewIn, ReviewDone
from tools.deals import CreateDealIn, DealFilter, DealNotFound


async def names_of(tx: Tx, caller: Any, **filter: Any) -> list[str]:
    return [deal.name for deal in (await deals.list_deals(tx, caller, DealFilter(**filter))).parse().deals]


class TestListDeals:
    async def test_shows_owner_collaborator_and_manager_what_is_theirs(self, tx: Tx, given: Any) -> None:
        owner, helper, stranger, manager = [await given.user(role) for role in ("rep", "rep", "rep", "manager")]
        deal = await given.deal(owner=owner, name="Theirs")
        await given.row("deal_collaborators", deal_id=deal.id, user_id=helper.user_id)
        shown = [await names_of(tx, who) for who in (owner, helper, stranger, manager)]
        assert shown == [["Theirs"], ["Theirs"], [], ["Theirs"]]

    async def test_hides_closed_ones_unless_their_stage_is_asked_for(self, tx: Tx, given: Any) -> None:
        owner = await given.user()
        await given.deal(owner=owner, name="Open")
        await given.deal(owner=owner, name="Won", stage="closed_won")
        assert await names_of(tx, owner) == ["Open"]
        assert await names_of(tx, owner, stage="closed_won") == ["Won"]


class TestCreateDeal:
    async def test_belongs_to_whoever_creates_it_and_begins_its_history(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        body = CreateDealIn(name="First", company_id=acme.id, estimated_value=Decimal("12.50"))
        made = (await deals.create_deal(tx, rep, body)).deal
        row = await given.fetch("deals", made.id)
        assert (row.owner_id, row.health_score, row.estimated_value) == (rep.user_id, 50, Decimal("12.50"))
        assert await tx.many(str, "SELECT to_stage FROM deal_stage_history WHERE deal_id = %(d)s", d=made.id) == [
            "new_lead"
        ]

    def test_may_not_begin_closed(self) -> None:
        with pytest.raises(ValidationError):
            CreateDealIn.model_validate(
                {"name": "x", "company_id": "7b0e4b5e-7d2f-4f5e-9d7f-1f8f5f2b3c4d", "stage": "closed_won"}
            )

    async def test_others_do_not_find_it(self, tx: Tx, given: Any) -> None:
        deal = await given.deal(owner=await given.user())
        with pytest.raises(DealNotFound):
            await deals.get_deal(tx, await given.user(), deal.id)


class TestListActivities:
    async def test_knows_families_and_hides_other_peoples(self, tx: Tx, given: Any) -> None:
        me, other = await given.user(), await given.user()
        for kind in ("call_made", "call_received", "note"):
            await given.activity(user=me, type=kind, subject=kind)
        await given.activity(user=other, type="call_made", subject="theirs")
        shown = (await activities.list_activities(tx, me, ActivityFilter(type="call"))).parse()
        assert {row.subject for row in shown.activities} == {"call_made", "call_received"}

    async def test_shows_upcoming_ones_in_order(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        for days, subject in ((2, "later"), (1, "sooner"), (-1, "past")):
            await given.activity(user=me, type="calendar_event", subject=subject, occurred_at=given.ahead(days=days))
        shown = (await activities.list_activities(tx, me, ActivityFilter(upcoming=True))).parse()
        assert [row.subject for row in shown.activities] == ["sooner", "later"]


class TestResolveReview:
    async def test_matches_and_completes_the_task_that_asked(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        activity = await given.activity(user=me, match_status="review_needed")
        task = await given.task(user=me, subject_type="activity", subject_id=activity.id)
        body = ResolveReviewIn(activityId=activity.id, action="match", dealId=deal.id)
        done = await activities.resolve_review(tx, me, body)
        assert (done.activity.companyId, done.activity.matchStatus) == (deal.company_id, "matched")
        assert (await given.fetch("tasks", task.id)).completed_at == tx.now
        assert await activities.resolve_review(tx, me, body) == done

    async def test_refuses_to_turn_a_decision_round(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        activity = await given.activity(user=me, match_status="excluded")
        deal = await given.deal(owner=me)
        with pytest.raises(ReviewDone):
            await activities.resolve_review(
                tx, me, ResolveReviewIn(activityId=activity.id, action="match", dealId=deal.id)
            )

    async def test_refuses_a_deal_of_another_company(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        activity, deal, other = (
            await given.activity(user=me, match_status="pending"),
            await given.deal(owner=me),
            await given.company(),
        )
        with pytest.raises(DealOfOtherCompany):
            await activities.resolve_review(
                tx, me, ResolveReviewIn(activityId=activity.id, action="match", dealId=deal.id, companyId=other.id)
            )

    async def test_other_peoples_activities_are_not_found(self, tx: Tx, given: Any) -> None:
        activity = await given.activity(user=await given.user(), match_status="pending")
        with pytest.raises(ActivityNotFound):
            await activities.resolve_review(
                tx, await given.user(), ResolveReviewIn(activityId=activity.id, action="exclude")
            )
