"""Companies: the accounts that everything else hangs on. Everybody may see and edit them; managers may remove them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, field_validator

from memory.callers import Caller
from memory.db import Json, Tx, escape_like
from memory.errors import Conflict, Forbidden, NotFound
from memory.rows import Doc, In, Row
from tools import names, workspace

Status = Literal["cold_lead", "prospect", "customer", "churned"]

COMPANY = """
    c.id, c.name, c.domain, c.website, c.phone, c.status, c.segment, c.industry, c.customer_type, c.agent_count,
    c.employee_count, c.employee_range, c.revenue_estimate, c.founded_year, c.crm_platform, c.address, c.logo_url, c.notes,
    c.attributes, c.external_ids, c.technologies, c.owner_id, c.became_customer_at, c.enriched_at, c.created_at, c.updated_at
"""


class CompanyNotFound(NotFound):
    """Company {company_id} does not exist."""


class CompanyExists(Conflict):
    """There is a company with this name or domain already."""

    shows = ("existing",)


class CompanyInUse(Conflict):
    """The company still has products, open deals or open cases."""


class OnlyManagers(Forbidden):
    """Only a manager may remove a company."""


class Address(In):
    """Where the company is; `lat` and `lng` in degrees."""

    street: str | None = Field(default=None, max_length=300)
    city: str | None = Field(default=None, max_length=200)
    state: str | None = Field(default=None, max_length=200)
    zip: str | None = Field(default=None, max_length=20)
    lat: float | None = Field(default=None, ge=-90, le=90)
    lng: float | None = Field(default=None, ge=-180, le=180)


class CompanyFilter(In):
    """Which companies to list; `search` is part of the name."""

    search: str | None = Field(default=None, max_length=200)
    status: Status | None = None
    limit: int = Field(default=100, ge=1, le=5000)
    offset: int = Field(default=0, ge=0)


class CreateCompanyIn(In):
    """A new company. Segment and industry default to the workspace's."""

    name: str = Field(min_length=1, max_length=300)
    status: Status = "prospect"
    segment: str | None = Field(default=None, max_length=100)
    industry: str | None = Field(default=None, max_length=100)
    agent_count: int = Field(default=1, ge=0, le=10_000_000)
    domain: str | None = Field(default=None, max_length=253)
    website: str | None = Field(default=None, max_length=2048)
    address: Address = Address()
    crm_platform: str | None = Field(default=None, max_length=100)

    @field_validator("domain")
    @classmethod
    def _bare_domain(cls, value: str | None) -> str | None:
        return names.normalize_domain(value)


class UpdateCompanyIn(In):
    """What changes; a field that is absent stays. The address comes whole or as flat street, city, state, zip."""

    name: str | None = Field(default=None, min_length=1, max_length=300)
    domain: str | None = Field(default=None, max_length=253)
    status: Status | None = None
    segment: str | None = Field(default=None, max_length=100)
    industry: str | None = Field(default=None, max_length=100)
    agent_count: int | None = Field(default=None, ge=0, le=10_000_000)
    website: str | None = Field(default=None, max_length=2048)
    phone: str | None = Field(default=None, max_length=50)
    address: Address | None = None
    street: str | None = Field(default=None, max_length=300)
    city: str | None = Field(default=None, max_length=200)
    state: str | None = Field(default=None, max_length=200)
    zip: str | None = Field(default=None, max_length=20)
    notes: str | None = Field(default=None, max_length=20_000)
    crm_platform: str | None = Field(default=None, max_length=100)
    attributes: dict[str, Any] | None = None

    @field_validator("domain")
    @classmethod
    def _bare_domain(cls, value: str | None) -> str | None:
        return names.normalize_domain(value)

    @field_validator("name", "status", "agent_count", "segment", "industry")
    @classmethod
    def _stays_filled(cls, value: object) -> object:
        if value is None:
            raise ValueError("may not be null")
        return value


class CompanyItem(Row):
    """One company in a list."""

    id: UUID
    name: str
    status: Status
    segment: str
    industry: str
    agent_count: int


