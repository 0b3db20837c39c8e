"""Contacts over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.deps import Reading, Transaction, User
from api.schemas import Done, doc_response
from tools import contact_facts, contacts

router = APIRouter(prefix="/api/contacts", tags=["Contacts"])


@router.get("", summary="List contacts", response_model=contacts.ContactsOut)
async def list_contacts(filter: Annotated[contacts.ContactFilter, Query()], user: User, tx: Reading) -> Response:
    """List contacts by name; `search` is part of name or e-mail address."""
    return doc_response(await contacts.list_contacts(tx, user, filter))


@router.post("", summary="Create a contact", status_code=201)
async def create_contact(body: contacts.CreateContactIn, user: User, tx: Transaction) -> contacts.ContactRow:
    """Create a contact. The same address, or without one the same name, at the company is a conflict."""
    return await contacts.create_contact(tx, user, body)


@router.get("/{contact_id}", summary="Get a contact")
async def get_contact(contact_id: UUID, user: User, tx: Reading) -> contacts.ContactRow:
    """Get one contact with the company."""
    return await contacts.get_contact(tx, user, contact_id)


@router.patch("/{contact_id}", summary="Update a contact")
async def update_contact(
    contact_id: UUID, body: contacts.UpdateContactIn, user: User, tx: Transaction
) -> contacts.ContactRow:
    """Change the fields that the body names; an empty text clears one."""
    return await contacts.update_contact(tx, user, contact_id, body)


@router.delete("/{contact_id}", summary="Remove a contact")
async def delete_contact(contact_id: UUID, user: User, tx: Transaction) -> Done:
    """Remove a contact: the company's owner or a manager may."""
    await contacts.delete_contact(tx, user, contact_id)
    return Done()


@router.get("/{contact_id}/intelligence", summary="Get what is known of a contact")
async def get_intelligence(contact_id: UUID, user: User, tx: Reading) -> contact_facts.ContactIntelligenceOut:
    """Get facts, communication style and meeting mentions of one contact."""
    return await contact_facts.get_intelligence(tx, user, contact_id)


@router.post("/{contact_id}/intelligence", summary="Add a fact about a contact")
async def add_fact(
    contact_id: UUID, body: contact_facts.AddFactIn, user: User, tx: Transaction
) -> contact_facts.FactAddedOut:
    """Add a fact by hand; it is certain, and a known fact is a conflict."""
    return await contact_facts.add_fact(tx, user, contact_id, body)


@router.delete("/{contact_id}/intelligence", summary="Retract a fact about a contact")
async def retract_fact(
    contact_id: UUID, which: Annotated[contact_facts.WhichFact, Query()], user: User, tx: Transaction
) -> Done:
    """Retract one fact by its id, or by its place in the list. It is not learned again."""
    await contact_facts.retract_fact(tx, user, contact_id, which)
    return Done()
