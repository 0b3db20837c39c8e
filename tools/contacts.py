"""Contacts: the people at companies. Everybody may see and edit them; managers may remove them."""

from typing import Literal
from uuid import UUID

from pydantic import Field, field_validator

from memory.callers import Caller
from memory.db import Tx, escape_like
from memory.errors import Conflict, Forbidden, Invalid, NotFound
from memory.rows import Doc, In, Named, Row
from tools import companies, names

Role = Literal["decision_maker", "influencer", "champion", "end_user", "blocker"]

ADDRESS = r"^[^@\s]+@[^@\s]+$|^$"
CONTACT = """
    t.id, t.name, t.email, t.phone, t.title, t.role, t.company_id, json_build_object('id', c.id, 'name', c.name) AS company
"""


class ContactNotFound(NotFound):
    """Contact {contact_id} does not exist."""


class ContactExists(Conflict):
    """There is such a contact at this company already."""

    shows = ("existing",)


class CompanyUnknown(Invalid):
    """Company {company_id} does not exist."""


class OnlyAccountTeam(Forbidden):
    """Only the company's owner or a manager may remove its contacts."""


class ContactRow(Row):
    """One contact with the company."""

    id: UUID
    name: str
    email: str | None
    phone: str | None
    title: str | None
    role: Role | None
    company_id: UUID
    company: Named


class ContactsOut(Row):
    """A page of contacts by name."""

    contacts: list[ContactRow]


class CompanyContact(Row):
    """A person at one company."""

    id: UUID
    name: str
    email: str | None
    title: str | None
    phone: str | None


class CompanyContactsOut(Row):
    """Everybody at one company by name."""

    success: bool
    contacts: list[CompanyContact]


class ContactFilter(In):
    """Which contacts to list; `search` is part of name or e-mail address."""

    company_id: UUID | None = None
    search: str | None = Field(default=None, max_length=200)
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0)


