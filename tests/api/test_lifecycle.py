"""Lifecycle commands over HTTP: who may, what is answered, what is refused with which rule, what is done once."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from memory.db import Database, Tx
from tests.given import Given
from tests.tools.shop import Shop
from tools import lifecycle

COMMANDS = "/api/lifecycle/commands"


@pytest.fixture
async def shop(given: Any) -> Shop:
    return await Shop(given).open()


def ask(shop: Any, action: str, **params: Any) -> dict[str, Any]:
    return {
        "action": action,
        "companyProductId": str(shop.row.id),
        "companyId": str(shop.company.id),
        "productId": str(shop.product.id),
        **params,
    }


def start(shop: Any, **params: Any) -> dict[str, Any]:
    return ask(shop, "start-sale", processId=str(shop.sales.id), **params)


class TestCommands:
    async def test_go_all_the_way(self, rep: Any, shop: Shop) -> None:
        won = ask(
            shop, "complete-process", terminalStageId=str(shop.sales.stages["won"].id), outcome="won", notes="Signed"
        )
        steps = [
            (start(shop), 2),
            (ask(shop, "advance-stage", toStageId=str(shop.sales.stages["demo"].id), reason="They asked"), 1),
            (ask(shop, "set-tier", tier=1), 1),
            (ask(shop, "set-mrr", mrr=99.5, currency="EUR"), 1),
            (ask(shop, "set-seats", seats=12), 1),
            (ask(shop, "set-next-step-due", nextStep="Sign", dueDate="2026-12-01"), 1),
            (ask(shop, "set-owner", ownerId=str(rep.caller.user_id)), 1),
            (won, 3),
            (ask(shop, "complete-onboarding-start-engagement"), 2),
            (ask(shop, "set-phase", toPhase="churned", churnReason="Moved away"), 1),
            (start(shop), 3),
            (ask(shop, "complete-sale-start-onboarding"), 3),
            (ask(shop, "add-note", content="All is well."), 1),
            (ask(shop, "record-activity", activityType="call_made"), 1),
        ]  # fmt: skip
        sequence = 0
        for body, expected in steps:
            response = await rep.post(COMMANDS, json=body)
            assert response.status_code == 200, (body["action"], response.text)
            answer = response.json()
            numbers = [event["sequenceNumber"] for event in answer["result"]]
            assert numbers == list(range(sequence + 1, sequence + expected + 1)), body["action"]
            assert answer["success"] is True
            assert answer["projection"]["eventsProcessed"] == expected
            sequence += expected

    async def test_answer_nothing_when_nothing_changes(self, rep: Any, shop: Shop) -> None:
        for expected in (1, 0):
            answer = (await rep.post(COMMANDS, json=ask(shop, "set-tier", tier=2))).json()
            assert (len(answer["result"]), answer["success"]) == (expected, True)

    @pytest.mark.parametrize(
        ("action", "params", "said"),
        [
            ("set-phase", {"toPhase": "active"}, "cannot go to phase active"),
            ("advance-stage", {"toStageId": str(uuid4())}, "No sales, onboarding or engagement process is open"),
            ("complete-sale-start-onboarding", {}, "No sales process is open"),
            ("start-sale", {"processId": str(uuid4())}, "does not exist"),
            ("set-owner", {"ownerId": str(uuid4())}, "is not active"),
            ("set-tier", {"tier": 6}, None),
            ("set-tier", {"tier": 1, "color": "red"}, None),
            ("set-mrr", {"mrr": -1}, None),
            ("set-next-step-due", {"nextStep": "  ", "dueDate": "2026-12-01"}, None),
            ("set-next-step-due", {"nextStep": "Call", "dueDate": "2026-02-30"}, None),
            ("adopt", {"toPhase": "active", "reason": "x"}, None),
            ("sla-breach", {}, None),
        ],
    )
    async def test_are_refused_with_the_rule_named(
        self, rep: Any, shop: Shop, action: str, params: dict[str, Any], said: str | None
    ) -> None:
        response = await rep.post(COMMANDS, json=ask(shop, action, **params))
        assert response.status_code == 400
        assert said is None or said in response.json()["error"]

    async def test_refuse_another_company_or_product_and_unknown_ids(self, rep: Any, shop: Shop) -> None:
        for wrong, status in ((("companyId", 400), 400), (("productId", 400), 400), (("companyProductId", 404), 404)):
            response = await rep.post(COMMANDS, json=start(shop) | {wrong[0]: str(uuid4())})
            assert response.status_code == status, wrong

    async def test_refuse_to_act_as_somebody_else(self, rep: Any, shop: Shop) -> None:
        for claim in ({"actorType": "system"}, {"actorType": "ai"}, {"actorId": str(uuid4())}):
            assert (await rep.post(COMMANDS, json=start(shop, **claim))).status_code == 403
        own = {"actorType": "user", "actorId": str(rep.caller.user_id)}
        assert (await rep.post(COMMANDS, json=start(shop, **own))).status_code == 200

    async def test_are_for_owner_and_managers(
        self, rep: Any, manager: Any, sign_in: Callable[..., Any], given: Any, shop: Shop
    ) -> None:
        await rep.post(COMMANDS, json=ask(shop, "set-owner", ownerId=str(rep.caller.user_id)))
        other = await sign_in(await given.user())
        refused = await other.post(COMMANDS, json=start(shop))
        assert (refused.status_code, refused.json()["error"]) == (
            403,
            "Only its owner or a manager may change this product.",
        )
        assert (await manager.post(COMMANDS, json=start(shop))).status_code == 200

    async def test_tell_the_version_when_it_moved(self, rep: Any, shop: Shop) -> None:
        await rep.post(COMMANDS, json=start(shop))
        stale = await rep.post(COMMANDS, json=ask(shop, "set-tier", tier=1, expectedVersion=1))
        assert (stale.status_code, stale.json()["currentVersion"]) == (409, 2)
        header = await rep.post(COMMANDS, json=ask(shop, "set-tier", tier=1), headers={"If-Match": '"1"'})
        assert (header.status_code, header.json()["currentVersion"]) == (409, 2)
        both = await rep.post(
            COMMANDS, json=ask(shop, "set-tier", tier=1, expectedVersion=2), headers={"If-Match": "1"}
        )
        assert both.status_code == 400
        right = await rep.post(
            COMMANDS, json=ask(shop, "set-tier", tier=1, expectedVersion=2), headers={"If-Match": "2"}
        )
        assert right.status_code == 200

    async def test_log_what_was_refused(self, tx: Tx, rep: Any, shop: Shop) -> None:
        await rep.post(COMMANDS, json=ask(shop, "set-phase", toPhase="active"))
        logged = await tx.tuples("SELECT action, status, result ->> 'rule' FROM command_log")
        assert logged == [("set-phase", "failed", "PhaseOutOfOrder")]


class TestMoveStage:
    async def test_moves_and_ends_sales(self, rep: Any, given: Any, shop: Shop) -> None:
        path = f"/api/company-products/{shop.row.id}/move-stage"
        await rep.post(COMMANDS, json=start(shop))
        moved = await rep.post(path, json={"stage_id": str(shop.sales.stages["demo"].id), "actor_id": "ignored"})
        assert (moved.status_code, set(moved.json())) == (200, {"success", "eventId"})
        declined = await rep.post(path, json={"outcome": "declined", "reason": "Budget", "expectedVersion": 3})
        assert declined.status_code == 200
        row = (await given.tx.tuples("SELECT status, declined_reason FROM company_product_read_model"))[0]
        assert row == ("declined", "Budget")

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({}, 400),
            ({"outcome": "won", "stage_id": str(uuid4())}, 400),
            ({"outcome": "lost"}, 400),
            ({"stage_id": str(uuid4())}, 400),
            ({"outcome": "won", "expectedVersion": 1}, 409),
        ],
    )
    async def test_refuses_what_is_no_move(self, rep: Any, shop: Shop, body: dict[str, Any], status: int) -> None:
        await rep.post(COMMANDS, json=start(shop))
        assert (await rep.post(f"/api/company-products/{shop.row.id}/move-stage", json=body)).status_code == status

    async def test_does_not_know_others(self, rep: Any) -> None:
        response = await rep.post(f"/api/company-products/{uuid4()}/move-stage", json={"outcome": "won"})
        assert response.status_code == 404


class TestSuggestions:
    async def test_are_listed_and_accepted(self, tx: Tx, rep: Any, shop: Shop) -> None:
        suggestion = lifecycle.CreateSuggestionIn(
            suggestionType="set_tier", title="A tier", description="They grow.", confidence=0.9, sourceType="email",
            suggestedAction=lifecycle.SuggestedAction(command="set-tier", params={"tier": 4}),
        )  # fmt: skip
        await lifecycle.execute(tx, rep.caller.for_run(uuid4()), shop.row.id, suggestion)
        await tx.finish()
        (listed,) = (await rep.get("/api/lifecycle/suggestions")).json()["suggestions"]
        assert (listed["company"]["name"], listed["suggested_action"]["command"]) == ("Acme", "set-tier")
        accepted = await rep.post(COMMANDS, json=ask(shop, "accept-suggestion", suggestionId=listed["id"]))
        assert len(accepted.json()["result"]) == 2
        again = await rep.post(COMMANDS, json=ask(shop, "accept-suggestion", suggestionId=listed["id"]))
        assert again.status_code == 409
        gone = await rep.post(COMMANDS, json=ask(shop, "dismiss-suggestion", suggestionId=str(uuid4())))
        assert gone.status_code == 404


class TestTogether:
    @pytest.fixture
    async def open_shop(self, db: Database) -> Shop:
        async with db.transaction() as tx:
            return await Shop(Given(tx)).open()

    async def test_one_of_many_wins_a_version(self, live: Any, open_shop: Shop) -> None:
        bodies = [ask(open_shop, "set-tier", tier=tier, expectedVersion=0) for tier in (1, 2, 3, 4, 5)]
        answers = await asyncio.gather(*(live.post(COMMANDS, json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
        assert {answer.json()["currentVersion"] for answer in answers if answer.status_code == 409} == {1}

    async def test_nothing_is_lost_without_a_version(self, db: Database, live: Any, open_shop: Shop) -> None:
        bodies = [ask(open_shop, "add-note", content=f"Note {number}") for number in range(12)]
        answers = await asyncio.gather(*(live.post(COMMANDS, json=body) for body in bodies))
        numbers = sorted(answer.json()["result"][0]["sequenceNumber"] for answer in answers)
        assert numbers == list(range(1, 13))
        async with db.reading() as tx:
            (kept,) = await tx.tuples("SELECT count(DISTINCT event_data ->> 'content') FROM event_store")
        assert kept == (12,)

    async def test_a_repeated_key_is_one_command(self, db: Database, live: Any, open_shop: Shop) -> None:
        headers = {"Idempotency-Key": "twice"}
        body = ask(open_shop, "add-note", content="Once")
        first = await live.post(COMMANDS, json=body, headers=headers)
        again = await live.post(COMMANDS, json=body, headers=headers)
        assert first.json()["result"] == again.json()["result"]
        # The answers of the HTTP layer are kept for a day; the command itself is remembered for good.
        async with db.transaction() as tx:
            await tx.run("DELETE FROM idempotency_keys")
        later = await live.post(COMMANDS, json=body, headers=headers)
        assert later.json()["result"] == first.json()["result"]
        async with db.transaction() as tx:
            await tx.run("DELETE FROM idempotency_keys")
        other = await live.post(COMMANDS, json=body | {"content": "Twice"}, headers=headers)
        assert other.status_code == 409
