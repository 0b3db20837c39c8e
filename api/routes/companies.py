"""Companies over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.deps import Manager, Reading, Transaction, User
from api.schemas import Done, doc_response
from tools import account_memory, companies, contacts, conversions
from tools.products import held

router = APIRouter(prefix="/api/companies", tags=["Companies"])


@router.get("", summary="List companies", response_model=companies.CompaniesOut)
async def list_companies(filter: Annotated[companies.CompanyFilter, Query()], user: User, tx: Reading) -> Response:
    """List companies by name; `search` is part of the name."""
    return doc_response(await companies.list_companies(tx, user, filter))


@router.post("", summary="Create a company", status_code=201, response_model=companies.CompanyOut)
async def create_company(body: companies.CreateCompanyIn, user: User, tx: Transaction) -> Response:
    """Create a company. A company of the same name or domain is a conflict that names the existing one."""
    return doc_response(await companies.create_company(tx, user, body), status=201)


@router.get("/{company_id}", summary="Get a company", response_model=companies.CompanyOut)
async def get_company(company_id: UUID, user: User, tx: Reading) -> Response:
    """Get one company."""
    return doc_response(await companies.get_company(tx, user, company_id))


@router.put("/{company_id}", summary="Update a company", response_model=companies.CompanyOut)
@router.patch("/{company_id}", summary="Update a company", response_model=companies.CompanyOut, include_in_schema=False)
async def update_company(company_id: UUID, body: companies.UpdateCompanyIn, user: User, tx: Transaction) -> Response:
    """Change the fields that the body names; the others stay."""
    return doc_response(await companies.update_company(tx, user, company_id, body))


@router.delete("/{company_id}", summary="Remove a company")
async def delete_company(company_id: UUID, manager: Manager, tx: Transaction) -> Done:
    """Remove a company that has no live products, open deals or open cases."""
    await companies.delete_company(tx, manager, company_id)
    return Done()


@router.get("/{company_id}/contacts", summary="List a company's contacts", response_model=contacts.CompanyContactsOut)
async def list_company_contacts(company_id: UUID, user: User, tx: Reading) -> Response:
    """List the people at one company by name."""
    return doc_response(await contacts.list_company_contacts(tx, user, company_id))


@router.get("/{company_id}/products", summary="List a company's products", response_model=held.CompanyProductsOut)
async def list_company_products(company_id: UUID, user: User, tx: Reading) -> Response:
    """List what a company has of each product: your own and those that nobody owns; a manager sees all."""
    return doc_response(await held.list_company_products(tx, user, company_id))


@router.post("/{company_id}/products/convert", summary="Convert one product into another")
async def convert_product(
    company_id: UUID, body: conversions.ConvertProductIn, user: User, tx: Transaction
) -> conversions.ConvertedOut:
    """Let a company use one product instead of another: revenue, seats and owner move, the old one ends."""
    return await conversions.convert_product(tx, user, company_id, body)


@router.get("/{company_id}/memory", summary="Get what is remembered of a company")
async def get_memory(company_id: UUID, user: User, tx: Reading) -> account_memory.MemoryOut:
    """Get what works with this company and what does not, with the last ten changes."""
    return await account_memory.get_memory(tx, user, company_id)


@router.post("/{company_id}/memory", summary="Remember something of a company")
async def update_memory(
    company_id: UUID, body: account_memory.UpdateMemoryIn, user: User, tx: Transaction
) -> account_memory.MemoryUpdatedOut:
    """Append to a list field, or replace fields; every change is kept with who made it."""
    return await account_memory.update_memory(tx, user, company_id, body)
