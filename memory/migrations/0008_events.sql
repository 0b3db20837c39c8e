-- What happened to an aggregate, once and for ever; what reads it, and how far each reader has come.
--
-- Three advisory locks, all of class 7245 and held until the transaction ends:
--   (7245, 1) shared by every writer before it locks anything else, taken alone by a rebuild;
--   (7245, 2) taken by a writer last of all, so that global_sequence is the order of commits.

CREATE TABLE event_streams (
    aggregate_type  text NOT NULL CHECK (aggregate_type IN ('company_product', 'support_case', 'user_preference', 'product_process')),
    aggregate_id    uuid NOT NULL,
    version         integer NOT NULL DEFAULT 0 CHECK (version >= 0),
    PRIMARY KEY (aggregate_type, aggregate_id)
) WITH (fillfactor = 70);

CREATE TABLE event_store (
    id               uuid NOT NULL,
    aggregate_type   text NOT NULL,
    aggregate_id     uuid NOT NULL,
    sequence_number  integer NOT NULL CHECK (sequence_number > 0),
    global_sequence  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_type       text NOT NULL,
    event_version    integer NOT NULL DEFAULT 1,
    event_data       jsonb NOT NULL,
    metadata         jsonb NOT NULL,
    actor_type       text NOT NULL CHECK (actor_type IN ('user', 'system', 'ai')),
    actor_id         text,
    occurred_at      timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL,
    UNIQUE (aggregate_type, aggregate_id, sequence_number)
);
-- No foreign key to the stream: append_events has just updated that very row. No index on id: an event is found by its
-- stream, and its id is unique by construction.

CREATE INDEX event_store_recorded ON event_store USING brin (recorded_at);

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER event_store_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_store
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
REVOKE UPDATE, DELETE, TRUNCATE ON event_store FROM PUBLIC, CURRENT_USER;

-- Idempotency-Key of a command, spelled with who sent it.
CREATE TABLE command_log (
    command_id      text PRIMARY KEY CHECK (length(command_id) BETWEEN 1 AND 300),
    action          text NOT NULL,
    aggregate_type  text NOT NULL,
    aggregate_id    uuid NOT NULL,
    actor_type      text NOT NULL,
    actor_id        text,
    status          text NOT NULL CHECK (status IN ('succeeded', 'failed')),
    request_hash    text,
    result          jsonb,
    duration_ms     numeric(10,3),
    created_at      timestamptz NOT NULL
);
CREATE INDEX command_log_created ON command_log (created_at);

CREATE TABLE projector_checkpoints (
    projector_name                  text PRIMARY KEY,
    last_processed_global_sequence  bigint NOT NULL DEFAULT 0,
    last_processed_event_id         uuid,
    last_processed_at               timestamptz,
    events_processed_count          bigint NOT NULL DEFAULT 0,
    errors_count                    bigint NOT NULL DEFAULT 0,
    last_error                      text,
    last_error_at                   timestamptz,
    retry_at                        timestamptz,
    status                          text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'rebuilding', 'error'))
) WITH (fillfactor = 70);

CREATE TABLE projection_rebuilds (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    mode         text NOT NULL CHECK (mode IN ('rebuild', 'verify_determinism')),
    projectors   text[] NOT NULL,
    status       text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'succeeded', 'failed')),
    actor_id     uuid REFERENCES users ON DELETE SET NULL,
    result       jsonb,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz
);
CREATE UNIQUE INDEX projection_rebuilds_one ON projection_rebuilds ((true)) WHERE status IN ('waiting', 'running');
CREATE INDEX projection_rebuilds_created ON projection_rebuilds (created_at DESC);

-- Later keys win; the fold of what single events say about a row.
CREATE AGGREGATE jsonb_merge(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}', PARALLEL = SAFE);

-- One statement for one command on one aggregate: compare-and-set of the stream, then the inline projectors. Raises RM409
-- with the present version as its message when `expected` is not it.
--
-- The events themselves are written by record_events, last of all in the transaction: so the lock of the order is always
-- the last one anybody takes, and no two transactions can wait for each other. Until then they are kept in a setting of
-- the transaction, which a rolled-back savepoint sets back.
CREATE FUNCTION append_events(
    p_aggregate_type text, p_aggregate_id uuid, p_expected integer, p_events jsonb, p_metadata jsonb,
    p_actor_type text, p_actor_id text, p_occurred_at timestamptz, p_command jsonb, p_last boolean
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    batch    event_store[];
    present  integer;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7245, 1);
    UPDATE event_streams SET version = p_expected + jsonb_array_length(p_events)
     WHERE aggregate_type = p_aggregate_type AND aggregate_id = p_aggregate_id AND version = p_expected;
    IF NOT FOUND THEN
        SELECT version INTO present FROM event_streams
         WHERE aggregate_type = p_aggregate_type AND aggregate_id = p_aggregate_id;
        RAISE EXCEPTION '%', coalesce(present, 0) USING ERRCODE = 'RM409';
    END IF;

    batch := array(
        SELECT ROW((e.event ->> 'id')::uuid, p_aggregate_type, p_aggregate_id, p_expected + e.nth::integer, NULL,
                   e.event ->> 'type', (e.event -> 'version')::integer, e.event -> 'data', p_metadata,
                   p_actor_type, p_actor_id, p_occurred_at, NULL)::event_store
          FROM jsonb_array_elements(p_events) WITH ORDINALITY AS e (event, nth)
         ORDER BY e.nth);
    IF p_aggregate_type = 'company_product' THEN
        PERFORM project_company_product(batch);
    ELSIF p_aggregate_type = 'support_case' THEN
        PERFORM project_support_case(batch);
    END IF;
    IF p_command IS NOT NULL THEN
        INSERT INTO command_log (command_id, action, aggregate_type, aggregate_id, actor_type, actor_id, status,
                                 request_hash, result, duration_ms, created_at)
        VALUES (p_command ->> 'id', p_command ->> 'action', p_aggregate_type, p_aggregate_id, p_actor_type, p_actor_id,
                'succeeded', p_command ->> 'request_hash', p_command -> 'result',
                extract(epoch FROM clock_timestamp() - transaction_timestamp()) * 1000, p_occurred_at);
    END IF;

    batch := unrecorded_events() || batch;
    IF p_last THEN
        PERFORM record_events(batch);
    ELSE
        PERFORM set_config('rainmaker.unrecorded', to_jsonb(batch)::text, true);
    END IF;
