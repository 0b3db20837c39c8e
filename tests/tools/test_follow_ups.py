"""A letter that deals with a flag leaves once, and what follows from it is written once."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from memory.callers import Caller
from tests.given import Given
from tests.tools.desk import VAULT, Desk
from tests.tools.exchange import error, token_cache
from tests.tools.sales import a_process, a_sale, standing
from tests.tools.test_outbound_kills import Fate, Killed
from tools import follow_ups, mail_accounts, outbound
from tools.attention import flags
from tools.attention.rows import FlagNotFound, FlagNotOpen, NotForMail, NotYourFlag
from tools.clients.microsoft import NeedsReauth
from tools.follow_ups import FollowUpSentOut, MailInDoubt, MailNotSent, MarkSentIn, SendFollowUpIn
from tools.mail_accounts import MailboxNotConnected
from tools.outbound import AddressUnusable, MailUnderway, PlaceholderLeft


@dataclass
class Stall:
    """A stalled sale of the rep's at the desk, and its flag."""

    desk: Desk
    sale_id: UUID
    flag_id: UUID

    async def send(
        self, body: str = "Shall we talk on Friday?", *, caller: Caller | None = None, **fields: Any
    ) -> FollowUpSentOut:
        letter = SendFollowUpIn.model_validate(
            {"to": "Ann@acme.example", "subject": "How do we go on?", "body": body} | fields
        )
        return await follow_ups.send_follow_up(
            self.desk.db.transaction, self.desk.mailboxes, caller or self.desk.rep, self.flag_id, letter
        )

    async def mark(self, body: str = "I called.", **fields: Any) -> follow_ups.MarkedSentOut:
        said = MarkSentIn.model_validate(
            {"channel": "call", "to": "+1 555 0100", "subject": "How do we go on?", "body": body} | fields
        )
        async with self.desk.db.transaction() as tx:
            return await follow_ups.mark_sent(tx, self.desk.rep, self.flag_id, said)

    async def flag(self) -> Any:
        async with self.desk.db.transaction() as tx:
            return await Given(tx).fetch("attention_flags", self.flag_id)

    async def row(self) -> dict[str, Any]:
        async with self.desk.db.transaction() as tx:
            return await standing(Given(tx), self.sale_id)

    async def events(self) -> list[str]:
        return await self.desk.many(
            "SELECT event_type FROM event_store WHERE aggregate_id = %(id)s ORDER BY sequence_number", id=self.sale_id
        )


@pytest.fixture
async def stall(desk: Desk) -> Stall:
    return await another(desk, "")


async def another(desk: Desk, name: str) -> Stall:
    """One more stalled sale at the same company."""
    async with desk.db.transaction() as tx:
        given = Given(tx)
        acme = await given.fetch("companies", desk.company_id)
        process = await a_process(given, await given.product(f"Scanner {name}"))
        sale = await a_sale(given, process, company=acme, owner=desk.rep)
        flag = await given.flag(company=acme, company_product_id=sale.id, source_type="pipeline", reason="Quiet")
    return Stall(desk, sale.id, flag.id)


