"""Contacts, what is known of them, and notes about them."""

from typing import Any

import pytest
from pydantic import ValidationError

from memory.db import Tx
from tools import account_memory, contact_facts, contacts, relationships
from tools.account_memory import UpdateMemoryIn, Updates, ValueMismatch
from tools.contact_facts import AddFactIn, FactKnown, NoSuchFact, WhichFact
from tools.contacts import (
    CompanyUnknown,
    ContactExists,
    ContactFilter,
    ContactNotFound,
    CreateContactIn,
    OnlyAccountTeam,
    UpdateContactIn,
)
from tools.relationships import AddNoteIn


class TestCreateContact:
    async def test_keeps_the_address_lower_cased(self, tx: Tx, given: Any) -> None:
        acme = await given.company()
        made = await contacts.create_contact(
            tx, await given.user(), CreateContactIn(name="Bo Li", email="Bo@Acme.example", company_id=acme.id)
        )
        assert (made.email, made.company.name) == ("bo@acme.example", acme.name)

    async def test_refuses_the_same_address_at_the_company(self, tx: Tx, given: Any) -> None:
        bo = await given.contact("Bo", email="bo@acme.example")
        body = CreateContactIn(name="Somebody", email="BO@acme.example", company_id=bo.company_id)
        with pytest.raises(ContactExists) as refused:
            await contacts.create_contact(tx, await given.user(), body)
        assert refused.value.body["existing"] == {"id": str(bo.id), "name": "Bo"}

    async def test_refuses_the_same_name_when_there_is_no_address(self, tx: Tx, given: Any) -> None:
        bo = await given.contact("Bo", email="bo@acme.example")
        with pytest.raises(ContactExists):
            await contacts.create_contact(tx, await given.user(), CreateContactIn(name="bo", company_id=bo.company_id))

    async def test_refuses_a_removed_company(self, tx: Tx, given: Any) -> None:
        gone = await given.company(deleted_at=tx.now)
        with pytest.raises(CompanyUnknown):
            await contacts.create_contact(tx, await given.user(), CreateContactIn(name="Bo", company_id=gone.id))

    @pytest.mark.parametrize(
        "bad", [{"name": ""}, {"name": "B\x00"}, {"name": "Bo", "email": "nonsense"}, {"name": "Bo", "boss": 1}]
    )
    def test_refuses_what_does_not_fit(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            CreateContactIn.model_validate(bad | {"company_id": "7b0e4b5e-7d2f-4f5e-9d7f-1f8f5f2b3c4d"})


class TestUpdateContact:
    async def test_clears_a_field_with_an_empty_text(self, tx: Tx, given: Any) -> None:
        bo = await given.contact("Bo", phone="1", title="CEO")
        after = await contacts.update_contact(tx, await given.user(), bo.id, UpdateContactIn(phone=""))
        assert (after.phone, after.title) == (None, "CEO")

    async def test_a_new_primary_contact_takes_the_place_of_the_old(self, tx: Tx, given: Any) -> None:
        acme = await given.company()
        old, new = await given.contact(company=acme, is_primary=True), await given.contact(company=acme)
        await contacts.update_contact(tx, await given.user(), new.id, UpdateContactIn(is_primary=True))
        assert (
            (await given.fetch("contacts", old.id)).is_primary,
            (await given.fetch("contacts", new.id)).is_primary,
        ) == (False, True)


class TestListContacts:
    async def test_finds_by_name_or_address(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        await given.contact("Zoe", company=acme, email="z@acme.example")
        await given.contact("Bo", company=acme, email="first.zoe@acme.example")
        await given.contact("Carl", company=acme)
        found = (await contacts.list_contacts(tx, rep, ContactFilter(search="ZOE"))).parse()
        assert [row.name for row in found.contacts] == ["Bo", "Zoe"]


class TestDeleteContact:
    async def test_is_for_the_companys_owner_and_managers(self, tx: Tx, given: Any) -> None:
        owner, other = await given.user(), await given.user()
        bo = await given.contact(company=await given.company(owner_id=owner.user_id))
        with pytest.raises(OnlyAccountTeam):
            await contacts.delete_contact(tx, other, bo.id)
        await contacts.delete_contact(tx, owner, bo.id)
        with pytest.raises(ContactNotFound):
            await contacts.get_contact(tx, owner, bo.id)


class TestFacts:
    async def test_a_fact_is_kept_once_and_can_be_taken_back(self, tx: Tx, given: Any) -> None:
        rep, bo = await given.user(), await given.contact()
        added = await contact_facts.add_fact(tx, rep, bo.id, AddFactIn(type="interest", fact="Sails a small boat"))
        with pytest.raises(FactKnown):
            await contact_facts.add_fact(tx, rep, bo.id, AddFactIn(type="personal", fact="sails a  small boat"))
        known = await contact_facts.get_intelligence(tx, rep, bo.id)
        assert [(fact.fact, fact.confidence) for fact in known.relationshipFacts] == [("Sails a small boat", 1.0)]
        await contact_facts.retract_fact(tx, rep, bo.id, WhichFact(index=0))
        assert (await contact_facts.get_intelligence(tx, rep, bo.id)).relationshipFacts == []
        with pytest.raises(NoSuchFact):
            await contact_facts.retract_fact(tx, rep, bo.id, WhichFact(fact_id=added.addedFact.id))

    async def test_another_contacts_fact_is_not_to_be_had(self, tx: Tx, given: Any) -> None:
        rep, bo, li = await given.user(), await given.contact(), await given.contact()
        added = await contact_facts.add_fact(tx, rep, bo.id, AddFactIn(type="interest", fact="Chess"))
        with pytest.raises(NoSuchFact):
            await contact_facts.retract_fact(tx, rep, li.id, WhichFact(fact_id=added.addedFact.id))


class TestNotes:
    async def test_shows_the_contacts_and_the_companys_apart(self, tx: Tx, given: Any) -> None:
        rep, bo = await given.user(), await given.contact()
        await relationships.add_note(tx, rep, bo.id, AddNoteIn(note="Likes tea", contextType="insight"))
        await given.row("relationship_notes", company_id=bo.company_id, note="Budget in May")
        notes = await relationships.list_notes(tx, rep, bo.id)
        assert [note.note for note in notes.contactNotes] == ["Likes tea"]
        assert [note.note for note in notes.companyNotes] == ["Budget in May"]
        assert (notes.contactNotes[0].added_by_name, notes.totalNotes) == (rep.name, 2)


class TestAccountMemory:
    async def test_appends_once_and_records_the_change(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        await account_memory.update_memory(tx, rep, acme.id, UpdateMemoryIn(field="resonates", value="Speed"))
        again = await account_memory.update_memory(tx, rep, acme.id, UpdateMemoryIn(field="resonates", value="speed"))
        assert (again.memory.resonates, again.fieldsUpdated) == (["Speed"], [])
        shown = await account_memory.get_memory(tx, rep, acme.id)
        assert [(u.field_updated, u.old_value, u.new_value) for u in shown.recentUpdates] == [
            ("resonates", [], ["Speed"])
        ]
        assert shown.recentUpdates[0].user is not None
        assert shown.recentUpdates[0].user.id == rep.user_id

    async def test_replaces_fields_and_keeps_the_newest_fifty(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        body = UpdateMemoryIn(updates=Updates(avoided=[f"topic {n}" for n in range(60)], decision_style="committee"))
        done = await account_memory.update_memory(tx, rep, acme.id, body)
        assert (len(done.memory.avoided), done.memory.avoided[-1], done.memory.decision_style) == (
            50,
            "topic 59",
            "committee",
        )

    async def test_refuses_a_text_where_an_object_belongs(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        with pytest.raises(ValueMismatch):
            await account_memory.update_memory(
                tx, rep, acme.id, UpdateMemoryIn(field="objections_encountered", value="too dear")
            )

    async def test_says_which_kind_of_value_a_field_takes(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        for field, value, takes in (("resonates", 5, "a text"), ("personal_notes", "chess", "an object")):
            body = UpdateMemoryIn.model_validate({"field": field, "value": value})
            with pytest.raises(ValueMismatch) as refused:
                await account_memory.update_memory(tx, rep, acme.id, body)
            assert refused.value.message == f"{field} takes {takes}."

    async def test_nothing_is_written_by_reading(self, tx: Tx, given: Any) -> None:
        acme = await given.company()
        assert (await account_memory.get_memory(tx, await given.user(), acme.id)).memory == account_memory.MemoryRow()
        assert await tx.one(int, "SELECT count(*) FROM account_memory") == 0
