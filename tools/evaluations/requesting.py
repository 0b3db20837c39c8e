"""A run of evals asked for over the API: a row for each suite, and one job that a worker carries out."""

from uuid import UUID, uuid4

from pydantic import Field, model_validator

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Invalid, NotFound
from memory.rows import In, Row
from tools.evaluations import reading, suites
from tools.evaluations.rows import Engine, EvalRunFilter, EvalRunRow, check_admin
from tools.evaluations.suites import SuiteRow


class PromptVersionMissing(NotFound):
    """There is no version {version} of the prompt {key}."""


class NothingToCompare(Conflict):
    """The prompt {key} has no active version to be held against; name one with against_version."""


class SameVersion(Invalid):
    """A version cannot be held against itself."""


class NoSuiteHolds(Conflict):
    """No suite holds the prompt {key}{among}."""


class ModelMissing(Conflict):
    """No model is configured, and the rules do not read prompts."""


class EvaluationUnderWay(Conflict):
    """The same is being evaluated already."""

    shows = ("batch_id",)


class RequestEvaluationIn(In):
    """
    What to evaluate: a version of a prompt against another (by default the active one), or suites as things are.

    Without `suite`, every suite that holds the prompt is run, or without a prompt every suite.
    """

    suite: str | None = Field(default=None, max_length=80, examples=["analysis"])
    prompt_key: str | None = Field(default=None, max_length=150, examples=["communication_hub_analysis"])
    prompt_version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    against_key: str | None = Field(default=None, max_length=150)
    against_version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    engine: Engine | None = Field(default=None, description="By default what answers here now.")
    model: str | None = Field(default=None, min_length=1, max_length=200)
    judge: bool = Field(default=False, description="Let a model judge what words cannot be compared for.")
    limit_usd: float = Field(default=5.0, gt=0, le=500, description="Stop before it costs more.")

    @model_validator(mode="after")
    def _names_whole_versions(self) -> "RequestEvaluationIn":
        if (self.prompt_key is None) != (self.prompt_version is None):
            raise ValueError("prompt_key and prompt_version go together")
        if self.prompt_key is None and (self.against_version or self.against_key):
            raise ValueError("only a version of a prompt can be held against another")
        return self


class RequestedOut(Row):
    """The runs to be, one for each suite; a worker takes them up."""

    batch_id: UUID
    runs: list[EvalRunRow]


async def request_evaluation(tx: Tx, caller: Caller, body: RequestEvaluationIn, *, configured: Engine) -> RequestedOut:
    """
    Write down what is to be run and promise the job; `configured` is the engine that answers in this deployment.

    Raises `EvaluationsForAdmins`, `ModelMissing`, `PromptVersionMissing`, `NothingToCompare`, `SameVersion`,
    `UnknownSuite`, `NoSuiteHolds`, `EvaluationUnderWay`.
    """
    check_admin(caller)
    engine = body.engine or configured
    if configured == "rules" and (engine == "openai" or body.prompt_key):
        raise ModelMissing
    chosen = _choose(body, engine)
    against_key, against_version = await _reference(tx, body)
    await tx.lock("eval_runs", "requests")
    await _check_not_under_way(tx, body, chosen, against_key, against_version)
    batch_id = uuid4()
    for suite in chosen:
        await tx.run(
            """
            INSERT INTO eval_runs (batch_id, suite, engine, model, prompt_key, prompt_version, against_kind, against_key,
                                   against_version, status, planned, limit_usd, started_by, created_at)
            VALUES (%(batch_id)s, %(suite)s, %(engine)s, %(model)s, %(prompt_key)s, %(prompt_version)s, %(against_kind)s,
                    %(against_key)s, %(against_version)s, 'queued', %(planned)s, %(limit_usd)s, %(user_id)s, %(now)s)
            """,
            **body.model_dump(include={"model", "prompt_key", "prompt_version", "limit_usd"}),
            batch_id=batch_id,
            suite=suite.name,
            engine=engine,
            against_kind="prompt" if body.prompt_key else "baseline",
            against_key=against_key,
            against_version=against_version,
            planned=suite.cases,
            user_id=caller.user_id,
        )
    await tx.enqueue("evaluations.run", batch_id=batch_id, judge=body.judge)
    made = await reading.list_runs(tx, caller, EvalRunFilter(batch_id=batch_id))
    return RequestedOut(batch_id=batch_id, runs=made.runs)


def _choose(body: RequestEvaluationIn, engine: Engine) -> list[SuiteRow]:
    named = suites.get_suite(body.suite) if body.suite else None
    holding = suites.suites_of(body.prompt_key) if body.prompt_key else suites.list_suites()
    chosen = [suite for suite in holding if named in (None, suite) and (engine == "openai" or not suite.needs_model)]
    if not chosen:
        among = f" among {body.suite}" if body.suite and body.prompt_key else ""
        raise NoSuiteHolds(key=body.prompt_key or "", among=among)
    return chosen


async def _reference(tx: Tx, body: RequestEvaluationIn) -> tuple[str | None, int | None]:
    """Return the version to be held against: the one named, else the one that would answer without this one."""
    if body.prompt_key is None or body.prompt_version is None:
        return None, None
    await _check_version(tx, body.prompt_key, body.prompt_version)
    keys = [body.against_key] if body.against_key else [body.prompt_key, suites.base_key(body.prompt_key)]
    if body.against_version is not None:
        key, version = keys[0], body.against_version
        await _check_version(tx, key, version)
    else:
        key, version = await _active(tx, keys)
    if (key, version) == (body.prompt_key, body.prompt_version):
        raise SameVersion
    return key, version


class _Version(Row):
    key: str
    version: int


async def _active(tx: Tx, keys: list[str]) -> tuple[str, int]:
    found = await tx.one(
        _Version,
        """
        SELECT key, active_version AS version FROM ai_prompts
         WHERE key = ANY(%(keys)s) AND is_active AND active_version IS NOT NULL
         ORDER BY array_position(%(keys)s::text[], key) LIMIT 1
        """,
        missing=NothingToCompare(key=keys[0]),
        keys=keys,
    )
    return found.key, found.version


async def _check_version(tx: Tx, key: str, version: int) -> None:
    await tx.one(
        int,
        """
        SELECT v.version FROM ai_prompt_versions v JOIN ai_prompts p ON p.id = v.prompt_id
         WHERE p.key = %(key)s AND v.version = %(version)s
        """,
        missing=PromptVersionMissing(key=key, version=version),
        key=key,
        version=version,
    )


async def _check_not_under_way(
    tx: Tx, body: RequestEvaluationIn, chosen: list[SuiteRow], against_key: str | None, against_version: int | None
) -> None:
    batch_id = await tx.maybe(
        UUID,
        """
        SELECT batch_id FROM eval_runs
         WHERE status IN ('queued', 'running') AND suite = ANY(%(suites)s) AND prompt_key IS NOT DISTINCT FROM %(key)s
           AND prompt_version IS NOT DISTINCT FROM %(version)s AND against_key IS NOT DISTINCT FROM %(against_key)s
           AND against_version IS NOT DISTINCT FROM %(against_version)s
         LIMIT 1
        """,
        suites=[suite.name for suite in chosen],
        key=body.prompt_key,
        version=body.prompt_version,
        against_key=against_key,
        against_version=against_version,
    )
    if batch_id is not None:
        raise EvaluationUnderWay(batch_id=str(batch_id))
