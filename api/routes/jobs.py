"""Jobs over HTTP: what the clock does by itself, started by hand or by a scheduler of your own."""

from fastapi import APIRouter

from api.deps import ManagerOrClock, Transaction
from tools.attention import stalls

router = APIRouter(prefix="/api/jobs", tags=["Jobs"])


@router.post("/generate-stall-flags", summary="Flag stalled sales")
async def generate_stall_flags(caller: ManagerOrClock, tx: Transaction) -> stalls.StallsOut:
    """Bring the flags of all open sales up to date now; 409 while that is under way."""
    return await stalls.raise_stalls(tx, caller)
