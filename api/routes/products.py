"""Products over HTTP: the catalogue, one product with its pipeline, the stages of its sale, its analysis."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from agents import runs
from api.deps import Manager, Reading, StartsModel, Transaction, User
from api.schemas import Done, doc_response
from memory.rows import In, Row
from tools import conversions
from tools.products import listing, ordering, readings, stages

router = APIRouter(prefix="/api/products", tags=["Products"])


class AnalyzeIn(In):
    """Which part of the analysis: read new transcripts, contrast won with lost, count the stages, or all of it."""

    type: Literal["full", "transcripts", "patterns", "metrics"] = "full"


class AnalysisStartedOut(Row):
    """The analysis has begun; `job_id` is its run."""

    success: Literal[True] = True
    job_id: UUID
    message: str


@router.get("", summary="List products", response_model=listing.ProductsOut)
async def list_products(filter: Annotated[listing.ProductFilter, Query()], user: User, tx: Reading) -> Response:
    """List the active products that stand on their own; figures count your companies (a manager: everybody's)."""
    return doc_response(await listing.list_products(tx, user, filter))


@router.post("/reorder", summary="Move a product up or down")
async def reorder_product(body: ordering.ReorderProductIn, manager: Manager, tx: Transaction) -> ordering.ReorderedOut:
    """Swap a product with its neighbour in the catalogue."""
    return await ordering.reorder_product(tx, manager, body)


@router.post("/migration/complete", summary="Complete a migration")
async def complete_migration(
    body: conversions.CompleteMigrationIn, user: User, tx: Transaction
) -> conversions.MigratedOut:
    """Finish a migration: the successor is onboarded with the revenue, the predecessor ends. Repeating it is harmless."""
    return await conversions.complete_migration(tx, user, body)


@router.get("/{slug}", summary="Get a product", response_model=listing.ProductOut)
async def get_product(
    slug: str, filter: Annotated[listing.ProductPageFilter, Query()], user: User, tx: Reading
) -> Response:
    """Get a product with its pipeline, longest on the way first, its newest customers, and how many stand where."""
    return doc_response(await listing.get_product(tx, user, slug, filter))


@router.post("/{slug}/analyze", summary="Analyze a product", status_code=202, dependencies=[StartsModel])
async def analyze_product(
    slug: str, manager: Manager, tx: Transaction, body: AnalyzeIn | None = None
) -> AnalysisStartedOut:
    """Have a product's meetings read and its stages measured; follow the run under `/api/agents/runs/{job_id}`."""
    product_id = await readings.find_product_id(tx, slug)
    await readings.check_idle(tx, product_id)
    asked = {"product_id": product_id, "type": (body or AnalyzeIn()).type}
    run = await runs.start(tx, manager, "product_analysis", asked)
    return AnalysisStartedOut(job_id=run.id, message="The analysis has begun.")


@router.get("/{slug}/stages", summary="List the stages of a product's sale", response_model=stages.StagesOut)
async def list_stages(slug: str, user: User, tx: Reading) -> Response:
    """List the stages of the published sales process in order."""
    return doc_response(await stages.list_stages(tx, user, slug))


@router.post(
    "/{slug}/stages", summary="Add a stage to a product's sale", status_code=201, response_model=stages.StageOut
)
async def create_stage(slug: str, body: stages.CreateStageIn, manager: Manager, tx: Transaction) -> Response:
    """Add a stage at the end, or where `stage_order` says; a product without a sales process gets one."""
    return doc_response(await stages.create_stage(tx, manager, slug, body), status=201)


@router.post("/{slug}/stages/reorder", summary="Order the stages of a product's sale")
async def reorder_stages(slug: str, body: stages.ReorderStagesIn, manager: Manager, tx: Transaction) -> Done:
    """Put the stages into this order; every one of them must be named once."""
    await stages.reorder_stages(tx, manager, slug, body)
    return Done()


@router.get("/{slug}/stages/{stage_id}", summary="Get a stage", response_model=stages.StageOut)
async def get_stage(slug: str, stage_id: UUID, user: User, tx: Reading) -> Response:
    """Get one stage of the published sales process."""
    return doc_response(await stages.get_stage(tx, user, slug, stage_id))


@router.patch("/{slug}/stages/{stage_id}", summary="Change a stage", response_model=stages.StageOut)
async def update_stage(
    slug: str, stage_id: UUID, body: stages.UpdateStageIn, manager: Manager, tx: Transaction
) -> Response:
    """Change the fields that the body names; what the analysis writes, and the slug, stay."""
    return doc_response(await stages.update_stage(tx, manager, slug, stage_id, body))


@router.delete("/{slug}/stages/{stage_id}", summary="Archive a stage")
async def archive_stage(slug: str, stage_id: UUID, manager: Manager, tx: Transaction) -> Done:
    """Take a stage that no company is in out of the process; what companies went through stays."""
    await stages.archive_stage(tx, manager, slug, stage_id)
    return Done()