class ContactFields(In):
    """What a person may write about a contact; an empty text is no value."""

    email: str | None = Field(default=None, max_length=320, pattern=ADDRESS)
    phone: str | None = Field(default=None, max_length=50)
    title: str | None = Field(default=None, max_length=300)
    role: Role | None = None

    @field_validator("role", mode="before")
    @classmethod
    def _empty_role(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("email", "phone", "title")
    @classmethod
    def _empty_text(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("email")
    @classmethod
    def _lowered(cls, value: str | None) -> str | None:
        return names.normalize_email(value)


class CreateContactIn(ContactFields):
    """A new contact."""

    name: str = Field(min_length=1, max_length=300)
    company_id: UUID


class UpdateContactIn(ContactFields):
    """What changes; a field that is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=300)
    is_primary: bool | None = None

    @field_validator("name", "is_primary")
    @classmethod
    def _stays_filled(cls, value: object) -> object:
        if value is None:
            raise ValueError("may not be null")
        return value


async def list_contacts(tx: Tx, caller: Caller, filter: ContactFilter) -> Doc[ContactsOut]:
    """Return a page of contacts by name."""
    return await tx.doc(
        ContactsOut,
        f"""
        SELECT json_build_object('contacts', coalesce(json_agg(x), '[]'))::text
          FROM (SELECT {CONTACT}
                  FROM (SELECT t.id FROM contacts t
                         WHERE t.deleted_at IS NULL
                           AND (%(company_id)s::uuid IS NULL OR t.company_id = %(company_id)s)
                           AND (%(search)s::text IS NULL OR lower(t.name) LIKE %(search)s OR t.email LIKE %(search)s)
                         ORDER BY lower(t.name), t.id
                         LIMIT %(limit)s OFFSET %(offset)s) page
                  JOIN contacts t ON t.id = page.id
                  JOIN companies c ON c.id = t.company_id
                 ORDER BY lower(t.name), t.id) x
        """,
        company_id=filter.company_id,
        search=f"%{escape_like(filter.search.lower())}%" if filter.search else None,
        limit=filter.limit,
        offset=filter.offset,
    )


async def list_company_contacts(tx: Tx, caller: Caller, company_id: UUID) -> Doc[CompanyContactsOut]:
    """
    Return everybody at one company by name.

    Raises `companies.CompanyNotFound`.
    """
    return await tx.doc(
        CompanyContactsOut,
        """
        SELECT json_build_object('success', true, 'contacts', (
                   SELECT coalesce(json_agg(json_build_object('id', t.id, 'name', t.name, 'email', t.email, 'title', t.title,
                                                              'phone', t.phone) ORDER BY lower(t.name), t.id), '[]')
                     FROM contacts t
                    WHERE t.company_id = c.id AND t.deleted_at IS NULL))::text
          FROM companies c
         WHERE c.id = %(company_id)s AND c.deleted_at IS NULL
        """,
        missing=companies.CompanyNotFound(company_id=company_id),
        company_id=company_id,
    )


async def get_contact(tx: Tx, caller: Caller, contact_id: UUID) -> ContactRow:
    """
    Return one contact.

    Raises `ContactNotFound`.
    """
    return await tx.one(
        ContactRow,
        f"""
        SELECT {CONTACT}
          FROM contacts t JOIN companies c ON c.id = t.company_id
         WHERE t.id = %(contact_id)s AND t.deleted_at IS NULL
        """,
        missing=ContactNotFound(contact_id=contact_id),
        contact_id=contact_id,
    )


async def create_contact(tx: Tx, caller: Caller, body: CreateContactIn) -> ContactRow:
    """
    Add a person to a company.

    Raises `CompanyUnknown`; `ContactExists` for the same address, or without one the same name, at the company.
    """
    await tx.one(
        UUID,
        "SELECT id FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL FOR UPDATE",
        missing=CompanyUnknown(company_id=body.company_id),
        company_id=body.company_id,
    )
    await _refuse_double(tx, body.company_id, body.email, body.name, but=None)
    first_name, last_name = names.split_name(body.name)
    contact_id = await tx.one(
        UUID,
        """
        INSERT INTO contacts (company_id, name, first_name, last_name, email, phone, title, role)
        VALUES (%(company_id)s, %(name)s, %(first_name)s, %(last_name)s, %(email)s, %(phone)s, %(title)s, %(role)s)
        RETURNING id
        """,
        **body.model_dump(),
        first_name=first_name,
        last_name=last_name,
    )
    return await get_contact(tx, caller, contact_id)


async def update_contact(tx: Tx, caller: Caller, contact_id: UUID, body: UpdateContactIn) -> ContactRow:
    """
    Change what the body names and leave the rest; a new primary contact takes the place of the old one.

    Raises `ContactNotFound`, `ContactExists`.
    """
    company_id = await tx.one(
        UUID,
        """
        SELECT c.id FROM companies c JOIN contacts t ON t.company_id = c.id
         WHERE t.id = %(contact_id)s AND t.deleted_at IS NULL
           FOR UPDATE OF c
        """,
        missing=ContactNotFound(contact_id=contact_id),
        contact_id=contact_id,
    )
    if body.email:
        await _refuse_double(tx, company_id, body.email, None, but=contact_id)
    if body.is_primary:
        await tx.run(
            "UPDATE contacts SET is_primary = false WHERE company_id = %(company_id)s AND is_primary AND id <> %(contact_id)s",
            company_id=company_id,
            contact_id=contact_id,
        )
    first_name, last_name = names.split_name(body.name) if body.name else (None, None)
    await tx.run(
        """
        UPDATE contacts
           SET name = coalesce(%(name)s, name),
               first_name = CASE WHEN 'name' = ANY(%(given)s) THEN %(first_name)s ELSE first_name END,
               last_name = CASE WHEN 'name' = ANY(%(given)s) THEN %(last_name)s ELSE last_name END,
               is_primary = coalesce(%(is_primary)s, is_primary),
               email = CASE WHEN 'email' = ANY(%(given)s) THEN %(email)s ELSE email END,
               phone = CASE WHEN 'phone' = ANY(%(given)s) THEN %(phone)s ELSE phone END,
               title = CASE WHEN 'title' = ANY(%(given)s) THEN %(title)s ELSE title END,
               role = CASE WHEN 'role' = ANY(%(given)s) THEN %(role)s ELSE role END
         WHERE id = %(contact_id)s
        """,
        **body.model_dump(),
        given=sorted(body.model_fields_set),
        first_name=first_name,
        last_name=last_name,
        contact_id=contact_id,
    )
    return await get_contact(tx, caller, contact_id)


async def delete_contact(tx: Tx, caller: Caller, contact_id: UUID) -> None:
    """
    Take the contact out of every list; messages keep the name.

    Raises `ContactNotFound`, `OnlyAccountTeam`.
    """
    allowed = await tx.one(
        bool,
        """
        SELECT %(scope)s::uuid IS NULL OR coalesce(c.owner_id = %(scope)s, false)
          FROM contacts t JOIN companies c ON c.id = t.company_id
         WHERE t.id = %(contact_id)s AND t.deleted_at IS NULL
        """,
        missing=ContactNotFound(contact_id=contact_id),
        contact_id=contact_id,
        scope=caller.scope,
    )
    if not allowed:
        raise OnlyAccountTeam
    await tx.run(
        "UPDATE contacts SET deleted_at = %(now)s, is_primary = false WHERE id = %(contact_id)s", contact_id=contact_id
    )


async def _refuse_double(tx: Tx, company_id: UUID, email: str | None, name: str | None, *, but: UUID | None) -> None:
    existing = await tx.maybe(
        Named,
        """
        SELECT id, name
          FROM contacts
         WHERE company_id = %(company_id)s AND deleted_at IS NULL
           AND CASE WHEN %(email)s::text IS NULL THEN lower(name) = lower(%(name)s::text) ELSE email = %(email)s END
           AND (%(but)s::uuid IS NULL OR id <> %(but)s)
         LIMIT 1
        """,
        company_id=company_id,
        email=email,
        name=name,
        but=but,
    )
    if existing:
        raise ContactExists(existing=existing.model_dump(mode="json"))
