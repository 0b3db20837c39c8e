"""Support cases over HTTP, and by the clock."""

from datetime import timedelta
from typing import Any, get_args
from uuid import uuid4

import pytest

from api.examples import example_of
from api.jobs.kit import run_job_inline
from memory.db import Database, Tx, clock
from tests.api.conftest import Client
from tests.api.test_hostile import VALUES, asleep
from tests.given import Given
from tools.cases import clocks
from tools.cases.commands import Command

__all__ = ["asleep"]

RESOLVE = {"command": "resolve", "resolution_summary": "Mended"}


async def opened(client: Client, given: Given, **values: Any) -> dict[str, Any]:
    company = await given.company("Acme", domain="acme.example")
    answer = await client.post("/api/cases", json={"company_id": str(company.id), "title": "Broken"} | values)
    assert answer.status_code == 201, answer.text
    return answer.json()


class TestOpenCase:
    async def test_answers_with_case_and_event(self, rep: Client, given: Given):
        made = await opened(rep, given)
        told = (await rep.get(f"/api/cases/{made['caseId']}/timeline")).json()["data"]
        assert made == {"success": True, "caseId": made["caseId"], "eventId": told[0]["id"], "version": 4}
        assert told[0]["actor"] == {"type": "user", "id": str(rep.caller.user_id)}
        assert told[0].keys() == {"id", "type", "data", "sequence", "occurredAt", "actor", "metadata"}

    async def test_refuses_what_is_not_the_companys(self, rep: Client, given: Given):
        theirs = await given.held(await given.product())
        contact = await given.contact()
        body = {"company_id": str((await given.company()).id), "title": "x"}
        for wrong, status in (
            ({"company_product_id": str(theirs.id)}, 400),
            ({"contact_id": str(contact.id)}, 400),
            ({"company_product_id": str(uuid4())}, 404),
            ({"contact_id": str(uuid4())}, 404),
            ({"company_id": str(uuid4())}, 404),
            ({"severity": "terrible"}, 400),
        ):
            answer = await rep.post("/api/cases", json=body | wrong)
            assert (answer.status_code, "error" in answer.json()) == (status, True), wrong

    async def test_one_key_opens_one_case(self, rep: Client, given: Given, tx: Tx):
        company = await given.company()
        body, key = {"company_id": str(company.id), "title": "x"}, {"Idempotency-Key": "k-1"}
        first, second = [(await rep.post("/api/cases", json=body, headers=key)).json() for _ in range(2)]
        assert first == second
        assert await tx.one(int, "SELECT count(*) FROM support_cases") == 1

    async def test_a_key_is_remembered_for_good(self, rep: Client, given: Given, tx: Tx):
        """The answers of the HTTP layer are kept for a day, commands for ever."""
        company = await given.company()
        body, key = {"company_id": str(company.id), "title": "x"}, {"Idempotency-Key": "k-2"}
        first = (await rep.post("/api/cases", json=body, headers=key)).json()
        url, note = f"/api/cases/{first['caseId']}", {"command": "add_note", "content": "Once"}
        noted = (await rep.post(url, json=note, headers={"Idempotency-Key": "k-3"})).json()
        await tx.run("DELETE FROM idempotency_keys")
        assert (await rep.post("/api/cases", json=body, headers=key)).json() == first
        assert (await rep.post(url, json=note, headers={"Idempotency-Key": "k-3"})).json() == noted
        await tx.run("DELETE FROM idempotency_keys")
        assert (await rep.post("/api/cases", json=body | {"title": "y"}, headers=key)).status_code == 409

    async def test_an_external_case_comes_in_once(self, rep: Client, given: Given):
        made = await opened(rep, given, source="email", external_id="42")
        company = await given.company()
        body = {"company_id": str(company.id), "title": "x", "source": "email", "external_id": "42"}
        answer = await rep.post("/api/cases", json=body)
        assert (answer.status_code, answer.json()["existing"]) == (409, {"id": made["caseId"]})