class CompanyRow(CompanyItem):
    """A whole company."""

    domain: str | None
    website: str | None
    phone: str | None
    customer_type: str | None
    employee_count: int | None
    employee_range: str | None
    revenue_estimate: float | None
    founded_year: int | None
    crm_platform: str | None
    address: dict[str, Any]
    logo_url: str | None
    notes: str | None
    attributes: dict[str, Any]
    external_ids: dict[str, Any]
    technologies: list[Any]
    owner_id: UUID | None
    became_customer_at: datetime | None
    enriched_at: datetime | None
    created_at: datetime
    updated_at: datetime


class CompaniesOut(Row):
    """A page of companies by name."""

    companies: list[CompanyItem]


class CompanyOut(Row):
    """One company."""

    company: CompanyRow


class Existing(Row):
    """The row that stands in the way."""

    id: UUID
    name: str


async def list_companies(tx: Tx, caller: Caller, filter: CompanyFilter) -> Doc[CompaniesOut]:
    """Return a page of companies by name."""
    return await tx.doc(
        CompaniesOut,
        """
        SELECT json_build_object('companies', coalesce(json_agg(c), '[]'))::text
          FROM (SELECT id, name, status, segment, industry, agent_count
                  FROM companies
                 WHERE deleted_at IS NULL
                   AND (%(status)s::text IS NULL OR status = %(status)s)
                   AND (%(search)s::text IS NULL OR lower(name) LIKE %(search)s)
                 ORDER BY lower(name), id
                 LIMIT %(limit)s OFFSET %(offset)s) c
        """,
        status=filter.status,
        search=f"%{escape_like(filter.search.lower())}%" if filter.search else None,
        limit=filter.limit,
        offset=filter.offset,
    )


async def get_company(tx: Tx, caller: Caller, company_id: UUID) -> Doc[CompanyOut]:
    """
    Return one company.

    Raises `CompanyNotFound`.
    """
    return await tx.doc(
        CompanyOut,
        f"""
        SELECT json_build_object('company', row_to_json(c))::text
          FROM (SELECT {COMPANY} FROM companies c WHERE c.id = %(company_id)s AND c.deleted_at IS NULL) c
        """,
        missing=CompanyNotFound(company_id=company_id),
        company_id=company_id,
    )


async def create_company(tx: Tx, caller: Caller, body: CreateCompanyIn) -> Doc[CompanyOut]:
    """
    Add a company that nobody has added yet.

    Raises `CompanyExists` when the name (case aside) or the domain is taken, `ValueNotOffered`.
    """
    own = await workspace.get_workspace(tx)
    _check_lists(own, body.segment, body.industry, body.crm_platform)
    await _refuse_double(tx, body.name, body.domain, but=None)
    company_id = await tx.one(
        UUID,
        """
        INSERT INTO companies (name, normalized_name, domain, website, status, segment, industry, agent_count, address,
                               crm_platform, owner_id, became_customer_at)
        VALUES (%(name)s, %(normalized)s, %(domain)s, %(website)s, %(status)s, %(segment)s, %(industry)s, %(agent_count)s,
                %(address)s, %(crm_platform)s, %(owner_id)s, CASE WHEN %(status)s = 'customer' THEN %(now)s::timestamptz END)
        RETURNING id
        """,
        **body.model_dump(exclude={"address", "segment", "industry"}),
        normalized=names.normalize_company(body.name, own.name_stop_words),
        segment=body.segment or own.default_segment,
        industry=body.industry or own.default_industry,
        address=Json(body.address.model_dump(exclude_none=True)),
        owner_id=caller.user_id,
    )
    return await get_company(tx, caller, company_id)


