"""Evals as pages: suites, runs, the cases of a run with what was said of them, two runs side by side."""

from collections import defaultdict
from typing import Any
from uuid import UUID

from starlette.responses import Response

from api.console.frame import HEADERS
from api.console.visits import ENOUGH, AdminPage, router
from tools.evaluations import reading, requesting, suites
from tools.evaluations.reading import CompareFilter
from tools.evaluations.requesting import RequestEvaluationIn
from tools.evaluations.rows import EvalResultFilter, EvalRunFilter, EvalRunRow

PAGE = 25
CASES = 100
POINTS = 12
STATUSES = ("queued", "running", "finished", "failed", "stopped")
ENGINES = ("rules", "openai")
OUTCOMES = ("error", "failed", "passed")
# The report brings its own style. It is nobody's page: no scripts, no cookies, no forms, no address to be sent from.
REPORT_HEADERS = HEADERS | {
    "content-security-policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
}
router = router()


@router.get("/evals")
async def show_evals(page: AdminPage, suite: str = "", engine: str = "", status: str = "", offset: int = 0) -> Response:
    """Show every suite with its last figures, and the runs, newest first."""
    known = suites.list_suites()
    chosen = EvalRunFilter(
        suite=suite if suite in {one.name for one in known} else None,
        engine=engine if engine in ENGINES else None,  # pyright: ignore[reportArgumentType]
        status=status if status in STATUSES else None,  # pyright: ignore[reportArgumentType]
        offset=max(0, min(offset, 100_000)),
        limit=PAGE,
    )
    async with page.db.reading() as tx:
        listed = await reading.list_runs(tx, page.caller, chosen)
        recent = await reading.list_runs(tx, page.caller, EvalRunFilter(status="finished", limit=200))
    return page.show(
        "evals/list.html",
        "evals/_runs.html",
        suites=known,
        runs=listed.runs,
        total=listed.total,
        filter=chosen,
        courses=_courses(recent.runs),
        statuses=STATUSES,
        engines=ENGINES,
        page=PAGE,
        engine=page.services.settings.model_engine,
    )


@router.post("/evals")
async def request_evaluation(page: AdminPage) -> Response:
    """Ask for a run of one suite or all, as things are, or of a version of a prompt against another."""
    asked = {name: value.strip() for name, value in page.sent.items() if name != "csrf" and value.strip()}
    back = asked.pop("back", "")
    body = page.take(RequestEvaluationIn, {**asked, "judge": "judge" in asked})
    async with page.db.transaction() as tx:
        made = await requesting.request_evaluation(
            tx, page.caller, body, configured=page.services.settings.model_engine
        )
    if back == "release" and body.prompt_key:
        return page.go(f"/console/prompts/{body.prompt_key}/release/{body.prompt_version}", said="evaluating")
    way = f"/console/evals/runs/{made.runs[0].id}" if len(made.runs) == 1 else "/console/evals"
    return page.go(way, said="evaluating")


@router.get("/evals/runs/{run_id}")
async def show_eval_run(
    page: AdminPage, run_id: UUID, outcome: str = "", scorer: str = "", offset: int = 0
) -> Response:
    """Show one run: its figures, its verdict, and its cases with what each scorer said."""
    async with page.db.reading() as tx:
        run = await reading.get_run(tx, page.caller, run_id)
        names = {figure.name for figure in run.figures.scorers}
        chosen = EvalResultFilter(
            outcome=outcome if outcome in OUTCOMES else None,  # pyright: ignore[reportArgumentType]
            scorer=scorer if scorer in names else None,
            offset=max(0, min(offset, 100_000)),
            limit=CASES,
        )
        found = (await reading.list_results(tx, page.caller, run_id, chosen)).parse()
        others = await reading.list_runs(tx, page.caller, EvalRunFilter(suite=run.suite, limit=100))
    under_way = run.status in ("queued", "running")
    whole = page.request.headers.get("hx-target") == "eval"
    return page.show(
        "evals/run.html",
        "evals/_run.html" if whole else "evals/_cases.html",
        ENOUGH if page.partial and whole and not under_way else 200,
        run=run,
        under_way=under_way,
        found=found,
        filter=chosen,
        outcomes=OUTCOMES,
        scorers=sorted(names),
        others=[other for other in others.runs if other.id != run.id and other.status in ("finished", "failed")],
        page=CASES,
    )


@router.get("/evals/runs/{run_id}/report")
async def show_report(page: AdminPage, run_id: UUID) -> Response:
    """Show a run's report as a document of its own, under a policy of its own."""
    async with page.db.reading() as tx:
        report = await reading.get_report(tx, page.caller, run_id)
    return Response(report, headers=REPORT_HEADERS, media_type="text/html")


@router.get("/evals/compare")
async def compare(page: AdminPage, run_id: UUID, against_run_id: UUID, show: str = "changed") -> Response:
    """Hold two runs of one suite side by side, case by case."""
    chosen = CompareFilter(run_id=run_id, against_run_id=against_run_id, show="all" if show == "all" else "changed")
    async with page.db.reading() as tx:
        compared = await reading.compare_runs(tx, page.caller, chosen)
    cases: dict[str, list[Any]] = defaultdict(list)
    for case in compared.cases:
        cases[case.case_id].append(case)
    return page.show("evals/compare.html", "evals/_compared.html", compared=compared, cases=cases, show=chosen.show)


def _courses(runs: list[EvalRunRow]) -> dict[str, dict[str, Any]]:
    """Return for each suite its last run, the dear figure of it, and the points of a small line over the runs before it."""
    courses: dict[str, dict[str, Any]] = {}
    by_suite: dict[str, list[EvalRunRow]] = defaultdict(list)
    for run in runs:
        by_suite[run.suite].append(run)
    for name, found in by_suite.items():
        same = [run for run in found if run.engine == found[0].engine][:POINTS]
        shares = [figure.share for run in reversed(same) for figure in run.figures.scorers if figure.dear]
        dear = next((figure for figure in found[0].figures.scorers if figure.dear), None)
        width = 100 / max(1, len(shares) - 1)
        points = " ".join(f"{at * width:.1f},{22 - share * 20:.1f}" for at, share in enumerate(shares))
        courses[name] = {"run": found[0], "dear": dear, "points": points if len(shares) > 1 else ""}
    return courses
