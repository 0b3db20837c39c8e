"""
What a company has of a product: one row per pair, which the history of that pair is kept under.

Where it stands (phase, stage, owner, price, health) is what its events say: see `tools.lifecycle`. Everybody reads;
its owner and managers change it, and everybody while nobody owns it.
"""

from typing import LiteralString
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Invalid, NotFound
from memory.rows import Row

# Who may change the company's product `m` of the read model; a null scope may change everything.
MAY_WRITE: LiteralString = "(%(scope)s::uuid IS NULL OR m.owner_id IS NULL OR m.owner_id = %(scope)s)"


class CompanyProductNotFound(NotFound):
    """Company product {company_product_id} does not exist."""


class CompanyProductMerged(Conflict):
    """This company product was merged into {mergedInto}."""

    shows = ("mergedInto",)


class CompanyUnknown(Invalid):
    """Company {company_id} does not exist."""


class ProductUnknown(Invalid):
    """Product {product_id} does not exist."""


class PairForeign(Invalid):
    """Company product {company_product_id} is not of this company and product."""


class CompanyProductRow(Row):
    """Which product of which company; `created` only on the row that has just been made."""

    id: UUID
    company_id: UUID
    product_id: UUID
    merged_into_id: UUID | None
    created: bool = False


async def get_company_product(tx: Tx, caller: Caller, company_product_id: UUID) -> CompanyProductRow:
    """
    Return which product of which company this is.

    Raises `CompanyProductNotFound`.
    """
    return await tx.one(
        CompanyProductRow,
        "SELECT id, company_id, product_id, merged_into_id FROM company_products WHERE id = %(company_product_id)s",
        missing=CompanyProductNotFound(company_product_id=company_product_id),
        company_product_id=company_product_id,
    )


def check_pair(row: CompanyProductRow, company_id: UUID, product_id: UUID) -> None:
    """
    Refuse a row that is not of this company and this product.

    Raises `PairForeign`.
    """
    if (row.company_id, row.product_id) != (company_id, product_id):
        raise PairForeign(company_product_id=row.id)


async def get_or_create(tx: Tx, caller: Caller, company_id: UUID, product_id: UUID) -> CompanyProductRow:
    """
    Return what the company has of the product; a new row has no history and no owner.

    Raises `CompanyUnknown`, `ProductUnknown`.
    """
    await tx.one(
        UUID,
        "SELECT id FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL FOR KEY SHARE",
        missing=CompanyUnknown(company_id=company_id),
        company_id=company_id,
    )
    await tx.one(
        UUID,
        "SELECT id FROM products WHERE id = %(product_id)s FOR KEY SHARE",
        missing=ProductUnknown(product_id=product_id),
        product_id=product_id,
    )
    made = await tx.maybe(
        CompanyProductRow,
        """
        INSERT INTO company_products (company_id, product_id) VALUES (%(company_id)s, %(product_id)s)
        ON CONFLICT (company_id, product_id) DO NOTHING
        RETURNING id, company_id, product_id, merged_into_id, true AS created
        """,
        company_id=company_id,
        product_id=product_id,
    )
    # Somebody else's row is seen by a statement that begins after theirs committed.
    return made or await tx.one(
        CompanyProductRow,
        """
        SELECT id, company_id, product_id, merged_into_id FROM company_products
         WHERE company_id = %(company_id)s AND product_id = %(product_id)s
        """,
        company_id=company_id,
        product_id=product_id,
    )
