"""What a company has of each product: bought, on its way, declined or gone."""

from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Doc, Row
from tools.companies import CompanyNotFound
from tools.products.rows import HELD, HeldProduct, Owner, ProductType, TierRow


class HeldOf(Row):
    """The product itself, in short."""

    id: UUID
    name: str
    slug: str
    product_type: ProductType
    icon: str | None
    color: str | None


class CompanyProduct(HeldProduct):
    """One product of a company, with its plan and who looks after it."""

    product: HeldOf
    tier: TierRow | None
    owner: Owner | None


class CompanyProductsOut(Row):
    """The products of a company in the order of the catalogue."""

    companyProducts: list[CompanyProduct]


async def list_company_products(tx: Tx, caller: Caller, company_id: UUID) -> Doc[CompanyProductsOut]:
    """
    Return what the company has of each product: a rep sees their own and those that nobody owns.

    Raises `CompanyNotFound`.
    """
    return await tx.doc(
        CompanyProductsOut,
        f"""
        SELECT json_build_object('companyProducts', coalesce((SELECT json_agg(t) FROM (
                   SELECT {HELD},
                          json_build_object('id', p.id, 'name', p.name, 'slug', p.slug, 'product_type', p.product_type,
                                            'icon', p.icon, 'color', p.color) AS product,
                          CASE WHEN t.id IS NOT NULL THEN json_build_object(
                              'id', t.id, 'name', t.name, 'slug', t.slug, 'display_order', t.display_order,
                              'included_modules', t.included_modules, 'features', t.features,
                              'price_monthly', t.price_monthly) END AS tier,
                          CASE WHEN u.id IS NOT NULL
                               THEN json_build_object('id', u.id, 'name', u.name, 'email', u.email) END AS owner
                     FROM company_products h
                     JOIN products p ON p.id = h.product_id
                     LEFT JOIN company_product_read_model r ON r.company_product_id = h.id
                     LEFT JOIN product_tiers t ON t.id = h.tier_id
                     LEFT JOIN users u ON u.id = r.owner_id
                    WHERE h.company_id = c.id AND h.merged_into_id IS NULL
                      AND (%(scope)s::uuid IS NULL OR r.owner_id = %(scope)s OR r.owner_id IS NULL)
                    ORDER BY p.display_order, p.name, h.id) t), '[]'))::text
          FROM companies c WHERE c.id = %(company_id)s AND c.deleted_at IS NULL
        """,
        missing=CompanyNotFound(company_id=company_id),
        company_id=company_id,
        scope=caller.scope,
    )
