-- Promised work, and acts that leave the house.

CREATE TABLE outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job           text NOT NULL,
    payload       jsonb NOT NULL DEFAULT '{}',
    key           text,
    -- waiting: to be handed to a worker at run_at; handed: with the broker; running: leased by a worker.
    status        text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'handed', 'running', 'done', 'dead')),
    run_at        timestamptz NOT NULL DEFAULT now(),
    attempts      integer NOT NULL DEFAULT 0,
    handed_at     timestamptz,
    lease_until   timestamptz,
    worker        text,
    error         text,
    finished_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_waiting ON outbox (run_at, id) WHERE status = 'waiting';
CREATE INDEX outbox_handed ON outbox (handed_at) WHERE status = 'handed';
CREATE INDEX outbox_running ON outbox (lease_until) WHERE status = 'running';
CREATE INDEX outbox_finished ON outbox (finished_at) WHERE status IN ('done', 'dead');
CREATE INDEX outbox_open ON outbox (job, key) WHERE status IN ('waiting', 'handed', 'running') AND key IS NOT NULL;
CREATE UNIQUE INDEX outbox_key ON outbox (job, key) WHERE status = 'waiting' AND key IS NOT NULL;

-- Every outward or irreversible act, once: reserved before it is tried, confirmed when the vendor says so.
CREATE TABLE effects (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key           text NOT NULL UNIQUE,
    kind          text NOT NULL,
    content_hash  text NOT NULL,
    status        text NOT NULL DEFAULT 'reserved' CHECK (status IN ('reserved', 'sent', 'confirmed', 'unknown', 'failed')),
    run_id        uuid,
    step          text,
    user_id       uuid REFERENCES users ON DELETE SET NULL,
    request       jsonb NOT NULL DEFAULT '{}',
    result        jsonb,
    attempts      integer NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    error         text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX effects_run ON effects (run_id);
CREATE INDEX effects_open ON effects (lease_until) WHERE status IN ('reserved', 'sent');

-- Idempotency-Key of a request: the first answer is every answer, for 24 hours.
CREATE TABLE idempotency_keys (
    user_id       uuid NOT NULL,
    key           text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    route         text NOT NULL,
    request_hash  text NOT NULL,
    status        integer,
    body          jsonb,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Who is alive: API, worker, beat and relay write here, so that health can be asked of the database alone.
CREATE TABLE heartbeats (
    name     text PRIMARY KEY,
    beat_at  timestamptz NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}'
);

-- Fixed windows per principal.
CREATE UNLOGGED TABLE rate_windows (
    principal     text NOT NULL,
    window_start  timestamptz NOT NULL,
    hits          integer NOT NULL DEFAULT 1,
    PRIMARY KEY (principal, window_start)
);

-- Secrets of connections, sealed by the vault.
CREATE TABLE secrets (
    name        text PRIMARY KEY,
    sealed      bytea NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE mail_accounts (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id        uuid NOT NULL UNIQUE REFERENCES users ON DELETE CASCADE,
    provider       text NOT NULL DEFAULT 'microsoft' CHECK (provider IN ('microsoft')),
    address        text NOT NULL CHECK (address = lower(address)),
    token_cache    bytea,
    send_mode      text NOT NULL DEFAULT 'send' CHECK (send_mode IN ('send', 'draft')),
    status         text NOT NULL DEFAULT 'connected' CHECK (status IN ('connected', 'needs_reauth', 'disconnected')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