class TestCommandCase:
    async def test_answers_with_event_place_and_version(self, rep: Client, given: Given):
        made = await opened(rep, given)
        answer = await rep.post(f"/api/cases/{made['caseId']}", json=RESOLVE)
        assert answer.status_code == 200
        told = answer.json()
        assert told == {"success": True, "eventId": told["eventId"], "sequenceNumber": 5, "version": 5}

    async def test_names_the_rule_that_refuses(self, rep: Client, given: Given, tx: Tx):
        path = f"/api/cases/{(await opened(rep, given))['caseId']}"
        for body, status, rule in (
            ({"command": "reopen", "reason": "x"}, 400, "Only a resolved or closed case is reopened"),
            ({"command": "close", "close_reason": "other"}, 400, "closed once it is resolved, or with force_close"),
            ({"command": "close", "close_reason": "other", "force_close": True}, 403, "Only its owner or a manager"),
            ({"command": "change_status", "to_status": "closed"}, 400, "closed has a command of its own"),
            ({"command": "change_severity", "to_severity": "medium"}, 400, "the severity is medium already"),
            ({"command": "assign", "owner_id": str(uuid4())}, 404, "does not exist"),
            ({"command": "dance"}, 400, "command"),
            ({}, 400, "command"),
            ({"command": "resolve"}, 400, "resolution_summary"),
            (RESOLVE | {"surprise": 1}, 400, "surprise"),
        ):
            answer = await rep.post(path, json=body)
            assert answer.status_code == status, body
            assert rule in answer.text, body
        refused = await tx.many(str, "SELECT action FROM command_log WHERE status = 'failed' ORDER BY created_at")
        assert refused[:2] == ["reopen", "close"]

    async def test_refuses_an_old_version_in_header_or_body(self, rep: Client, given: Given):
        path = f"/api/cases/{(await opened(rep, given))['caseId']}"
        for body, headers in (
            (RESOLVE | {"expectedVersion": 3}, {}),
            (RESOLVE, {"If-Match": '"3"'}),
        ):
            answer = await rep.post(path, json=body, headers=headers)
            assert (answer.status_code, answer.json()["currentVersion"]) == (409, 4)
        torn = await rep.post(path, json=RESOLVE | {"expectedVersion": 4}, headers={"If-Match": "3"})
        assert torn.status_code == 400
        assert (await rep.post(path, json=RESOLVE, headers={"If-Match": "nonsense"})).status_code == 400
        assert (await rep.post(path, json=RESOLVE, headers={"If-Match": '"4"'})).status_code == 200


class TestNonsense:
    @pytest.mark.usefixtures("asleep")
    @pytest.mark.parametrize("command", get_args(Command), ids=lambda command: command.__name__)
    async def test_in_any_field_of_a_command_is_refused_or_done(self, manager: Client, given: Given, command: Any):
        path = f"/api/cases/{(await opened(manager, given))['caseId']}"
        schema = command.model_json_schema()
        example = example_of(schema, schema.get("$defs", {}))
        for field in schema["properties"]:
            for value in VALUES:
                answer = await manager.post(path, json=example | {field: value})
                assert answer.status_code in (200, 400, 404, 409), f"{field}: {str(value)[:80]} {answer.text[:300]}"
                assert answer.status_code == 200 or " " in answer.json()["error"]


class TestReadCases:
    async def test_shows_company_owner_and_version(self, rep: Client, given: Given):
        made = await opened(rep, given)
        path = f"/api/cases/{made['caseId']}"
        await rep.post(path, json={"command": "assign", "owner_id": str(rep.caller.user_id)})
        case = (await rep.get(path)).json()["data"]
        assert case["owner"] == {"id": str(rep.caller.user_id), "name": rep.caller.name, "email": rep.caller.email}
        assert (case["company"]["name"], case["company"]["domain"], case["version"]) == ("Acme", "acme.example", 5)

    async def test_lists_what_is_asked_for(self, rep: Client, given: Given):
        made = await opened(rep, given, severity="critical")
        await opened(rep, given)
        page = (await rep.get("/api/cases", params={"severity": "critical,urgent", "limit": 1})).json()
        assert [case["id"] for case in page["data"]] == [made["caseId"]]
        assert page["data"][0]["company"]["name"] == "Acme"
        assert page["pagination"] == {"total": 1, "limit": 1, "offset": 0, "hasMore": False}

    @pytest.mark.parametrize(
        "query", ["status=nonsense", "severity=x,low", "sort=body", "order=up", "limit=201", "sla_breached=perhaps"]
    )
    async def test_refuses_what_cannot_be_asked(self, rep: Client, query: str):
        assert (await rep.get(f"/api/cases?{query}")).status_code == 400

    async def test_a_private_note_is_not_for_others(self, rep: Client, manager: Client, given: Given):
        path = f"/api/cases/{(await opened(rep, given))['caseId']}"
        await rep.post(path, json={"command": "add_note", "content": "Between us", "visibility": "private"})
        assert "Between us" in (await rep.get(f"{path}/timeline")).text
        assert "Between us" not in (await manager.get(f"{path}/timeline")).text


class TestScanClocks:
    async def test_records_all_that_is_due_whatever_one_case_does(self, db: Database):
        async with db.transaction(now=clock() - timedelta(hours=2)) as tx:
            given = Given(tx)
            company = await given.company()
            made = [await given.case(company=company, severity="critical") for _ in range(clocks.BATCH // 2 + 10)]
        async with db.transaction() as tx:
            await tx.run("DELETE FROM support_cases WHERE id = %(id)s", id=made[0].id)
        for _ in range(2):
            await run_job_inline(db, "cases.scan_clocks")
        async with db.reading() as tx:
            found = await tx.tuples(
                """
                SELECT sla_type, count(*), bool_and(breached_at = due_at) FROM support_case_sla_facts
                 WHERE is_breached GROUP BY 1 ORDER BY 1
                """
            )
            said = await tx.one(
                int, "SELECT count(*) FROM event_store WHERE event_type = 'SlaBreached' AND actor_type = 'system'"
            )
            late = await tx.one(int, "SELECT breached_count FROM company_open_case_counts")
        rest = len(made) - 1
        assert found == [("first_response", rest, True), ("update", rest, True)]
        assert (said, late) == (2 * rest, rest)
