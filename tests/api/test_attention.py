"""Attention flags over HTTP: who may do what, and letters that leave once."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import respx

from memory.db import Database, Tx
from memory.vault import Vault
from tests.api.conftest import CRON, Client
from tests.api.test_hostile import VALUES, asleep
from tests.api.test_send_reply import SETTINGS
from tests.given import Given
from tests.tools.exchange import Exchange, SignIn, error, token_cache
from tests.tools.sales import a_process, a_sale
from tools import mail_accounts
from tools.attention import stalls
from tools.mail_accounts import Mailboxes

__all__ = ["asleep"]

FLAGS = "/api/attention-flags"
LETTER = {"to": "ann@acme.example", "subject": "How do we go on?", "body": "Shall we talk?"}


class TestFlags:
    async def test_from_raised_to_resolved(self, rep: Client, given: Given):
        acme = await given.company("Acme", owner_id=rep.caller.user_id)
        raised = await rep.post(
            f"{FLAGS}/create",
            json={"company_id": str(acme.id), "flag_type": "CLOSE_DECISION", "severity": "high", "reason": "They ask", "recommended_action": "Decide"},
        )  # fmt: skip
        flag = raised.json()["flag"]
        assert (raised.status_code, raised.json()["success"], flag["status"], flag["company"]["name"]) == (
            201,
            True,
            "open",
            "Acme",
        )
        snoozed = await rep.post(
            f"{FLAGS}/{flag['id']}/snooze", json={"snooze_until": "2099-01-01T09:00:00Z", "reason": "Later"}
        )
        assert snoozed.json()["flag"]["snoozed_until"] == "2099-01-01T09:00:00Z"
        woken = await rep.post(f"{FLAGS}/{flag['id']}/unsnooze")
        assert (woken.status_code, woken.json()["flag"]["status"]) == (200, "open")
        assert (await rep.post(f"{FLAGS}/{flag['id']}/unsnooze")).status_code == 400
        listed = (await rep.get(FLAGS, params={"status": "open,snoozed"})).json()
        assert (listed["total"], [one["id"] for one in listed["flags"]]) == (1, [flag["id"]])
        for sent in (b"", b'{"resolution_notes": "Done"}'):
            kind = {"content-type": "application/json"} if sent else {}
            resolved = await rep.post(f"{FLAGS}/{flag['id']}/resolve", content=sent, headers=kind)
            assert (resolved.status_code, resolved.json()["flag"]["status"]) == (200, "resolved")
        assert resolved.json()["flag"]["resolution_notes"] is None  # the first time counts
        late = await rep.post(f"{FLAGS}/{flag['id']}/snooze", json={"snooze_until": "2099-01-01T09:00:00Z"})
        assert (late.status_code, "resolved already" in late.json()["error"]) == (409, True)

    async def test_refuses_in_words(self, rep: Client, given: Given):
        flag = await given.flag()
        for method, path, body, status in (
            ("GET", "?scope=all", None, 403), ("GET", "?status=open,gone", None, 400), ("GET", "?limit=501", None, 400),
            ("POST", f"/{flag.id}/snooze", {"snooze_until": "2020-01-01T00:00:00Z"}, 400),
            ("POST", f"/{flag.id}/snooze", {"snooze_until": "2099-01-01T00:00:00"}, 400), ("POST", f"/{uuid4()}/resolve", {}, 404),
            ("POST", f"/{flag.id}/execute", {"send": True}, 400), ("POST", f"/{flag.id}/mark-sent", {**LETTER, "channel": "smoke"}, 400),
            ("POST", f"/{flag.id}/send-email", {**LETTER, "next_step_days": 91}, 400),
        ):  # fmt: skip
            answer = await rep.request(method, f"{FLAGS}{path}", json=body)
            assert (answer.status_code, " " in answer.json()["error"]) == (status, True), path

    async def test_a_colleagues_flag_is_forbidden_to_change(self, rep: Client, given: Given, tx: Tx):
        sale = await a_sale(given, await a_process(given), owner=await given.user())
        await tx.finish()
        flag = await given.flag(company=await given.fetch("companies", sale.company_id), company_product_id=sale.id)
        for path, body in (
            ("resolve", {}), ("snooze", {"snooze_until": "2099-01-01T00:00:00Z"}), ("unsnooze", None), ("mark-sent", {**LETTER, "channel": "call"}),
        ):  # fmt: skip
            assert (await rep.post(f"{FLAGS}/{flag.id}/{path}", json=body)).status_code == 403, path

    async def test_nobody_comes_in_without_a_name(self, client: Client, given: Given):
        flag = await given.flag()
        assert (await client.get(FLAGS)).status_code == 401
        assert (await client.post(f"{FLAGS}/{flag.id}/resolve")).status_code == 401

    async def test_marked_as_sent_once(self, rep: Client, given: Given, tx: Tx):
        flag = await given.flag(flag_type="GHOSTING_AFTER_PROPOSAL")
        said = {**LETTER, "channel": "email"}
        answers = [(await rep.post(f"{FLAGS}/{flag.id}/mark-sent", json=said)).json() for _ in range(2)]
        assert answers[0] == answers[1] == {"success": True, "resolved": True, "next_step_due_at": None}
        assert await tx.one(int, "SELECT count(*) FROM communications") == 1


@pytest.mark.usefixtures("asleep")
class TestNonsense:
    async def test_about_rows_that_exist_is_refused_in_words(self, manager: Client, given: Given, tx: Tx):
        sale = await a_sale(given, await a_process(given))
        await tx.finish()
        company = await given.fetch("companies", sale.company_id)
        flag, other = [await given.flag(company=company, company_product_id=sale.id) for _ in range(2)]
        raised = {
            "company_id": str(company.id), "company_product_id": str(sale.id), "flag_type": "CLOSE_DECISION", "severity": "high",
            "reason": "x", "recommended_action": "x",
        }  # fmt: skip
        for path, example in (
            (f"{FLAGS}/create", raised), (f"{FLAGS}/{flag.id}/execute", {"send": False}),
            (f"{FLAGS}/{flag.id}/send-email", {**LETTER, "cc": [], "bcc": [], "next_step_days": 3}),
            (f"{FLAGS}/{flag.id}/mark-sent", {**LETTER, "channel": "email", "next_step_days": 3}),
            (f"{FLAGS}/{other.id}/snooze", {"snooze_until": "2099-01-01T00:00:00Z", "reason": "x"}),
            (f"{FLAGS}/{other.id}/resolve", {"resolution_notes": "x"}),
            (f"/api/legacy-deals/{sale.id}/snooze", {"days": 3}), (f"/api/legacy-deals/{sale.id}/close", {"reason": "x"}),
        ):  # fmt: skip
            for name in example:
                for value in VALUES:
                    answer = await manager.post(path, json={**example, name: value})
                    assert answer.status_code != 500, (path, name, value)
                    assert answer.status_code < 300 or " " in answer.json()["error"], (path, name, value)


class TestStallFlags:
    URL = "/api/jobs/generate-stall-flags"

    async def test_for_managers_and_the_clock(self, rep: Client, manager: Client, client: Client):
        assert (await rep.post(self.URL)).status_code == 403
        assert (await client.post(self.URL)).status_code == 401
        assert (await client.post(self.URL, headers={"x-cron-secret": "wrong"})).status_code == 401
        for answer in (await manager.post(self.URL), await client.post(self.URL, headers={"x-cron-secret": CRON})):
            assert (answer.status_code, answer.json()) == (
                200,
                {
                    "success": True, "created": 0, "updated": 0, "resolved": 0, "processed": 0,
                    "debug": {"total_company_products": 0, "with_current_stage_id": 0, "eligible_after_terminal_exclusion": 0},
                    "message": "0 open sales: 0 flags raised, 0 brought up to date, 0 resolved.",
                },
            )  # fmt: skip

    async def test_one_at_a_time(self, manager: Client, worker_url: str):
        async with await psycopg.AsyncConnection.connect(worker_url) as elsewhere:
            await elsewhere.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [stalls.LOCK])
            assert (await manager.post(self.URL)).status_code == 409
        assert (await manager.post(self.URL)).status_code == 200


class TestLegacyDeals:
    URL = "/api/legacy-deals"

    async def test_listed_taken_up_left_alone_and_closed(self, rep: Client, given: Given, tx: Tx):
        process = await a_process(given, await given.product("Scanner"))
        sale = await a_sale(given, process, stage="Demo", owner=rep.caller)
        await tx.finish()
        listed = (await rep.get(self.URL)).json()
        assert (listed["count"], listed["deals"][0]["stage_name"], set(listed["meta"])) == (1, "Demo", {"generatedAt"})
        taken = (await rep.post(f"{self.URL}/{sale.id}/re-engage")).json()
        assert (taken["success"], taken["stage_name"]) == (True, "Discovery")
        snoozed = await rep.post(f"{self.URL}/{sale.id}/snooze", json={"days": 30})
        assert set(snoozed.json()) == {"success", "snoozed_until"}
        closed = await rep.post(f"{self.URL}/{sale.id}/close")
        assert (closed.status_code, closed.json()["status"]) == (200, "closed_lost")
        for path in ("close", "re-engage"):
            assert (await rep.post(f"{self.URL}/{sale.id}/{path}")).status_code == 400

    async def test_refuses_in_words(self, rep: Client, given: Given, tx: Tx):
        theirs = await a_sale(given, await a_process(given), owner=await given.user())
        await tx.finish()
        for path in ("close", "re-engage", "snooze"):
            assert (await rep.post(f"{self.URL}/{theirs.id}/{path}")).status_code == 403
            assert (await rep.post(f"{self.URL}/{uuid4()}/{path}")).status_code == 404
        for days in (0, 91):
            assert (await rep.post(f"{self.URL}/{theirs.id}/snooze", json={"days": days})).status_code == 400


class TestLetters:
    """With a mailbox at the wire and a database of its own."""

    @pytest.fixture
    def exchange(self) -> Iterator[Exchange]:
        with respx.mock(assert_all_called=False) as router:
            router.route(host="test").pass_through()
            made = Exchange(router)
            made.sign_in = SignIn(router, made)  # pyright: ignore[reportAttributeAccessIssue]
            yield made

    @pytest.fixture
    async def flag(self, db: Database, live: Any, live_app: Any, exchange: Exchange) -> AsyncIterator[Any]:
        live_app.state.services._mailboxes = Mailboxes(SETTINGS, db.transaction)
        async with db.transaction() as tx:
            given = Given(tx)
            ann = await given.contact("Ann Acme", email="ann@acme.example", is_primary=True)
            acme = await given.fetch("companies", ann.company_id)
            sale = await a_sale(given, await a_process(given), company=acme, owner=live.caller)
            made = await given.flag(company=acme, company_product_id=sale.id)
            await mail_accounts.connect_account(
                tx, Vault(SETTINGS.key_ring), live.caller.user_id or uuid4(), "lena@ours.example", token_cache()
            )
        yield made
        await live_app.state.services._mailboxes.close()

    async def test_drafted_then_sent_once_as_a_person_changed_it(self, live: Any, flag: Any, exchange: Exchange):
        drafted = await live.post(f"{FLAGS}/{flag.id}/execute")
        assert drafted.status_code == 200, drafted.text
        body = drafted.json()
        assert (body["success"], body["sent"], exchange.requests) == (True, False, [])
        assert set(body["draft"]) >= {"subject", "body", "channel", "quality_checks"}
        assert set(body["context"]) == {
            "company_name", "contact_name", "contact_email", "product_name", "stage_name", "flag_type", "reason",
        }  # fmt: skip
        letter = {
            "to": body["context"]["contact_email"], "subject": body["draft"]["subject"], "body": "Hi Ann, shall we talk on Friday?",
        }  # fmt: skip
        sent = [(await live.post(f"{FLAGS}/{flag.id}/send-email", json=letter)).json() for _ in range(2)]
        assert sent[0] == sent[1]
        assert set(sent[0]) >= {"success", "sent", "provider", "message_id", "resolved", "next_step_due_at"}
        assert (sent[0]["sent"], sent[0]["resolved"], sent[0]["provider"], len(exchange.sent)) == (
            True,
            True,
            "microsoft",
            1,
        )
        assert (await live.post(f"{FLAGS}/{flag.id}/execute")).status_code == 400

    async def test_without_a_mailbox_nothing_is_sent(self, live: Any, db: Database, flag: Any, exchange: Exchange):
        async with db.transaction() as tx:
            await mail_accounts.disconnect_account(tx, live.caller)
        answer = await live.post(f"{FLAGS}/{flag.id}/send-email", json=LETTER)
        assert (answer.status_code, "mailbox" in answer.json()["error"].lower(), exchange.sent) == (400, True, [])

    async def test_a_draft_as_it_stands_has_gaps_and_does_not_leave(self, live: Any, flag: Any, exchange: Exchange):
        answer = await live.post(f"{FLAGS}/{flag.id}/send-email", json={**LETTER, "body": "Hi, [[your answer]]"})
        assert (answer.status_code, exchange.sent) == (400, [])

    async def test_a_mail_service_that_fails_is_a_502(self, live: Any, flag: Any, exchange: Exchange):
        exchange.fault("create", error(503, "ServiceUnavailable"))
        failed = await live.post(f"{FLAGS}/{flag.id}/send-email", json=LETTER)
        assert (failed.status_code, "was not sent" in failed.json()["error"]) == (502, True)
        assert (await live.post(f"{FLAGS}/{flag.id}/send-email", json=LETTER)).json()["sent"] is True
        assert len(exchange.sent) == 1

    async def test_draft_mode_is_not_sent(self, live: Any, db: Database, flag: Any, exchange: Exchange):
        async with db.transaction() as tx:
            await mail_accounts.choose_send_mode(tx, live.caller, "draft")
        answer = (await live.post(f"{FLAGS}/{flag.id}/send-email", json=LETTER)).json()
        assert (answer["sent"], answer["drafted"], answer["resolved"], exchange.sent) == (False, True, False, [])
        assert (await live.get(FLAGS, params={"status": "open"})).json()["total"] == 1
