"""Sales under way: a product with a process, and companies somewhere in it, through the commands that people use."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from memory.callers import SYSTEM, Caller
from tests.given import Given
from tools import lifecycle

STAGES = ("Discovery", "Demo", "Proposal sent", "Negotiation", "Check")


async def a_process(given: Given, product: Any = None, *, stages: tuple[str, ...] = STAGES, **values: Any) -> Any:
    """Publish a sales process: `.product`, `.id`, `.stages` by name, and a terminal stage for what is won and lost."""
    product = product or await given.product()
    process = await given.row(
        "product_processes",
        product_id=product.id,
        **({"process_type": "sales", "status": "published", "name": "Sales", "published_at": given.tx.now} | values),
    )
    made: dict[str, Any] = {}
    for order, name in enumerate((*stages, "Won", "Lost"), 1):
        terminal = {"is_terminal": True, "terminal_type": name.lower()} if name in {"Won", "Lost"} else {}
        made[name] = await given.row(
            "product_process_stages",
            process_id=process.id,
            name=name,
            slug=name.lower().replace(" ", "-"),
            stage_order=order,
            **terminal,
        )
    return SimpleNamespace(id=process.id, product=product, stages=made)


async def a_sale(
    given: Given,
    process: Any,
    *,
    company: Any = None,
    stage: str = "Discovery",
    since: datetime | None = None,
    owner: Caller | None = None,
    **values: Any,
) -> Any:
    """A company in a stage of the process since a moment: the row of `company_products`."""
    company = company or await given.company()
    row = await given.row("company_products", company_id=company.id, product_id=process.product.id, **values)
    given_asks: list[Any] = [lifecycle.StartSaleIn(processId=process.id, initialStageId=process.stages[stage].id)]
    if owner is not None:
        given_asks.append(lifecycle.SetOwnerIn(ownerId=owner.user_id))  # pyright: ignore[reportArgumentType]
    await lifecycle.execute(given.tx, SYSTEM, row.id, *given_asks, occurred_at=since)
    return row


async def standing(given: Given, company_product_id: UUID) -> Any:
    """Return where it stands."""
    return await given.tx.one(
        dict[str, Any],
        "SELECT to_jsonb(m) FROM company_product_read_model m WHERE company_product_id = %(id)s",
        id=company_product_id,
    )
