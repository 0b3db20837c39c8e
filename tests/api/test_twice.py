"""The same request at the same moment: one is created, the others are refused and shown what there is."""

import asyncio

from memory.db import Database
from tests.api.conftest import Client
from tests.given import Given


class TestAtTheSameMoment:
    async def test_a_company_is_created_once(self, live: Client):
        answers = await asyncio.gather(*[live.post("/api/companies", json={"name": name}) for name in ("Acme", "ACME")])
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        made, refused = sorted(answers, key=lambda answer: answer.status_code)
        assert refused.json()["existing"]["id"] == made.json()["company"]["id"]

    async def test_a_contact_is_created_once(self, live: Client, db: Database):
        async with db.transaction() as tx:
            company = await Given(tx).company()
        body = {"name": "Bo", "email": "bo@acme.example", "company_id": str(company.id)}
        answers = await asyncio.gather(*[live.post("/api/contacts", json=body) for _ in range(3)])
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        assert all("error" in answer.json() for answer in answers if answer.status_code == 409)

    async def test_a_lead_is_created_once(self, live: Client, db: Database):
        async with db.transaction() as tx:
            mails = [await Given(tx).communication(user=live.caller, sender_email="bo@newco.example") for _ in range(1)]
            mails.append(
                await Given(tx).communication(
                    user=live.caller, sender_email="bo@newco.example", external_id="second", thread_id="second"
                )
            )
        answers = await asyncio.gather(
            *[live.post(f"/api/communications/{mail.id}/create-lead", json={}) for mail in mails]
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM companies") == 1
            assert await tx.one(int, "SELECT count(*) FROM communications WHERE company_id IS NOT NULL") == 2