async def update_company(tx: Tx, caller: Caller, company_id: UUID, body: UpdateCompanyIn) -> Doc[CompanyOut]:
    """
    Change what the body names and leave the rest.

    Raises `CompanyNotFound`, `CompanyExists`, `ValueNotOffered`.
    """
    own = await workspace.get_workspace(tx)
    _check_lists(own, body.segment, body.industry, body.crm_platform)
    given = body.model_fields_set
    for attribute in body.attributes or {}:
        workspace.check_offered("attributes", attribute, tuple(own.company_attributes))
    if given & {"name", "domain"}:
        await _refuse_double(tx, body.name, body.domain, but=company_id)
    flat = {part: getattr(body, part) for part in ("street", "city", "state", "zip") if part in given}
    address = (body.address.model_dump(exclude_none=True) if body.address else {}) | flat
    await tx.one(
        UUID,
        """
        UPDATE companies
           SET name = coalesce(%(name)s, name),
               normalized_name = coalesce(%(normalized)s, normalized_name),
               status = coalesce(%(status)s, status),
               segment = coalesce(%(segment)s, segment),
               industry = coalesce(%(industry)s, industry),
               agent_count = coalesce(%(agent_count)s, agent_count),
               became_customer_at = CASE WHEN %(status)s::text = 'customer' THEN coalesce(became_customer_at, %(now)s)
                                         ELSE became_customer_at END,
               domain = CASE WHEN 'domain' = ANY(%(given)s) THEN %(domain)s ELSE domain END,
               website = CASE WHEN 'website' = ANY(%(given)s) THEN %(website)s ELSE website END,
               phone = CASE WHEN 'phone' = ANY(%(given)s) THEN %(phone)s ELSE phone END,
               notes = CASE WHEN 'notes' = ANY(%(given)s) THEN %(notes)s ELSE notes END,
               crm_platform = CASE WHEN 'crm_platform' = ANY(%(given)s) THEN %(crm_platform)s ELSE crm_platform END,
               address = CASE WHEN 'address' = ANY(%(given)s) THEN %(address)s ELSE address || %(address)s END,
               attributes = attributes || %(attributes)s
         WHERE id = %(company_id)s AND deleted_at IS NULL
        RETURNING id
        """,
        missing=CompanyNotFound(company_id=company_id),
        **body.model_dump(exclude={"address", "street", "city", "state", "zip", "attributes"}),
        normalized=names.normalize_company(body.name, own.name_stop_words) if body.name else None,
        address=Json(address),
        attributes=Json(body.attributes or {}),
        given=sorted(given),
        company_id=company_id,
    )
    return await get_company(tx, caller, company_id)


async def delete_company(tx: Tx, caller: Caller, company_id: UUID) -> None:
    """
    Take the company out of every list; its history stays.

    Raises `OnlyManagers`, `CompanyNotFound`, `CompanyInUse`.
    """
    if not caller.sees_all:
        raise OnlyManagers
    in_use = await tx.one(
        bool,
        """
        SELECT EXISTS (SELECT 1 FROM company_product_read_model p
                        WHERE p.company_id = c.id AND p.status IN ('in_sales', 'in_onboarding', 'active'))
            OR EXISTS (SELECT 1 FROM deals d WHERE d.company_id = c.id AND d.stage NOT LIKE 'closed%%')
            OR EXISTS (SELECT 1 FROM support_case_read_model m WHERE m.company_id = c.id AND m.status NOT IN ('resolved', 'closed'))
          FROM companies c
         WHERE c.id = %(company_id)s AND c.deleted_at IS NULL
           FOR UPDATE
        """,
        missing=CompanyNotFound(company_id=company_id),
        company_id=company_id,
    )
    if in_use:
        raise CompanyInUse
    await tx.run("UPDATE companies SET deleted_at = %(now)s WHERE id = %(company_id)s", company_id=company_id)


async def _refuse_double(tx: Tx, name: str | None, domain: str | None, *, but: UUID | None) -> None:
    """Hold the lock on company identities until the commit, so that two equal creations cannot both pass."""
    await tx.lock("companies", "identity")
    existing = await tx.maybe(
        Existing,
        """
        SELECT id, name
          FROM companies
         WHERE deleted_at IS NULL
           AND (lower(name) = lower(%(name)s::text) OR domain = %(domain)s::text)
           AND (%(but)s::uuid IS NULL OR id <> %(but)s)
         ORDER BY (lower(name) = lower(%(name)s::text)) DESC, created_at
         LIMIT 1
        """,
        name=name,
        domain=domain,
        but=but,
    )
    if existing:
        raise CompanyExists(existing=existing.model_dump(mode="json"))


def _check_lists(own: workspace.Workspace, segment: str | None, industry: str | None, crm_platform: str | None) -> None:
    workspace.check_offered("segment", segment, own.segments)
    workspace.check_offered("industry", industry, own.industries)
    workspace.check_offered("crm_platform", crm_platform, own.crm_platforms)