END $$;

-- What this transaction has appended and not recorded yet.
CREATE FUNCTION unrecorded_events() RETURNS event_store[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    kept  text := current_setting('rainmaker.unrecorded', true);
BEGIN
    IF kept IS NULL OR kept = '' THEN
        RETURN '{}';
    END IF;
    RETURN array(SELECT e FROM jsonb_populate_recordset(NULL::event_store, kept::jsonb) e);
END $$;

-- Write events under the lock that makes global_sequence the order of commits.
--
-- The commit does not wait for the disk, because the lock would be held meanwhile and one commit would wait for the
-- other; who runs the transaction waits for the disk after it, together with everybody else, before anything is said.
CREATE FUNCTION record_events(batch event_store[] DEFAULT unrecorded_events()) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('rainmaker.unrecorded', '', true), set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(7245, 2);
    INSERT INTO event_store (id, aggregate_type, aggregate_id, sequence_number, event_type, event_version, event_data,
                             metadata, actor_type, actor_id, occurred_at, recorded_at)
    SELECT e.id, e.aggregate_type, e.aggregate_id, e.sequence_number, e.event_type, e.event_version, e.event_data,
           e.metadata, e.actor_type, e.actor_id, e.occurred_at, clock_timestamp()
      FROM unnest(batch) WITH ORDINALITY AS e (id, aggregate_type, aggregate_id, sequence_number, global_sequence,
                                               event_type, event_version, event_data, metadata, actor_type, actor_id,
                                               occurred_at, recorded_at, nth)
     ORDER BY e.nth;
END $$;

-- Run projectors over the events of one kind with after < global_sequence <= upto; returns how many there were.
CREATE FUNCTION replay_events(p_projectors text[], p_aggregate_type text, p_after bigint, p_upto bigint)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    batch  event_store[];
    name   text;
BEGIN
    batch := array(
        SELECT e FROM event_store e
         WHERE e.global_sequence > p_after AND e.global_sequence <= p_upto AND e.aggregate_type = p_aggregate_type
         ORDER BY e.global_sequence);
    IF cardinality(batch) > 0 THEN
        FOREACH name IN ARRAY p_projectors LOOP
            EXECUTE format('SELECT %I($1)', 'project_' || name) USING batch;
        END LOOP;
    END IF;
    RETURN cardinality(batch);
END $$;

-- Run projectors over the whole histories of the next so many streams, up to a global sequence: every row is written once.
-- Returns the last stream, NULL when there were no more.
CREATE FUNCTION replay_streams(p_projectors text[], p_aggregate_type text, p_after uuid, p_count integer, p_upto bigint)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    streams  uuid[];
    batch    event_store[];
    name     text;
BEGIN
    streams := array(
        SELECT s.aggregate_id FROM event_streams s
         WHERE s.aggregate_type = p_aggregate_type AND s.aggregate_id > p_after
         ORDER BY s.aggregate_id LIMIT p_count);
    IF streams = '{}' THEN
        RETURN NULL;
    END IF;
    batch := array(
        SELECT e FROM event_store e
         WHERE e.aggregate_type = p_aggregate_type AND e.aggregate_id > p_after
           AND e.aggregate_id <= streams[cardinality(streams)] AND e.global_sequence <= p_upto
         ORDER BY e.aggregate_id, e.sequence_number);
    IF cardinality(batch) > 0 THEN
        FOREACH name IN ARRAY p_projectors LOOP
            EXECUTE format('SELECT %I($1)', 'project_' || name) USING batch;
        END LOOP;
    END IF;
    RETURN streams[cardinality(streams)];
END $$;

-- One step of a projector that runs behind: its rows and its checkpoint move in the transaction that calls this. Events
-- of other kinds count as seen. NULL: paused, waiting after an error, or at work elsewhere.
CREATE FUNCTION catch_up_events(p_projector text, p_aggregate_type text, p_size integer, p_now timestamptz)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    after   bigint;
    upto    bigint;
    latest  uuid;
    seen    integer;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7245, 1);
    SELECT last_processed_global_sequence INTO after FROM projector_checkpoints
     WHERE projector_name = p_projector AND (status = 'active' OR status = 'error' AND retry_at <= p_now)
       FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT max(e.global_sequence), count(*), (array_agg(e.id ORDER BY e.global_sequence DESC))[1] INTO upto, seen, latest
      FROM (SELECT global_sequence, id FROM event_store WHERE global_sequence > after
             ORDER BY global_sequence LIMIT p_size) e;
    IF seen = 0 THEN
        RETURN 0;
    END IF;
    PERFORM replay_events(ARRAY[p_projector], p_aggregate_type, after, upto);
    UPDATE projector_checkpoints
       SET last_processed_global_sequence = upto, last_processed_event_id = latest, last_processed_at = p_now,
           events_processed_count = events_processed_count + seen, status = 'active', retry_at = NULL
     WHERE projector_name = p_projector;
    RETURN seen;
END $$;
