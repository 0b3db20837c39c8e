"""
Evaluations that were asked for: the evals run as a program of their own, which writes its results into the database.

The API does not know the evals; it starts them as anybody at a shell would. Answers that were paid for are remembered, so
that a job that begins again goes on where it was.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr

from api.jobs.kit import Run, job
from memory import tether
from memory.settings import Settings, variable
from tools.evaluations import recording
from tools.evaluations.recording import Batch

ROOT = Path(__file__).parents[2]
LIMIT = timedelta(minutes=45)
TAIL = 1500
TOLD = (
    "openai_api_key", "openai_base_url", "model_strong", "model_cheap", "model_timeout_s", "budget_user_day_usd",
    "budget_org_day_usd",
)  # fmt: skip


@job("evaluations.run", queue="agents", attempts=2, limit=LIMIT + timedelta(minutes=5))
async def run_evaluation(run: Run, *, batch_id: UUID, judge: bool = False, **_: object) -> None:
    """Run what is left of a batch. Whatever ends it before its time stands in its rows."""
    async with run.db.reading() as tx:
        batch = await recording.find_batch(tx, batch_id)
    if batch is None:
        return
    try:
        async with asyncio.timeout(LIMIT.total_seconds()):
            said = await _carry_out(arguments(batch, batch_id, judge=judge), environment(run.settings, run.db.url))
    except TimeoutError:
        said = f"It took longer than {LIMIT}."
    except OSError as failure:
        said = f"The evals could not be started: {failure}"
    async with run.transaction() as tx:
        left = await recording.end_batch(tx, batch_id, "failed", said[-TAIL:])
    if left:
        run.log.warning("evaluation given up", batch_id=str(batch_id), runs=left, said=said[-TAIL:])


@job("evaluations.sweep", queue="clock", attempts=2)
async def sweep_evaluations(run: Run, **_: object) -> None:
    """Give up runs whose process is gone, so that nobody waits for them."""
    async with run.transaction() as tx:
        if swept := await recording.sweep_runs(tx):
            run.log.warning("evaluations swept", runs=swept)


def arguments(batch: Batch, batch_id: UUID, *, judge: bool) -> list[str]:
    """Return what the shell door of the evals is told."""
    said = ["run", *batch.suites, "--engine", batch.engine, "--batch", str(batch_id)]
    said += ["--limit-usd", str(batch.limit_usd)]
    said += ["--model", batch.model] if batch.model else []
    said += ["--prompt", f"{batch.prompt_key}@{batch.prompt_version}"] if batch.prompt_key else []
    said += ["--against", f"{batch.against_key}@{batch.against_version}"] if batch.against_key else []
    return [*said, *(["--judge"] if judge else [])]


def environment(settings: Settings, url: str) -> dict[str, str]:
    """Return the environment of the evals: this process's own, its database, and the model that it was configured with."""
    told = {name: getattr(settings, name) for name in TOLD}
    said = {
        variable(name): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in told.items()
        if value is not None
    }
    prices = settings.model_dump_json(include={"model_prices"}).removeprefix('{"model_prices":').removesuffix("}")
    said |= {variable("data"): str(settings.data.resolve()), variable("model_prices"): prices}
    return {**os.environ, **said, variable("database_url"): url, "NO_COLOR": "1"}


async def _carry_out(words: Sequence[str], env: dict[str, str]) -> str:
    """Run the program to its end and return what it said; it ends with this process, whatever becomes of it."""
    process = await asyncio.create_subprocess_exec(
        *tether.command([sys.executable, "-m", "evals", *words]),
        cwd=ROOT,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return said.decode(errors="replace").strip()
