"""Evaluations over HTTP: what runs of evals found, and a run asked for. For admins."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import Field

from api.deps import Admin, Reading, Services, Transaction
from api.schemas import doc_response
from memory.rows import In, Row
from tools.evaluations import reading, requesting, suites, verdicts
from tools.evaluations.reading import ComparedOut, CompareFilter
from tools.evaluations.requesting import RequestedOut, RequestEvaluationIn
from tools.evaluations.rows import (
    EvalResultFilter,
    EvalResultsOut,
    EvalRunFilter,
    EvalRunOut,
    EvalRunsOut,
    VerdictRow,
)
from tools.evaluations.suites import SuitesOut
from tools.evaluations.verdicts import Evidence

router = APIRouter(prefix="/api/evals", tags=["Evals"])

SANDBOX = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""A report brings its own style and nothing else; what stands in it can neither run nor leave."""


class VerdictFilter(In):
    """Which version of which prompt, against which."""

    key: str = Field(max_length=150, examples=["communication_hub_analysis"])
    version: int = Field(ge=1, le=2**31 - 1)
    against_version: int = Field(ge=1, le=2**31 - 1)
    against_key: str | None = Field(default=None, max_length=150)


class VerdictsOut(Row):
    """The newest verdict of each suite, engine and model, and what they come to."""

    verdicts: list[VerdictRow]
    evidence: Evidence


@router.get("/suites", summary="List suites")
async def list_suites(admin: Admin) -> SuitesOut:  # noqa: ARG001 - for admins
    """List the suites, what they ask of each answer, and which prompts they hold."""
    return suites.shelf()


@router.get("/runs", summary="List runs of evals")
async def list_runs(filter: Annotated[EvalRunFilter, Query()], admin: Admin, tx: Reading) -> EvalRunsOut:
    """List runs, newest first: one suite, one engine and one version of a prompt each."""
    return await reading.list_runs(tx, admin, filter)


@router.post("/runs", summary="Ask for a run of evals", status_code=202)
async def request_evaluation(
    body: RequestEvaluationIn, admin: Admin, tx: Transaction, services: Services
) -> RequestedOut:
    """Have a worker try a version of a prompt against another on every suite that holds it, or run suites as things are."""
    return await requesting.request_evaluation(tx, admin, body, configured=services.settings.model_engine)


@router.get("/runs/{run_id}", summary="Get a run of evals")
async def get_run(run_id: UUID, admin: Admin, tx: Reading) -> EvalRunOut:
    """Get one run with its figures."""
    return EvalRunOut(run=await reading.get_run(tx, admin, run_id))


@router.get("/runs/{run_id}/results", summary="List the cases of a run", response_model=EvalResultsOut)
async def list_results(
    run_id: UUID, filter: Annotated[EvalResultFilter, Query()], admin: Admin, tx: Reading
) -> Response:
    """List what came of each case, what went wrong first. Held-out cases are counted, not shown."""
    return doc_response(await reading.list_results(tx, admin, run_id, filter))


@router.get(
    "/runs/{run_id}/report",
    summary="Get a run's report",
    responses={200: {"content": {"text/html": {"example": "<!doctype html><title>Evals</title>"}}}},
)
async def get_report(run_id: UUID, admin: Admin, tx: Reading) -> Response:
    """Get a page that stands by itself: figures, confusion, failures, quality over versions and against cost."""
    page = await reading.get_report(tx, admin, run_id)
    return HTMLResponse(page, headers={"content-security-policy": SANDBOX, "cache-control": "no-store"})


@router.get("/compare", summary="Compare two runs")
async def compare_runs(filter: Annotated[CompareFilter, Query()], admin: Admin, tx: Reading) -> ComparedOut:
    """Hold two runs of one suite side by side, case by case."""
    return await reading.compare_runs(tx, admin, filter)


@router.get("/verdicts", summary="List verdicts on a version")
async def list_verdicts(filter: Annotated[VerdictFilter, Query()], admin: Admin, tx: Reading) -> VerdictsOut:  # noqa: ARG001 - for admins
    """List what a version of a prompt is against another, and whether that is evidence enough to release it."""
    asked = (filter.key, filter.version, filter.against_version, filter.against_key)
    found = await verdicts.verdicts_of(tx, *asked)
    return VerdictsOut(verdicts=found, evidence=await verdicts.evidence_for(tx, *asked))
