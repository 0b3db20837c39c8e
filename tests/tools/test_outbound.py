"""A letter leaves once: clicked twice, promised twice, or with its answer lost."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.jobs.kit import run_due_jobs
from memory import outbox
from memory.effects import EffectElsewhere
from tests.given import Given
from tests.tools.desk import SETTINGS, VAULT, Desk
from tests.tools.exchange import error, token_cache
from tools import mail_accounts, outbound, outbound_rows
from tools.clients.microsoft import MailRefused, MailServiceBusy, NeedsReauth
from tools.communications.rows import CommunicationNotFound
from tools.ingest import runs, store
from tools.ingest.rows import prepare
from tools.mail.messages import Address, Mail
from tools.mail.sources import Item, Place
from tools.mail_accounts import Mailboxes, MailboxNotConnected
from tools.outbound import DeliveryRow, MailChanged, MailUnderway, OutcomeUnknown

NO_ADDRESSES = (
    "ann", "ann@", "@acme.example", "ann@acme", "a b@acme.example", "ann@acme.example>, <x@y.example",
    "ann@acme.example\nBcc: x@y.example", "ann@-acme.example", "ann@acme..example",
)  # fmt: skip
PLACEHOLDERS = (
    "Dear {{first_name}},", "Dear [Name],", "[Your Company]", "by [DATE]", "see [insert link here]", "[[x]]", "<insert price>",
    "[contact name]", "[TODO]", "[XXX]",
)  # fmt: skip
BRACKETS = (
    "see [1] and [2]", "a[0] = b", "[x] done", "{json: 1}", "[sic]", "[your site](https://a.example)", "1 < 2 > 0",
)  # fmt: skip


class TestSendMail:
    async def test_answers_in_the_thread_and_writes_down_what_follows(self, desk: Desk):
        sent = await desk.send(desk.letter(cc=["Bob@acme.example"]))
        (message,) = desk.exchange.sent
        assert sent == DeliveryRow(
            status="sent", message_id=message["id"], is_draft=False, communication_id=sent.communication_id
        )
        assert message["conversationId"] == "c-9"
        assert "<p>Yes, until Friday.</p>" in message["body"]["content"]
        (row,) = await desk.many(
            """
            SELECT to_jsonb(c) - 'search' FROM communications c WHERE id = %(id)s
            """,
            id=sent.communication_id,
        )
        expected = {
            "user_id": str(desk.rep.user_id),
            "company_id": str(desk.company_id),
            "contact_id": str(desk.contact_id),
            "channel": "email",
            "direction": "outbound",
            "subject": "Re: Prices",
            "full_content": "Yes, until Friday.",
            "content_preview": "Yes, until Friday.",
            "sender_email": "ann@acme.example",
            "sender_name": "Ann Acme",
            "thread_id": "c-9",
            "provider": "microsoft",
            "external_id": message["id"],
            "in_reply_to_id": "asked@acme.example",
            "awaiting_their_response": True,
            "analysis_status": "pending",
            "match_method": "contact_email",
            "is_ai_generated": False,
        }
        assert {name: row[name] for name in expected} == expected
        assert [person["email"] for person in row["their_participants"]] == ["ann@acme.example", "bob@acme.example"]
        (answered,) = await desk.many(
            """
            SELECT jsonb_build_object('waits', awaiting_our_response, 'answer', response_communication_id, 'at', responded_at IS NOT NULL)
              FROM communications WHERE id = %(id)s
            """,
            id=desk.inbound_id,
        )
        assert answered == {"waits": False, "answer": str(sent.communication_id), "at": True}
        assert await desk.many("SELECT status FROM email_conversations WHERE conversation_id = 'c-9'") == [
            "awaiting_response"
        ]
        assert await desk.many("SELECT action_type || ': ' || content FROM communication_notes") == [
            "sent_reply: Sent to ann@acme.example: Re: Prices"
        ]

    async def test_writes_a_new_mail_when_there_is_nothing_to_answer(self, desk: Desk):
        sent = await desk.send(desk.letter(communication_id=None, subject="Hello\n there"))
        assert desk.exchange.done["reply"] == 0
        assert desk.exchange.sent[0]["subject"] == "Hello there"
        assert await desk.many(
            "SELECT action_type FROM communication_notes WHERE communication_id = %(id)s", id=sent.communication_id
        ) == ["sent_email"]

    async def test_answers_what_came_by_another_way_in_its_thread(self, desk: Desk):
        async with desk.db.transaction() as tx:
            await tx.run(
                "UPDATE communications SET provider = 'mail', external_id = 'x', thread_id = 'old' WHERE id = %(id)s",
                id=desk.inbound_id,
            )
        sent = await desk.send(desk.letter())
        assert desk.exchange.done["reply"] == 1  # found by its Message-ID
        assert await desk.many("SELECT thread_id FROM communications WHERE id = %(id)s", id=sent.communication_id) == [
            "old"
        ]

    async def test_uses_up_a_draft(self, desk: Desk):
        async with desk.db.transaction() as tx:
            draft = await Given(tx).row(
                "email_drafts", user_id=desk.rep.user_id, origin="communication", subject="Re: Prices", body_text="Yes.",
                communication_id=desk.inbound_id,
            )  # fmt: skip
        sent = await desk.send(desk.letter(draft_id=draft.id))
        async with desk.db.transaction() as tx:
            kept = await Given(tx).fetch("email_drafts", draft.id)
            assert (kept.status, kept.sent_message_id, kept.approved_by) == ("sent", sent.message_id, desk.rep.user_id)
            communication = await Given(tx).fetch("communications", sent.communication_id or uuid4())
        assert (communication.is_ai_generated, communication.ai_approved_by) == (True, desk.rep.user_id)
        assert await desk.send(desk.letter(draft_id=draft.id)) == sent
        with pytest.raises(outbound_rows.DraftUnusable, match="is sent"):
            await desk.send(desk.letter("Another answer.", draft_id=draft.id))
        with pytest.raises(outbound_rows.DraftUnknown):
            await desk.send(desk.letter("Another answer.", draft_id=uuid4()))

    async def test_leaves_a_draft_in_draft_mode(self, desk: Desk):
        async with desk.db.transaction() as tx:
            await mail_accounts.choose_send_mode(tx, desk.rep, "draft")
        drafted = await desk.send(desk.letter())
        assert (drafted.status, drafted.is_draft, drafted.communication_id) == ("drafted", True, None)
        assert desk.exchange.sent == []
        assert desk.exchange.messages[drafted.message_id or ""]["isDraft"]
        assert await desk.send(desk.letter()) == drafted
        assert desk.exchange.done["reply"] == 1
        assert await desk.many("SELECT awaiting_our_response FROM communications") == [True]

    async def test_keeps_the_renewed_tokens_sealed(self, desk: Desk):
        await desk.send(desk.letter())
        (sealed,) = await desk.many("SELECT token_cache FROM mail_accounts")
        assert b"refresh" not in sealed
        assert b"refresh-after-token-1" in VAULT.open(f"mail_accounts:{desk.rep.user_id}", sealed)
        await desk.send(desk.letter("Another answer."))
        assert desk.exchange.sign_in.route.call_count == 1  # pyright: ignore[reportAttributeAccessIssue]

    async def test_knows_the_copy_that_comes_back_from_sent_items(self, desk: Desk):
        await desk.send(desk.letter())
        message = desk.exchange.sent[0]
        copy = Mail(
            form="graph", message_id=message["internetMessageId"].strip("<>"), provider_id=message["id"], conversation_id="c-9",
            subject="Re: Prices", sender=Address("rep@ours.example"), to=[Address("ann@acme.example")], text="Yes, until Friday.",
        )  # fmt: skip
        async with desk.db.transaction() as tx:
            house = await runs.get_house(tx, "rep@ours.example", None)
            stored = await store.store_batch(
                tx, house, [prepare(Item(Place("", 0), Place("", 0), copy), house)], undated_at=tx.now
            )
        assert (stored.written, stored.duplicates) == (0, 1)


class TestRefusals:
    async def test_nobody_sends_without_a_mailbox(self, desk: Desk):
        async with desk.db.transaction() as tx:
            other = await Given(tx).user("manager", auth_id="m", email="m@ours.example")
            with pytest.raises(MailboxNotConnected) as refused:
                await outbound.promise_mail(tx, other, desk.letter())
        assert refused.value.status == 400
        async with desk.db.transaction() as tx:
            assert await mail_accounts.disconnect_account(tx, desk.rep)
            with pytest.raises(MailboxNotConnected):
                await outbound.promise_mail(tx, desk.rep, desk.letter())

    async def test_nobody_answers_what_they_may_not_see(self, desk: Desk):
        async with desk.db.transaction() as tx:
            other = await Given(tx).user(auth_id="o", email="o@ours.example")
            await mail_accounts.connect_account(tx, VAULT, other.user_id or uuid4(), "o@ours.example", token_cache())
            with pytest.raises(CommunicationNotFound):
                await outbound.promise_mail(tx, other, desk.letter())

    async def test_no_mail_goes_to_what_is_no_address(self, desk: Desk):
        for address in NO_ADDRESSES:
            for side in ("to", "cc", "bcc"):
                with pytest.raises(outbound.AddressUnusable):
                    await desk.send(desk.letter(**dict[str, Any]({side: [address]})))
        assert desk.exchange.requests == []

    async def test_no_mail_leaves_with_a_placeholder(self, desk: Desk):
        for text in PLACEHOLDERS:
            for letter in (desk.letter(f"Hi,\n{text}\nbye"), desk.letter(subject=text)):
                with pytest.raises(outbound.PlaceholderLeft):
                    await desk.send(letter)
        assert desk.exchange.requests == []

    async def test_brackets_are_no_placeholders(self, desk: Desk):
        for text in BRACKETS:
            assert (await desk.send(desk.letter(text))).status == "sent"

    async def test_what_the_mailbox_refuses_can_be_sent_again(self, desk: Desk):
        desk.exchange.fault("reply", error(400, "ErrorInvalidRecipients"))
        with pytest.raises(MailRefused):
            await desk.send(desk.letter())
        assert (await desk.effect(desk.letter())).status == "failed"
        assert await desk.later() == [outbound.JOB]
        assert desk.exchange.sent == []  # the person was told, and decides
        await desk.send(desk.letter())
        assert len(desk.exchange.sent) == 1

    async def test_a_withdrawn_consent_is_remembered(self, desk: Desk):
        desk.exchange.sign_in.refused = "invalid_grant"  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(NeedsReauth):
            await desk.send(desk.letter())
        assert await desk.many("SELECT status FROM mail_accounts") == ["needs_reauth"]
        with pytest.raises(NeedsReauth):
            await desk.send(desk.letter())
        async with desk.db.transaction() as tx:
            await mail_accounts.connect_account(
                tx, VAULT, desk.rep.user_id or uuid4(), "rep@ours.example", token_cache()
            )
        desk.exchange.sign_in.refused = None  # pyright: ignore[reportAttributeAccessIssue]
        assert (await desk.send(desk.letter())).status == "sent"

    async def test_a_token_that_the_mailbox_refuses_is_remembered(self, desk: Desk):
        for _ in range(2):
            desk.exchange.fault("reply", error(401, "InvalidAuthenticationToken"))
        with pytest.raises(NeedsReauth):
            await desk.send(desk.letter())
        assert await desk.many("SELECT status FROM mail_accounts") == ["needs_reauth"]

    async def test_without_an_app_registration_nothing_is_held(self, desk: Desk):
        elsewhere = Mailboxes(SETTINGS.model_copy(update={"microsoft_client_id": None}), desk.db.transaction)
        for _ in range(2):
            with pytest.raises(mail_accounts.MailNotConfigured):
                await outbound.send_mail(desk.db.transaction, elsewhere, desk.rep, desk.letter())
        await elsewhere.close()
        assert (await desk.send(desk.letter())).status == "sent"

    async def test_a_busy_mailbox_gets_the_same_draft_again(self, desk: Desk):
        desk.exchange.fault("send", error(429, "ApplicationThrottled", **{"Retry-After": "300"}))
        with pytest.raises(MailServiceBusy):
            await desk.send(desk.letter())
        await desk.send(desk.letter())
        assert len(desk.exchange.sent) == desk.exchange.done["reply"] == 1


class TestOnce:
    async def test_a_double_click_is_one_mail(self, desk: Desk):
        results = await asyncio.gather(*(desk.send(desk.letter()) for _ in range(5)), return_exceptions=True)
        outcomes = [result for result in results if isinstance(result, DeliveryRow)]
        assert outcomes
        assert all(isinstance(result, MailUnderway) for result in results if not isinstance(result, DeliveryRow))
        assert await desk.send(desk.letter()) == outcomes[0]
        assert len(desk.exchange.sent) == desk.exchange.done["reply"] == 1

    async def test_the_same_words_with_another_copy_are_not_sent_over_it(self, desk: Desk):
        await desk.send(desk.letter())
        with pytest.raises(MailChanged):
            await desk.send(desk.letter(cc=["bob@acme.example"]))

    async def test_a_job_after_a_mail_that_left_does_nothing(self, desk: Desk):
        await desk.send(desk.letter())
        assert await desk.later() == [outbound.JOB]
        assert len(desk.exchange.sent) == 1

    async def test_a_promised_letter_is_sent_by_the_job(self, desk: Desk):
        async with desk.db.transaction() as tx:
            await outbound.promise_mail(tx, desk.rep, desk.letter())
        assert desk.exchange.requests == []
        assert outbound.JOB in await run_due_jobs(desk.db, settings=SETTINGS, rounds=1)
        assert len(desk.exchange.sent) == 1

    async def test_a_promise_that_is_undone_sends_nothing(self, desk: Desk):
        async def fail() -> None:
            async with desk.db.transaction() as tx:
                await outbound.promise_mail(tx, desk.rep, desk.letter())
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail()
        assert await desk.later() == []
        assert desk.exchange.sent == []

    async def test_many_workers_with_one_letter_send_it_once(self, desk: Desk):
        async with desk.db.transaction() as tx:
            effect = await outbound.promise_mail(tx, desk.rep, desk.letter())
        results = await asyncio.gather(
            *(outbound.resume_mail(desk.db.transaction, desk.mailboxes, effect.key) for _ in range(6)),
            return_exceptions=True,
        )
        assert all(isinstance(result, (DeliveryRow, MailUnderway, EffectElsewhere)) for result in results)
        assert len(desk.exchange.sent) == 1


class TestLostAnswer:
    async def test_a_mail_that_left_without_an_answer_is_recognised_at_once(self, desk: Desk):
        desk.exchange.fault("send", httpx.ReadTimeout("slow"), after=True)
        assert (await desk.send(desk.letter())).status == "sent"
        assert len(desk.exchange.sent) == 1

    @pytest.mark.parametrize("left", [True, False])
    async def test_nobody_sends_again_what_may_have_left(self, desk: Desk, left: bool):
        desk.exchange.fault("send", httpx.ReadTimeout("slow"), after=left)
        desk.exchange.fault("find", error(500, "InternalServerError"), times=4)
        with pytest.raises(OutcomeUnknown):
            await desk.send(desk.letter())
        with pytest.raises(OutcomeUnknown):
            await desk.send(desk.letter())
        assert len(desk.exchange.sent) == left
        assert await desk.later() == [outbound.JOB]
        assert len(desk.exchange.sent) == desk.exchange.done["reply"] == 1
        assert (await desk.send(desk.letter())).status == "sent"
        assert await desk.many("SELECT count(*) FROM communications WHERE direction = 'outbound'") == [1]

    async def test_what_the_mailbox_forgot_waits_for_a_person(self, desk: Desk):
        desk.exchange.fault("send", httpx.ReadTimeout("slow"), after=True)
        desk.exchange.fault("find", error(500, "InternalServerError"), times=4)
        with pytest.raises(OutcomeUnknown):
            await desk.send(desk.letter())
        desk.exchange.messages.clear()  # sent, and deleted by the person
        for _ in range(8):
            assert await desk.later() == []
        (effect,) = [await desk.effect(desk.letter())]
        assert effect.status == "unknown"
        async with desk.db.reading() as tx:
            (dead,) = await outbox.list_promises(tx, "dead")
        assert dead.error == OutcomeUnknown().message
        assert len(desk.exchange.sent) == 1
