"""What follows once somebody has written to the customer: the flag is resolved, the touch remembered, the next step set."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Refusal
from memory.rows import Row
from tools import lifecycle

log = structlog.get_logger(__name__)


class FollowedFlag(Row):
    """The flag that a letter deals with, and what the letter belongs to through it."""

    id: UUID
    company_id: UUID
    company_product_id: UUID | None


async def find_followed(tx: Tx, flag_id: UUID | None) -> FollowedFlag | None:
    """Return the flag that a letter deals with; None when it has gone with its company."""
    return await tx.maybe(
        FollowedFlag,
        "SELECT id, company_id, company_product_id FROM attention_flags WHERE id = %(flag_id)s FOR UPDATE",
        flag_id=flag_id,
    )


async def settle_flag(tx: Tx, user_id: UUID, flag: FollowedFlag, *, subject: str, message_id: str | None) -> None:
    """Resolve the flag, use up its drafts, and remember that a person has touched the product."""
    await tx.run(
        """
        UPDATE attention_flags
           SET status = 'resolved', snoozed_until = NULL, resolved_at = %(now)s, resolved_by = %(user_id)s,
               resolution_notes = left('Written to: ' || %(subject)s, 500)
         WHERE id = %(flag_id)s AND status <> 'resolved'
        """,
        flag_id=flag.id,
        user_id=user_id,
        subject=subject,
    )
    await tx.run(
        """
        UPDATE email_drafts
           SET status = 'sent', sent_at = %(now)s, sent_message_id = %(message_id)s, approved_by = coalesce(approved_by, %(user_id)s),
               approved_at = coalesce(approved_at, %(now)s), updated_at = %(now)s
         WHERE origin = 'flag' AND origin_id = %(flag_id)s AND user_id = %(user_id)s AND status IN ('pending_review', 'edited', 'approved')
        """,
        flag_id=flag.id,
        user_id=user_id,
        message_id=message_id,
    )
    await tx.run(
        """
        UPDATE company_products
           SET last_human_touch_at = greatest(last_human_touch_at, %(now)s), last_activity_at = greatest(last_activity_at, %(now)s)
         WHERE id = %(company_product_id)s
        """,
        company_product_id=flag.company_product_id,
    )


async def set_next_step(
    tx: Tx, user_id: UUID, company_product_id: UUID | None, *, subject: str, days: int
) -> datetime | None:
    """
    Set the next step of a product as the person who wrote, and return when it is due; None without a product.

    It refuses nothing, because the letter has left.
    """
    if company_product_id is None:
        return None
    author = Caller(user_id=user_id, role="rep")
    due_at = tx.now + timedelta(days=days)
    step = lifecycle.SetNextStepDueIn(nextStep=f"Follow up: {subject}"[:500], dueDate=due_at)
    try:
        await lifecycle.execute(tx, author, company_product_id, step, permitted=True)
    except Refusal as refusal:
        log.warning("next step not set", company_product_id=str(company_product_id), error=refusal.message)
        return None
    return due_at