class TestSendFollowUp:
    async def test_leaves_and_writes_down_all_that_follows(self, desk: Desk, stall: Stall):
        sent = await stall.send(next_step_days=5, cc=["bob@acme.example"], bcc=["eve@ours.example"])
        (message,) = desk.exchange.sent
        row, flag = await stall.row(), await stall.flag()
        assert sent == FollowUpSentOut(
            sent=True, drafted=False, message_id=message["id"], resolved=True, next_step_due_at=sent.next_step_due_at
        )
        assert [[side["emailAddress"]["address"] for side in message[f"{name}Recipients"]] for name in ("to", "cc", "bcc")] == [
            ["ann@acme.example"], ["bob@acme.example"], ["eve@ours.example"],
        ]  # fmt: skip
        assert row["next_step"] == "Follow up: How do we go on?"
        assert (flag.status, flag.resolved_by) == ("resolved", desk.rep.user_id)
        assert sent.next_step_due_at is not None
        assert (sent.next_step_due_at - flag.resolved_at).days == 5
        assert await desk.many("SELECT next_step_due_at FROM company_product_read_model") == [sent.next_step_due_at]
        (written,) = await desk.many("SELECT to_jsonb(m) FROM communications m WHERE direction = 'outbound'")
        expected = {
            "company_id": str(desk.company_id), "company_product_id": str(stall.sale_id), "contact_id": str(desk.contact_id),
            "full_content": "Shall we talk on Friday?", "is_ai_generated": True, "ai_action_type": "followup_email",
            "ai_approved_by": str(desk.rep.user_id), "awaiting_their_response": True, "external_id": message["id"],
        }  # fmt: skip
        assert {name: written[name] for name in expected} == expected
        assert await desk.many("SELECT last_human_touch_at IS NOT NULL FROM company_products") == [True]
        assert await desk.many("SELECT action_type || ' ' || attention_flag_id FROM communication_notes") == [
            f"sent_email {stall.flag_id}"
        ]
        assert (await stall.events())[-1] == "CompanyProductNextStepDueSet"
        assert await desk.many(
            "SELECT actor_type || ' ' || actor_id FROM event_store WHERE event_type LIKE '%%NextStep%%'"
        ) == [f"user {desk.rep.user_id}"]

    async def test_a_double_click_is_one_mail(self, desk: Desk, stall: Stall):
        results = await asyncio.gather(*(stall.send() for _ in range(5)), return_exceptions=True)
        outcomes = [result for result in results if isinstance(result, FollowUpSentOut)]
        assert outcomes
        assert all(isinstance(result, MailUnderway) for result in results if not isinstance(result, FollowUpSentOut))
        assert await stall.send() == outcomes[0]
        assert len(desk.exchange.sent) == desk.exchange.done["create"] == 1
        assert (await stall.events()).count("CompanyProductNextStepDueSet") == 1
        assert await desk.many("SELECT count(*) FROM communications WHERE direction = 'outbound'") == [1]

    async def test_a_job_that_comes_again_changes_nothing(self, desk: Desk, stall: Stall):
        await stall.send()
        before = await stall.events()
        for _ in range(2):
            async with desk.db.transaction() as tx:
                key = await tx.one(str, "SELECT key FROM effects WHERE kind = 'mail'")
                await tx.enqueue(outbound.JOB, effect_key=key)
            await desk.later()
        assert (len(desk.exchange.sent), await stall.events()) == (1, before)

    async def test_a_colleague_with_the_same_words_sends_nothing_more(self, desk: Desk, stall: Stall):
        async with desk.db.transaction() as tx:
            manager = await Given(tx).user("manager", auth_id="m", email="mona@ours.example")
            await mail_accounts.connect_account(
                tx, VAULT, manager.user_id or uuid4(), "mona@ours.example", token_cache()
            )
        sent = await stall.send()
        assert await stall.send(caller=manager) == sent
        assert len(desk.exchange.sent) == 1

    async def test_other_words_do_not_follow_while_a_letter_is_under_way(self, desk: Desk, stall: Stall):
        desk.exchange.fault("send", httpx.ReadTimeout("slow"))
        desk.exchange.fault("find", error(500, "InternalServerError"), times=4)
        with pytest.raises(MailInDoubt):
            await stall.send()
        for again in (stall.send("Another one."), stall.mark(), stall.send()):
            with pytest.raises(MailInDoubt):
                await again
        assert (await stall.flag()).status == "open"

    async def test_a_letter_whose_answer_was_lost_is_concluded_by_the_job(self, desk: Desk, stall: Stall):
        desk.exchange.fault("send", httpx.ReadTimeout("slow"), after=True)
        desk.exchange.fault("find", error(500, "InternalServerError"), times=4)
        with pytest.raises(MailInDoubt):
            await stall.send()
        assert await desk.later() == [outbound.JOB]
        assert (len(desk.exchange.sent), (await stall.flag()).status) == (1, "resolved")
        assert (await stall.events())[-1] == "CompanyProductNextStepDueSet"
        assert (await stall.send()).resolved

    async def test_draft_mode_leaves_a_draft_and_the_flag_open(self, desk: Desk, stall: Stall):
        async with desk.db.transaction() as tx:
            await mail_accounts.choose_send_mode(tx, desk.rep, "draft")
        drafted = await stall.send()
        assert (drafted.sent, drafted.drafted, drafted.resolved, drafted.next_step_due_at) == (False, True, False, None)
        assert desk.exchange.messages[drafted.message_id or ""]["isDraft"]
        assert (desk.exchange.sent, (await stall.flag()).status) == ([], "open")
        assert await stall.send() == drafted
        assert desk.exchange.done["create"] == 1
        assert (await stall.mark()).resolved

    async def test_uses_up_the_draft_of_the_flag(self, desk: Desk, stall: Stall):
        async with desk.db.transaction() as tx:
            await Given(tx).row(
                "email_drafts", user_id=desk.rep.user_id, origin="flag", origin_id=stall.flag_id, subject="x", body_text="x"
            )  # fmt: skip
        sent = await stall.send()
        assert await desk.many("SELECT status || ' ' || sent_message_id FROM email_drafts") == [
            f"sent {sent.message_id}"
        ]


