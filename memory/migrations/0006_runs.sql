-- Durable agent runs. The checkpoint tables belong to LangGraph; these say what a run is, what it did and whether it ended.

CREATE TABLE agent_runs (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent             text NOT NULL,
    status            text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')),
    input             jsonb NOT NULL DEFAULT '{}',
    output            jsonb,
    error             text,
    engine            text,
    tainted           boolean NOT NULL DEFAULT false,
    user_id           uuid REFERENCES users ON DELETE SET NULL,
    caller            jsonb NOT NULL DEFAULT '{}',
    company_id        uuid REFERENCES companies ON DELETE SET NULL,
    contact_id        uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id           uuid REFERENCES deals ON DELETE SET NULL,
    communication_id  uuid REFERENCES communications ON DELETE SET NULL,
    idempotency_key   text,
    request_hash      text,
    cancel_requested  boolean NOT NULL DEFAULT false,
    attempts          integer NOT NULL DEFAULT 0,
    lease_until       timestamptz,
    worker            text,
    limit_usd         numeric(12,4),
    input_tokens      integer NOT NULL DEFAULT 0,
    output_tokens     integer NOT NULL DEFAULT 0,
    cost_usd          numeric(12,6) NOT NULL DEFAULT 0,
    started_at        timestamptz,
    finished_at       timestamptz,
    pruned_at         timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX agent_runs_idempotency ON agent_runs (user_id, idempotency_key) NULLS NOT DISTINCT WHERE idempotency_key IS NOT NULL;
CREATE INDEX agent_runs_created ON agent_runs (created_at DESC, id);
CREATE INDEX agent_runs_user ON agent_runs (user_id, created_at DESC);
CREATE INDEX agent_runs_agent ON agent_runs (agent, status, created_at DESC);
CREATE INDEX agent_runs_leased ON agent_runs (lease_until) WHERE status = 'running';
CREATE INDEX agent_runs_queued ON agent_runs (created_at) WHERE status = 'queued';
CREATE INDEX agent_runs_communication ON agent_runs (communication_id);
CREATE INDEX agent_runs_prune ON agent_runs (finished_at) WHERE pruned_at IS NULL;

CREATE TABLE agent_run_events (
    run_id      uuid NOT NULL REFERENCES agent_runs ON DELETE CASCADE,
    seq         integer NOT NULL,
    kind        text NOT NULL,
    step        text,
    data        jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, seq)
);
