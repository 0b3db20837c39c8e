"""Promises: kept once, brought up to date, fulfilled and overdue."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memory.db import Tx
from tests.given import Given
from tools import promises
from tools.promises import NewPromise


def new(text: str = "Send the quote", **values: Any) -> NewPromise:
    known: dict[str, Any] = {"direction": "they_promised", "promise_text": text, "confidence": 0.9, "quote": text}
    return NewPromise(**(known | values))


async def rows(tx: Tx) -> list[str]:
    return await tx.many(
        str,
        "SELECT promise_text || ' ' || status || CASE WHEN is_hidden THEN ' hidden' ELSE '' END FROM promises ORDER BY created_at, id",
    )


class TestUpsertPromises:
    async def test_takes_links_owner_and_promiser_from_the_message(self, tx: Tx, given: Given):
        rep = await given.user(name="Jo Park")
        dana = await given.contact("Dana Lee")
        mail = await given.communication(user=rep, contact=dana, occurred_at=given.ago(days=3))

        ours, theirs = await promises.upsert_promises(
            tx, mail.id, None, [new(direction="we_promised"), new(due_by=given.ahead(days=1), due_text="tomorrow")]
        )

        first, second = await given.fetch("promises", ours), await given.fetch("promises", theirs)
        assert (first.promiser_name, first.promiser_contact_id, first.status) == ("Jo Park", None, "pending")
        assert (second.promiser_name, second.promiser_contact_id, second.due_text) == ("Dana Lee", dana.id, "tomorrow")
        assert (second.company_id, second.owner_user_id, second.promised_at) == (
            dana.company_id,
            rep.user_id,
            mail.occurred_at,
        )

    async def test_knows_the_same_promise_in_other_spelling(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        [first] = await promises.upsert_promises(tx, mail.id, None, [new("Send the Quote.")])
        [second] = await promises.upsert_promises(
            tx, mail.id, None, [new("send the  quote", confidence=0.8), new("Send the quote!")]
        )

        assert first == second
        assert (await given.fetch("promises", first)).promise_text == "Send the quote!"

    async def test_leaves_what_was_kept_or_cancelled_as_it_is(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        [kept] = await promises.upsert_promises(tx, mail.id, None, [new()])
        await tx.run("UPDATE promises SET status = 'completed'")

        await promises.upsert_promises(tx, mail.id, None, [new(due_by=given.ago(days=1))])

        assert (await given.fetch("promises", kept)).status == "completed"

    async def test_hides_what_a_later_reading_does_not_find_and_shows_it_when_found_again(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        await promises.upsert_promises(tx, mail.id, None, [new("Call"), new("Write")])
        await promises.upsert_promises(tx, mail.id, None, [new("Write")])
        hidden = await rows(tx)
        await promises.upsert_promises(tx, mail.id, None, [new("Call"), new("Write")])

        assert sorted(hidden) == ["Call pending hidden", "Write pending"]
        assert sorted(await rows(tx)) == ["Call pending", "Write pending"]

    async def test_is_overdue_from_the_start_when_its_day_has_passed(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        await promises.upsert_promises(tx, mail.id, None, [new(due_by=given.ago(minutes=1))])

        assert await rows(tx) == ["Send the quote overdue"]


class TestCompletePromises:
    async def test_marks_them_kept_at_the_moment_of_the_message(self, tx: Tx, given: Given):
        rep = await given.user()
        acme = await given.company()
        promise = await given.promise(owner=rep, company=acme, status="overdue")
        mail = await given.communication(user=rep, company=acme, direction="outbound")

        assert await promises.complete_promises(tx, [promise.id], mail.id) == 1
        row = await given.fetch("promises", promise.id)
        assert (row.status, row.completed_at, row.completed_communication_id) == (
            "completed",
            mail.occurred_at,
            mail.id,
        )
        assert await promises.complete_promises(tx, [promise.id], mail.id) == 0

    @pytest.mark.parametrize("stranger", ["company", "owner", "later"])
    async def test_keeps_no_promise_that_is_not_the_messages_own(self, tx: Tx, given: Given, stranger: str):
        rep = await given.user()
        acme = await given.company()
        promise = await given.promise(
            owner=await given.user() if stranger == "owner" else rep,
            company=await given.company() if stranger == "company" else acme,
            promised_at=given.ahead(days=1) if stranger == "later" else given.ago(days=1),
        )
        mail = await given.communication(user=rep, company=acme)

        assert await promises.complete_promises(tx, [promise.id], mail.id) == 0


class TestMarkOverdue:
    async def test_marks_pending_ones_whose_day_has_passed(self, tx: Tx, given: Given):
        rep = await given.user()
        late = await given.promise(owner=rep, due_by=given.ago(minutes=1))
        await given.promise(owner=rep, due_by=given.ahead(minutes=1))
        await given.promise(owner=rep)
        await given.promise(owner=rep, due_by=given.ago(days=1), status="completed")

        assert await promises.mark_overdue(tx) == 1
        assert (await given.fetch("promises", late.id)).status == "overdue"
        assert await promises.mark_overdue(tx) == 0


def test_a_promise_of_another_direction_is_another_promise():
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1)

    assert new(due_by=moment).text_hash == new().text_hash
    assert new("Send the offer").text_hash != new().text_hash