class TestKilled:
    async def test_between_any_two_steps_all_of_it_happens_once(self, desk: Desk):
        await (await another(desk, "first")).send()  # and the token is known from here on
        at, died = 0, True
        while died:
            at += 1
            stall = await another(desk, str(at))
            body = f"Killed at {at}."
            died = await self._die(stall, at, body)
            if at % 2:  # the job sees to it, or the person does
                await desk.later()
            await self._click(stall, body)
            assert [one["body"]["content"] for one in desk.exchange.sent if one["body"]["content"] == body] == [body]
            assert await desk.many("SELECT count(*) FROM communications WHERE full_content = %(body)s", body=body) == [
                1
            ]
            assert (await stall.events()).count("CompanyProductNextStepDueSet") == 1
            assert (await stall.flag()).status == "resolved"
        assert at > 10

    @staticmethod
    async def _die(stall: Stall, at: int, body: str) -> bool:
        fate = Fate(stall.desk, at)
        letter = SendFollowUpIn(to="ann@acme.example", subject="How do we go on?", body=body)
        try:
            await follow_ups.send_follow_up(fate.begin, stall.desk.mailboxes, stall.desk.rep, stall.flag_id, letter)
        except Killed:
            return True
        finally:
            fate.spare()
        return False

    @staticmethod
    async def _click(stall: Stall, body: str) -> None:
        """Click until it is sent, as people do; time passes between the clicks."""
        for _ in range(3):
            async with stall.desk.db.transaction() as tx:
                await tx.run("UPDATE effects SET lease_until = clock_timestamp() - interval '1 second'")
            try:
                await stall.send(body, to="ann@acme.example")
            except (MailUnderway, MailInDoubt):
                await stall.desk.later()
            else:
                return


