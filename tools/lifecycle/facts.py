"""What a command needs to know beyond the product's own history: processes, owners, the currency."""

from uuid import UUID

from memory.db import Tx
from memory.rows import Named
from tools import processes, users, workspace
from tools.company_products import CompanyProductRow
from tools.lifecycle import asks
from tools.lifecycle.asks import Ask
from tools.lifecycle.course import Facts
from tools.lifecycle.state import ProcessType, State
from tools.processes import Process

_MOVES = (
    asks.AdvanceStageIn, asks.SetPhaseIn, asks.CompleteProcessIn, asks.CompleteSaleStartOnboardingIn,
    asks.CompleteOnboardingStartEngagementIn, asks.CloseSaleIn, asks.AdoptIn,
)  # fmt: skip

ALONE = (
    asks.SetTierIn, asks.SetMrrIn, asks.SetSeatsIn, asks.SetNextStepDueIn, asks.AddNoteIn, asks.RecordActivityIn,
    asks.RecordHealthIn, asks.DismissSuggestionIn,
)  # fmt: skip
"""What is decided on the history alone; an amount without a currency may need the workspace's, which does not change it."""


async def look_up(tx: Tx, row: CompanyProductRow, it: State, ask: Ask) -> Facts:
    """Return what deciding on this command takes."""
    current = None
    if isinstance(ask, _MOVES) and it.process_open and it.process_id:
        current = await processes.find_process(tx, UUID(it.process_id))
    return Facts(
        product_id=row.product_id,
        current=current,
        target=await _find_target(tx, row, it, ask),
        owner=await _find_owner(tx, ask.ownerId) if isinstance(ask, asks.SetOwnerIn) else None,
        currency=await _currency(tx, it) if isinstance(ask, asks.SetMrrIn) else "",
    )


async def _find_target(tx: Tx, row: CompanyProductRow, it: State, ask: Ask) -> Process | None:
    match ask:
        case asks.StartSaleIn() | asks.RestartSaleIn():
            return await processes.find_process(tx, ask.processId)
        case asks.CompleteSaleStartOnboardingIn():
            return await _given_or_published(tx, row, ask.onboardingProcessId, "onboarding")
        case asks.CompleteOnboardingStartEngagementIn():
            return await _given_or_published(tx, row, ask.engagementProcessId, "engagement")
        case asks.AdoptIn():
            kind = "onboarding" if ask.toPhase == "onboarding" else "engagement"
            return await _given_or_published(tx, row, ask.processId, kind)
        case asks.CompleteProcessIn() | asks.CloseSaleIn():
            if ask.outcome == "won":
                return await processes.find_published(tx, row.product_id, "onboarding")
            if ask.outcome == "completed" and it.process_type == "onboarding":
                return await processes.find_published(tx, row.product_id, "engagement")
            return None
        case _:
            return None


async def _given_or_published(
    tx: Tx, row: CompanyProductRow, process_id: UUID | None, kind: ProcessType
) -> Process | None:
    if process_id is not None:
        return await processes.find_process(tx, process_id)
    return await processes.find_published(tx, row.product_id, kind)


async def _find_owner(tx: Tx, user_id: UUID) -> Named | None:
    user = await users.find_caller_by_id(tx, user_id)
    return Named(id=user_id, name=user.name) if user else None


async def _currency(tx: Tx, it: State) -> str:
    return it.currency or (await workspace.get_workspace(tx)).currency
