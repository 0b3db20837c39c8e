-- What a command costs the server: the statements that every one of them runs, kept lean.

-- A CHECK is read and planned anew by every statement that writes its table: here a quarter of all that a command cost.
-- What writes these tables is the functions below, from a version that was compared and from events, and two statements
-- beside them: one opens a stream, one logs what was refused. Kinds and actors are checked where they come in.
DO $$
DECLARE
    rule  record;
BEGIN
    FOR rule IN
        SELECT conrelid::regclass AS of, conname AS name FROM pg_constraint
         WHERE contype = 'c' AND conrelid IN ('event_streams'::regclass, 'event_store'::regclass, 'command_log'::regclass,
                                              'company_product_read_model'::regclass, 'support_case_read_model'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', rule.of, rule.name);
    END LOOP;
END $$;

-- A stream that is closed takes no more events, not even from those who remember it from before.
ALTER TABLE event_streams ADD COLUMN closed boolean NOT NULL DEFAULT false;

CREATE FUNCTION close_merged_company_product() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event_streams AS s (aggregate_type, aggregate_id, closed)
    VALUES ('company_product', NEW.id, NEW.merged_into_id IS NOT NULL)
        ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET closed = excluded.closed;
    RETURN NULL;
END $$;
CREATE TRIGGER company_products_close AFTER UPDATE OF merged_into_id ON company_products FOR EACH ROW
    WHEN (OLD.merged_into_id IS DISTINCT FROM NEW.merged_into_id) EXECUTE FUNCTION close_merged_company_product();
UPDATE event_streams s SET closed = true
  FROM company_products p
 WHERE s.aggregate_type = 'company_product' AND s.aggregate_id = p.id AND p.merged_into_id IS NOT NULL;

-- Wait until everything that was committed before is on disk. A commit that waits for the disk waits for all that was
-- written before it; this one writes one record of its own.
CREATE FUNCTION wait_for_disk() RETURNS void LANGUAGE sql AS $$
    SELECT pg_logical_emit_message(true, 'rainmaker', '')
$$;

-- In these functions `done := f()` stands where a PERFORM could: it is evaluated at once, without a plan of its own.

-- One statement for one command on one aggregate: compare-and-set of the stream, then the inline projectors. Raises RM409
-- with the present version as its message when `expected` is not it. See 0008 for record_events.
--
-- The command: aggregate_type, aggregate_id, expected, events [{id, type, version, data}], metadata, actor_type, actor_id,
-- occurred_at, and log {id, action, request_hash, result} or null.
DROP FUNCTION append_events(text, uuid, integer, jsonb, jsonb, text, text, timestamptz, jsonb, boolean);
CREATE FUNCTION append_events(command jsonb, is_last boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kind      text := command ->> 'aggregate_type';
    id        uuid := (command ->> 'aggregate_id')::uuid;
    expected  integer := (command -> 'expected')::integer;
    events    jsonb := command -> 'events';
    metadata  jsonb := command -> 'metadata';
    by_type   text := command ->> 'actor_type';
    by_id     text := command ->> 'actor_id';
    at        timestamptz := (command ->> 'occurred_at')::timestamptz;
    log       jsonb := nullif(command -> 'log', 'null');
    batch     event_store[];
    event     jsonb;
    present   integer;
    done      text;
BEGIN
    done := pg_advisory_xact_lock_shared(7245, 1);
    UPDATE event_streams s SET version = expected + jsonb_array_length(events)
     WHERE s.aggregate_type = kind AND s.aggregate_id = id AND s.version = expected AND NOT s.closed;
    IF NOT FOUND THEN
        SELECT s.version INTO present FROM event_streams s WHERE s.aggregate_type = kind AND s.aggregate_id = id;
        RAISE EXCEPTION '%', coalesce(present, 0) USING ERRCODE = 'RM409';
    END IF;

    FOR nth IN 1..jsonb_array_length(events) LOOP
        event := events -> nth - 1;
        batch[nth] := ROW((event ->> 'id')::uuid, kind, id, expected + nth, NULL, event ->> 'type',
                          (event -> 'version')::integer, event -> 'data', metadata, by_type, by_id, at, NULL)::event_store;
    END LOOP;
    IF kind = 'company_product' THEN
        done := project_company_product(batch);
    ELSIF kind = 'support_case' THEN
        done := project_support_case(batch);
    END IF;
    IF log IS NOT NULL THEN
        INSERT INTO command_log (command_id, action, aggregate_type, aggregate_id, actor_type, actor_id, status,
                                 request_hash, result, duration_ms, created_at)
        VALUES (log ->> 'id', log ->> 'action', kind, id, by_type, by_id, 'succeeded', log ->> 'request_hash',
                log -> 'result', extract(epoch FROM clock_timestamp() - transaction_timestamp()) * 1000, at);
    END IF;

    batch := unrecorded_events() || batch;
    IF is_last THEN
        done := record_events(batch);
    ELSE
        done := set_config('rainmaker.unrecorded', to_jsonb(batch)::text, true);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION record_events(batch event_store[] DEFAULT unrecorded_events()) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    e     event_store;
    done  text;
BEGIN
    IF current_setting('rainmaker.unrecorded', true) <> '' THEN
        done := set_config('rainmaker.unrecorded', '', true);
    END IF;
    done := set_config('synchronous_commit', 'off', true);
    done := pg_advisory_xact_lock(7245, 2);
    FOREACH e IN ARRAY batch LOOP
        INSERT INTO event_store (id, aggregate_type, aggregate_id, sequence_number, event_type, event_version, event_data,
                                 metadata, actor_type, actor_id, occurred_at, recorded_at)
        VALUES (e.id, e.aggregate_type, e.aggregate_id, e.sequence_number, e.event_type, e.event_version, e.event_data,
                e.metadata, e.actor_type, e.actor_id, e.occurred_at, clock_timestamp());
    END LOOP;
END $$;

-- Commands that are all of their transactions: each is committed by itself, and when this returns they are on disk.
-- `outcomes` has null for each that was appended, and {sqlstate, message, constraint} for each that was refused. One that
-- would wait for somebody's lock is refused with 55P03 after 50 ms, so that those behind it need not wait, too.
CREATE PROCEDURE append_each(commands jsonb, INOUT outcomes jsonb) LANGUAGE plpgsql AS $$
DECLARE
    outcome   jsonb;
    state     text;
    said      text;
    violated  text;
    done      text;
BEGIN
    outcomes := '[]';
    FOR nth IN 0..jsonb_array_length(commands) - 1 LOOP
        outcome := 'null';
        BEGIN
            done := set_config('lock_timeout', '50ms', true);
            done := append_events(commands -> nth, true);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, violated = CONSTRAINT_NAME;
            outcome := jsonb_build_object('sqlstate', state, 'message', said, 'constraint', violated);
        END;
        COMMIT;
        outcomes := outcomes || jsonb_build_array(outcome);
    END LOOP;
    done := wait_for_disk();
END $$;

-- What a command brings along: the row always, the rest when an event concerns it. The row of an aggregate that is known
-- is changed in place; it says the same as project_company_product_read_model, which makes rows of any batch.
CREATE OR REPLACE FUNCTION project_company_product(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
DECLARE
    patch  jsonb := '{}';
    kinds  text[];
    e      event_store;
    done   text;
BEGIN
    FOREACH e IN ARRAY batch LOOP
        patch := patch || company_product_patch(e.event_type, e.event_data, e.occurred_at, e.sequence_number);
        kinds := kinds || e.event_type;
    END LOOP;
    UPDATE company_product_read_model m
       SET (phase, status, current_process_type, current_process_id, current_process_version, current_stage_id,
            current_stage_name, current_stage_slug, current_stage_order, stage_entered_at, stage_sla_deadline,
            stage_sla_warning_at, is_sla_warning, is_sla_breached, process_started_at, process_completed_at, last_outcome,
            stage_transition_count, owner_id, owner_name, tier, mrr, mrr_currency, seats, next_step, next_step_due_at,
            health_score, risk_level, risk_factors, health_input_hash, sales_started_at, onboarding_started_at,
            activated_at, churned_at, declined_at, declined_reason, last_event_at, last_event_type, last_event_sequence,
            projected_at)
         = (SELECT n.phase, coalesce(n.status, 'inactive'), n.current_process_type, n.current_process_id,
                   n.current_process_version, n.current_stage_id, n.current_stage_name, n.current_stage_slug,
                   n.current_stage_order, n.stage_entered_at, n.stage_sla_deadline, n.stage_sla_warning_at,
                   coalesce(n.is_sla_warning, false), coalesce(n.is_sla_breached, false), n.process_started_at,
                   n.process_completed_at, n.last_outcome, coalesce(n.stage_transition_count, 0), n.owner_id,
                   n.owner_name, n.tier, n.mrr, n.mrr_currency, n.seats, n.next_step, n.next_step_due_at,
                   n.health_score, n.risk_level, coalesce(n.risk_factors, '[]'), n.health_input_hash,
                   n.sales_started_at, n.onboarding_started_at, n.activated_at, n.churned_at, n.declined_at,
                   n.declined_reason, n.last_event_at, n.last_event_type, n.last_event_sequence, now()
              FROM jsonb_populate_record(m, patch) n)
     WHERE m.company_product_id = e.aggregate_id;
    IF NOT FOUND THEN
        done := project_company_product_read_model(batch);
    END IF;
    IF kinds && '{CompanyProductStageSet,CompanyProductProcessSet,CompanyProductProcessCompleted}' THEN
        done := project_company_product_stage_facts(batch);
        done := project_sla_breach_facts(batch);
    ELSIF kinds && '{CompanyProductSLABreached}' THEN
        done := project_sla_breach_facts(batch);
    END IF;
    IF kinds && '{AISuggestionCreated,AISuggestionAccepted,AISuggestionDismissed}' THEN
        done := project_ai_suggestions(batch);
    END IF;
END $$;
