"""Triage over HTTP."""

from fastapi import APIRouter

from api.deps import Reading, Transaction, User
from tools import triage

router = APIRouter(prefix="/api/triage", tags=["Triage"])


@router.get("", summary="List messages without a company")
async def list_triage(user: User, tx: Reading) -> triage.TriageOut:
    """List the newest messages that belong to no company, each with what matching suggests."""
    return await triage.list_triage(tx, user)


@router.post("", summary="Decide where a message belongs")
async def decide_triage(body: triage.DecideTriageIn, user: User, tx: Transaction) -> triage.TriageDecidedOut:
    """Assign a message to a company, or ignore it."""
    return await triage.decide_triage(tx, user, body)