class TestRefusals:
    async def test_without_a_mailbox(self, desk: Desk, stall: Stall):
        async with desk.db.transaction() as tx:
            await mail_accounts.disconnect_account(tx, desk.rep)
        with pytest.raises(MailboxNotConnected) as refused:
            await stall.send()
        assert refused.value.status == 400
        assert await desk.many("SELECT key FROM effects") == []

    async def test_a_flag_that_is_not_open(self, desk: Desk, stall: Stall):
        for status in ("snoozed", "resolved"):
            async with desk.db.transaction() as tx:
                await tx.run(
                    "UPDATE attention_flags SET status = %(status)s, snoozed_until = now() + interval '1 day'",
                    status=status,
                )
            with pytest.raises(FlagNotOpen) as refused:
                await stall.send()
            assert refused.value.status == 400
            with pytest.raises(FlagNotOpen):
                await stall.mark()
        assert (desk.exchange.requests, await desk.many("SELECT key FROM effects")) == ([], [])

    @pytest.mark.parametrize("flag_type", ["CLOSE_DECISION", "SYSTEM_ERROR", "PRICING_EXCEPTION"])
    async def test_a_flag_that_no_letter_deals_with(self, desk: Desk, stall: Stall, flag_type: str):
        async with desk.db.transaction() as tx:
            await tx.run("UPDATE attention_flags SET flag_type = %(flag_type)s", flag_type=flag_type)
        for deed in (stall.send(), stall.mark()):
            with pytest.raises(NotForMail):
                await deed

    async def test_a_colleagues_and_nobodys_flag(self, desk: Desk, stall: Stall):
        async with desk.db.transaction() as tx:
            other = await Given(tx).user(auth_id="o", email="o@ours.example")
        with pytest.raises(NotYourFlag):
            await stall.send(caller=other)
        stall.flag_id = uuid4()
        with pytest.raises(FlagNotFound):
            await stall.send()

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"to": "nobody"}, AddressUnusable), ({"cc": ["ann@acme"]}, AddressUnusable), ({"bcc": ["x\ny@z.example"]}, AddressUnusable),
            ({"body": "It costs [[price]]."}, PlaceholderLeft), ({"subject": "Hi {{name}}"}, PlaceholderLeft),
        ],
    )  # fmt: skip
    async def test_what_should_not_leave(
        self, desk: Desk, stall: Stall, fields: dict[str, Any], refusal: type[Exception]
    ):
        with pytest.raises(refusal):
            await stall.send(**fields)
        assert (desk.exchange.requests, (await stall.flag()).status) == ([], "open")

    @pytest.mark.parametrize(
        ("step", "failure"),
        [("create", error(503, "ServiceUnavailable")), ("create", httpx.ReadTimeout("slow")), ("send", error(429, "Throttled", **{"Retry-After": "300"})),
         ("create", error(403, "ErrorAccessDenied"))],
    )  # fmt: skip
    async def test_a_mail_service_that_fails_is_a_502_and_the_letter_can_be_sent_again(
        self, desk: Desk, stall: Stall, step: str, failure: Any
    ):
        desk.exchange.fault(step, failure)
        with pytest.raises(Exception) as failed:  # noqa: PT011 - the status is what the caller sees
            await stall.send()
        assert getattr(failed.value, "status", None) == 502
        assert ((await stall.flag()).status, desk.exchange.sent) == ("open", [])
        assert (await stall.send()).resolved
        assert len(desk.exchange.sent) == 1

    async def test_a_down_service_says_that_nothing_was_sent(self, desk: Desk, stall: Stall):
        desk.exchange.fault("create", error(500, "InternalServerError"))
        with pytest.raises(MailNotSent, match="was not sent"):
            await stall.send()

    async def test_a_withdrawn_consent_is_a_400(self, desk: Desk, stall: Stall):
        desk.exchange.sign_in.refused = "invalid_grant"  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(NeedsReauth) as refused:
            await stall.send()
        assert refused.value.status == 400


class TestNeedsReply:
    @pytest.fixture
    async def asked(self, desk: Desk) -> Stall:
        async with desk.db.transaction() as tx:
            given = Given(tx)
            flag = await given.flag(communication=await given.fetch("communications", desk.inbound_id))
        return Stall(desk, uuid4(), flag.id)

    async def test_answers_in_the_thread(self, desk: Desk, asked: Stall):
        sent = await asked.send(subject="Re: Prices")
        assert (desk.exchange.sent[0]["conversationId"], sent.resolved, sent.next_step_due_at) == ("c-9", True, None)
        assert await desk.many("SELECT awaiting_our_response FROM communications WHERE direction = 'inbound'") == [
            False
        ]
        assert (await asked.flag()).resolution_notes == "Written to: Re: Prices"

    async def test_somebody_who_may_not_read_the_message_writes_a_new_mail(self, desk: Desk, asked: Stall):
        async with desk.db.transaction() as tx:
            other = await Given(tx).user(auth_id="o", email="o@ours.example")
            await mail_accounts.connect_account(tx, VAULT, other.user_id or uuid4(), "o@ours.example", token_cache())
        assert (await asked.send(caller=other)).sent
        assert desk.exchange.done["reply"] == 0

    async def test_by_hand_the_thread_is_answered_too(self, desk: Desk, asked: Stall):
        assert (await asked.mark(channel="email", to="ann@acme.example")).resolved
        assert await desk.many(
            "SELECT thread_id || ' ' || channel || ' ' || direction FROM communications WHERE provider = 'manual'"
        ) == ["c-9 email outbound"]
        assert await desk.many("SELECT awaiting_our_response FROM communications WHERE direction = 'inbound'") == [
            False
        ]
        assert await desk.many("SELECT status FROM email_conversations") == ["awaiting_response"]


