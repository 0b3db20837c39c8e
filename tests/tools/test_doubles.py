"""Two people who do the same thing at the same moment: it is done once, and the other is told."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from memory.db import Database, Tx
from tests.given import Given
from tools import account_memory, companies, contacts, signals, tasks
from tools.communications import linking

Deed = Callable[[Tx], Awaitable[Any]]


async def together(db: Database, *deeds: Deed) -> Counter[str]:
    """Do all at once, each in a transaction of its own, and count how they ended."""

    async def do(deed: Deed) -> str:
        try:
            async with db.transaction() as tx:
                await deed(tx)
        except Exception as failure:  # noqa: BLE001 - every end counts
            return type(failure).__name__
        return "done"

    return Counter(await asyncio.gather(*map(do, deeds)))


async def count(db: Database, table: str) -> int:
    async with db.reading() as tx:
        return await tx.one(int, f"SELECT count(*) FROM {table}")  # pyright: ignore[reportArgumentType]


class TestTwice:
    async def test_a_company_by_name_and_by_domain(self, db: Database):
        async with db.transaction() as tx:
            rep = await Given(tx).user()
        pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"name": "Acme"}, {"name": "ACME"}),
            ({"name": "First", "domain": "one.example"}, {"name": "Second", "domain": "https://www.one.example/"}),
        ]
        for one, other in pairs:
            made = [companies.CreateCompanyIn(**body) for body in (one, other) for _ in range(3)]
            ends = await together(db, *[lambda tx, body=body: companies.create_company(tx, rep, body) for body in made])
            assert ends == {"done": 1, "CompanyExists": 5}
        assert await count(db, "companies") == 2

    async def test_a_company_by_renaming_another(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep, old = await given.user(), await given.company("Old")
        new = companies.CreateCompanyIn(name="Acme")
        change = companies.UpdateCompanyIn(name="acme")
        ends = await together(
            db,
            lambda tx: companies.create_company(tx, rep, new),
            lambda tx: companies.update_company(tx, rep, old.id, change),
        )
        assert ends == {"done": 1, "CompanyExists": 1}

    async def test_a_contact_by_address_and_by_name(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep, company = await given.user(), await given.company()
        for name, email in (("Bo", "bo@acme.example"), ("Ann", None)):
            body = contacts.CreateContactIn(company_id=company.id, name=name, email=email)
            ends = await together(db, *[lambda tx, body=body: contacts.create_contact(tx, rep, body)] * 5)
            assert ends == {"done": 1, "ContactExists": 4}

    async def test_a_primary_contact(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep, company = await given.user(), await given.company()
            people = [await given.contact(company=company) for _ in range(4)]
        body = contacts.UpdateContactIn(is_primary=True)
        ends = await together(
            db, *[lambda tx, id=person.id: contacts.update_contact(tx, rep, id, body) for person in people]
        )
        assert ends == {"done": 4}
        assert await count(db, "contacts WHERE is_primary") == 1

    async def test_a_lead_from_one_message(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep = await given.user()
            mail = await given.communication(user=rep, sender_email="bo@newco.example")
        ends = await together(db, *[lambda tx: linking.create_lead(tx, rep, mail.id, linking.CreateLeadIn())] * 4)
        assert ends == {"done": 1, "LinkedAlready": 3}
        assert (await count(db, "companies"), await count(db, "contacts")) == (1, 1)

    async def test_a_lead_from_the_messages_of_one_sender_in_many_mailboxes(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            people = [await given.user() for _ in range(6)]
            mails = [await given.communication(user=rep, sender_email="bo@newco.example") for rep in people]
        ends = await together(
            db,
            *[
                lambda tx, rep=rep, id=mail.id: linking.create_lead(tx, rep, id, linking.CreateLeadIn())
                for rep, mail in zip(people, mails, strict=True)
            ],
        )
        assert ends == {"done": 1, "LinkedAlready": 5}
        assert (await count(db, "companies"), await count(db, "contacts")) == (1, 1)
        assert await count(db, "communications WHERE company_id IS NOT NULL") == 6

    async def test_a_thread_from_each_of_its_messages(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep, company = await given.user(), await given.company()
            mails = [await given.communication(user=rep, thread_id="t") for _ in range(6)]
        body = linking.AssignIn(company_id=company.id)
        ends = await together(db, *[lambda tx, id=mail.id: linking.assign_company(tx, rep, id, body) for mail in mails])
        assert ends == {"done": 6}
        assert await count(db, "communications WHERE match_status = 'manual'") == 6

    async def test_a_signal(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep = await given.user()
            deal = await given.deal(owner=rep)
        body = signals.CreateSignalIn(signal_type="momentum_shift", title="x", category="risk", dealId=deal.id)
        ends = await together(db, *[lambda tx: signals.create_signal(tx, rep, body)] * 4)
        assert ends == {"done": 1, "SignalOpen": 3}

    async def test_a_task_that_is_done(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep = await given.user()
            task = await given.task(user=rep, company=await given.company())
        ends = await together(db, *[lambda tx: tasks.complete_task(tx, rep, tasks.CompleteTaskIn(taskId=task.id))] * 4)
        assert ends == {"done": 1, "TaskDone": 3}
        assert await count(db, "activities") == 1

    async def test_remarks_on_one_company_are_all_remembered(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep, company = await given.user(), await given.company()
        bodies = [account_memory.UpdateMemoryIn(field="resonates", value=f"remark {place}") for place in range(6)]
        ends = await together(
            db, *[lambda tx, body=body: account_memory.update_memory(tx, rep, company.id, body) for body in bodies]
        )
        assert ends == {"done": 6}
        async with db.reading() as tx:
            memory = (await account_memory.get_memory(tx, rep, company.id)).memory
        assert sorted(map(str, memory.resonates)) == [f"remark {place}" for place in range(6)]
