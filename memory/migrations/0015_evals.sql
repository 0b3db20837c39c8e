-- What runs of evals found. A row of eval_runs is one suite, answered by one engine with one version of a prompt.

CREATE TABLE eval_runs (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- Runs that one command or one request made together.
    batch_id        uuid NOT NULL,
    suite           text NOT NULL,
    split           text NOT NULL DEFAULT 'all' CHECK (split IN ('dev', 'held_out', 'all')),
    engine          text NOT NULL CHECK (engine IN ('rules', 'openai')),
    model           text,
    -- The version that was put in front of the door for this run; null: whatever was active.
    prompt_key      text,
    prompt_version  integer,
    against_kind    text CHECK (against_kind IN ('baseline', 'prompt', 'file')),
    against_key     text,
    against_version integer,
    against_run_id  uuid REFERENCES eval_runs ON DELETE SET NULL,
    status          text NOT NULL CHECK (status IN ('queued', 'running', 'finished', 'failed', 'stopped')),
    -- What changes when a case of the suite does.
    dataset         text,
    planned         integer NOT NULL DEFAULT 0,
    cases           integer NOT NULL DEFAULT 0,
    errors          integer NOT NULL DEFAULT 0,
    remembered      integer NOT NULL DEFAULT 0,
    tokens          bigint NOT NULL DEFAULT 0,
    cost_usd        numeric(12,6) NOT NULL DEFAULT 0,
    limit_usd       numeric(12,4),
    figures         jsonb NOT NULL DEFAULT '{}',
    report          text,
    error           text,
    started_by      uuid REFERENCES users ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((prompt_key IS NULL) = (prompt_version IS NULL))
);
CREATE INDEX eval_runs_created ON eval_runs (created_at DESC, id);
CREATE INDEX eval_runs_suite ON eval_runs (suite, created_at DESC);
CREATE INDEX eval_runs_prompt ON eval_runs (prompt_key, prompt_version, created_at DESC) WHERE prompt_key IS NOT NULL;
CREATE INDEX eval_runs_batch ON eval_runs (batch_id);
CREATE INDEX eval_runs_against ON eval_runs (against_run_id) WHERE against_run_id IS NOT NULL;
CREATE INDEX eval_runs_started_by ON eval_runs (started_by) WHERE started_by IS NOT NULL;
CREATE INDEX eval_runs_open ON eval_runs (updated_at) WHERE status IN ('queued', 'running');
CREATE TRIGGER eval_runs_touch BEFORE UPDATE ON eval_runs FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- One case of a run: who answered it, and what. Of held-out cases the answer is not kept.
CREATE TABLE eval_cases (
    run_id          uuid NOT NULL REFERENCES eval_runs ON DELETE CASCADE,
    case_id         text NOT NULL,
    -- What changes when what is asked or expected does.
    digest          text NOT NULL,
    split           text NOT NULL CHECK (split IN ('dev', 'held_out')),
    tags            text[] NOT NULL DEFAULT '{}',
    why             text NOT NULL DEFAULT '',
    error           text,
    answer          jsonb,
    model           text,
    prompt_key      text,
    prompt_version  integer,
    prompt_source   text CHECK (prompt_source IN ('file', 'database')),
    cached          boolean NOT NULL DEFAULT false,
    latency_ms      integer,
    tokens          integer NOT NULL DEFAULT 0,
    cost_usd        numeric(12,6) NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, case_id)
);

-- What one scorer said of one case. A case without an answer is an error of every scorer: neither a pass nor a zero.
CREATE TABLE eval_case_results (
    run_id       uuid NOT NULL,
    case_id      text NOT NULL,
    scorer       text NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('passed', 'failed', 'error')),
    score        double precision,
    explanation  text NOT NULL DEFAULT '',
    said         text,
    meant        text,
    PRIMARY KEY (run_id, case_id, scorer),
    FOREIGN KEY (run_id, case_id) REFERENCES eval_cases ON DELETE CASCADE,
    CHECK (outcome <> 'error' OR score IS NULL)
);

-- What a version of a prompt is against another, on the same cases of one suite. Kept: a release stands on it.
CREATE TABLE eval_verdicts (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id           uuid REFERENCES eval_runs ON DELETE SET NULL,
    against_run_id   uuid REFERENCES eval_runs ON DELETE SET NULL,
    prompt_key       text NOT NULL,
    prompt_version   integer NOT NULL,
    -- The version it was held against: of the same prompt, or of the one that a prompt with a suffix would answer for.
    against_key      text NOT NULL,
    against_version  integer NOT NULL,
    suite            text NOT NULL,
    engine           text NOT NULL CHECK (engine IN ('rules', 'openai')),
    model            text,
    -- The hash of the cases that it was found on.
    dataset          text NOT NULL,
    verdict          text NOT NULL CHECK (verdict IN ('improved', 'same', 'regressed', 'inconclusive')),
    reason           text NOT NULL,
    detail           jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX eval_verdicts_versions ON eval_verdicts (prompt_key, prompt_version, against_version, created_at DESC);
CREATE INDEX eval_verdicts_run ON eval_verdicts (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX eval_verdicts_against ON eval_verdicts (against_run_id) WHERE against_run_id IS NOT NULL;
CREATE TRIGGER eval_verdicts_immutable BEFORE UPDATE OF prompt_key, prompt_version, against_key, against_version, suite, engine, model, dataset, verdict,
    reason, detail ON eval_verdicts FOR EACH ROW EXECUTE FUNCTION refuse_change();
