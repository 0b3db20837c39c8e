"""Health and signals of deals over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from api.deps import Reading, Transaction, User
from api.schemas import Done, doc_response
from tools import health, signals

router = APIRouter(prefix="/api/ai", tags=["AI"])


@router.post("/health-score", summary="Judge the health of a deal or company")
async def compute_health(body: health.HealthIn, user: User, tx: Transaction) -> health.HealthOut:
    """Compute the health of a deal, or of a company by its open deals, and keep it in the history."""
    return await health.compute_health(tx, user, body)


@router.get("/signals", summary="List signals", response_model=signals.SignalsOut)
async def list_signals(filter: Annotated[signals.SignalFilter, Query()], user: User, tx: Reading) -> Response:
    """List the signals you may see, the gravest first."""
    return doc_response(await signals.list_signals(tx, user, filter))


@router.post(
    "/signals", summary="Create a signal, or scan for signals", response_model=signals.SignalOut | signals.DetectedOut
)
async def create_signal(body: signals.CreateSignalIn, user: User, tx: Transaction) -> JSONResponse:
    """Write a signal down (201), or without `signal_type` scan one deal, or all open deals, for them (200)."""
    if body.signal_type:
        made = await signals.create_signal(tx, user, body)
        return JSONResponse(made.model_dump(mode="json"), status_code=201)
    found = await signals.detect_signals(tx, user, deal_id=body.dealId, save=body.save)
    return JSONResponse(found.model_dump(mode="json"))


@router.get("/signals/{signal_id}", summary="Get a signal")
async def get_signal(signal_id: UUID, user: User, tx: Reading) -> signals.SignalOut:
    """Get one signal with its evidence."""
    return signals.SignalOut(signal=await signals.get_signal(tx, user, signal_id))


@router.patch("/signals/{signal_id}", summary="Update a signal")
async def update_signal(
    signal_id: UUID, body: signals.UpdateSignalIn, user: User, tx: Transaction
) -> signals.SignalOut:
    """Acknowledge, resolve or dismiss a signal, or weigh it differently; closed is final."""
    return await signals.update_signal(tx, user, signal_id, body)


@router.delete("/signals/{signal_id}", summary="Dismiss a signal")
async def dismiss_signal(signal_id: UUID, user: User, tx: Transaction) -> Done:
    """Dismiss a signal; it stays in the history."""
    await signals.dismiss_signal(tx, user, signal_id)
    return Done()