class TestMarkSent:
    async def test_writes_down_what_was_said_and_all_that_follows(self, desk: Desk, stall: Stall):
        marked = await stall.mark(channel="email", to="Ann@acme.example", next_step_days=0)
        row, flag = await stall.row(), await stall.flag()
        assert (marked.success, marked.resolved, flag.status) == (True, True, "resolved")
        assert marked.next_step_due_at == flag.resolved_at
        assert row["next_step"] == "Follow up: How do we go on?"
        (written,) = await desk.many("SELECT to_jsonb(m) FROM communications m WHERE provider = 'manual'")
        expected = {
            "company_id": str(desk.company_id), "company_product_id": str(stall.sale_id), "contact_id": str(desk.contact_id), "channel": "email",
            "direction": "outbound", "full_content": "I called.", "ai_action_type": "followup_email_manual", "is_ai_generated": False,
            "awaiting_their_response": True, "sender_email": "ann@acme.example", "sender_domain": "acme.example", "source_table": "manual",
            "analysis_status": "pending",
        }  # fmt: skip
        assert {name: written[name] for name in expected} == expected
        assert await desk.many("SELECT email || ' ' || side FROM communication_participants") == [
            "ann@acme.example their"
        ]
        assert desk.exchange.requests == []

    async def test_needs_no_mailbox_and_no_address_for_a_call(self, desk: Desk, stall: Stall):
        async with desk.db.transaction() as tx:
            await mail_accounts.disconnect_account(tx, desk.rep)
        assert (await stall.mark()).resolved
        assert await desk.many(
            "SELECT sender_name || coalesce(sender_email, '') FROM communications WHERE provider = 'manual'"
        ) == ["+1 555 0100"]

    async def test_the_same_again_changes_nothing(self, desk: Desk, stall: Stall):
        first = await stall.mark()
        assert await stall.mark() == first
        assert await desk.many("SELECT count(*) FROM communications WHERE provider = 'manual'") == [1]
        with pytest.raises(FlagNotOpen):
            await stall.mark("I called again.")

    async def test_a_mail_goes_to_an_address(self, stall: Stall):
        with pytest.raises(AddressUnusable):
            await stall.mark(channel="email", to="Ann")

    async def test_two_at_once_are_one(self, desk: Desk, stall: Stall):
        first, second = await asyncio.gather(stall.mark(), stall.mark())
        assert first == second
        assert (await stall.events()).count("CompanyProductNextStepDueSet") == 1


class TestAfterwards:
    async def test_the_hourly_run_leaves_it_alone_until_the_next_step(self, desk: Desk, stall: Stall):
        from tools.attention import stalls

        async with desk.db.transaction() as tx:
            await tx.run("UPDATE company_product_read_model SET stage_entered_at = now() - interval '20 days'")
        await stall.send()
        async with desk.db.transaction() as tx:
            assert (await stalls.raise_stalls(tx, desk.rep)).created == 0

    async def test_what_was_sent_is_read_like_other_mail(self, desk: Desk, stall: Stall):
        await stall.send()
        jobs = await desk.many("SELECT job FROM outbox ORDER BY job")
        assert {"communications.analyze_pending", outbound.JOB} <= set(jobs)

    async def test_the_list_shows_it_resolved(self, desk: Desk, stall: Stall):
        await stall.send()
        async with desk.db.reading() as tx:
            page = (await flags.list_flags(tx, desk.rep, flags.FlagFilter(status="open"))).parse()
        assert page.total == 0
