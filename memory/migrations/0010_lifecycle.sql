-- Where every company's product stands, as its events say, and what its way through the stages was.
--
-- Their rows go with the company's product, by a trigger: a foreign key would ask for every row what the projector knows.
--
-- Each projector is pure over the events and the rows it has written itself: the same events give the same rows, one by
-- one, five hundred at a time, or all again. Company and product come from the identity row, which outlives a rebuild.

CREATE TABLE company_product_read_model (
    company_product_id       uuid PRIMARY KEY,
    company_id               uuid NOT NULL,
    product_id               uuid NOT NULL,
    phase                    text CHECK (phase IN ('prospect', 'in_sales', 'onboarding', 'active', 'churned')),
    status                   text NOT NULL DEFAULT 'inactive'
                                 CHECK (status IN ('inactive', 'in_sales', 'in_onboarding', 'active', 'declined', 'churned')),
    current_process_type     text CHECK (current_process_type IN ('sales', 'onboarding', 'engagement')),
    current_process_id       uuid,
    current_process_version  integer,
    current_stage_id         uuid,
    current_stage_name       text,
    current_stage_slug       text,
    current_stage_order      integer,
    stage_entered_at         timestamptz,
    stage_sla_deadline       timestamptz,
    stage_sla_warning_at     timestamptz,
    is_sla_warning           boolean NOT NULL DEFAULT false,
    is_sla_breached          boolean NOT NULL DEFAULT false,
    process_started_at       timestamptz,
    process_completed_at     timestamptz,
    last_outcome             text CHECK (last_outcome IN ('won', 'lost', 'completed', 'churned', 'cancelled')),
    stage_transition_count   integer NOT NULL DEFAULT 0,
    owner_id                 uuid,
    owner_name               text,
    tier                     integer CHECK (tier BETWEEN 1 AND 5),
    mrr                      numeric(12,2) CHECK (mrr >= 0),
    mrr_currency             text,
    seats                    integer CHECK (seats >= 0),
    next_step                text,
    next_step_due_at         timestamptz,
    health_score             integer CHECK (health_score BETWEEN 0 AND 100),
    risk_level               text CHECK (risk_level IN ('none', 'low', 'medium', 'high', 'critical')),
    risk_factors             jsonb NOT NULL DEFAULT '[]',
    health_input_hash        text,
    sales_started_at         timestamptz,
    onboarding_started_at    timestamptz,
    activated_at             timestamptz,
    churned_at               timestamptz,
    declined_at              timestamptz,
    declined_reason          text,
    last_event_at            timestamptz NOT NULL,
    last_event_type          text NOT NULL,
    last_event_sequence      integer NOT NULL,
    projected_at             timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
-- A process is open while it has an id and no completion; indexes on what seldom changes keep the other updates in place.
CREATE INDEX company_product_read_model_company ON company_product_read_model (company_id);
CREATE INDEX company_product_read_model_product ON company_product_read_model (product_id, status);
CREATE INDEX company_product_read_model_owner ON company_product_read_model (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX company_product_read_model_stage ON company_product_read_model (current_stage_id)
    WHERE process_completed_at IS NULL AND current_process_id IS NOT NULL;
CREATE INDEX company_product_read_model_warning ON company_product_read_model (stage_sla_warning_at)
    WHERE stage_sla_warning_at IS NOT NULL AND NOT is_sla_warning;
CREATE INDEX company_product_read_model_deadline ON company_product_read_model (stage_sla_deadline)
    WHERE stage_sla_deadline IS NOT NULL AND NOT is_sla_breached;

-- One stay in one stage; named after the event that began it.
CREATE TABLE company_product_stage_facts (
    entry_event_id          uuid PRIMARY KEY,
    company_product_id      uuid NOT NULL,
    company_id              uuid NOT NULL,
    product_id              uuid NOT NULL,
    process_id              uuid NOT NULL,
    process_type            text NOT NULL,
    stage_id                uuid NOT NULL,
    stage_name              text NOT NULL,
    stage_order             integer NOT NULL,
    entry_sequence          integer NOT NULL,
    entered_at              timestamptz NOT NULL,
    exited_at               timestamptz,
    duration_seconds        bigint,
    duration_business_days  numeric(10,2),
    sla_days                integer,
    sla_met                 boolean,
    days_over_sla           numeric(10,2),
    exit_reason             text CHECK (exit_reason IN ('progressed', 'regressed', 'completed', 'cancelled')),
    exit_event_id           uuid,
    CHECK ((exited_at IS NULL) = (exit_event_id IS NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX company_product_stage_facts_open ON company_product_stage_facts (company_product_id) WHERE exited_at IS NULL;
CREATE INDEX company_product_stage_facts_row ON company_product_stage_facts (company_product_id, entry_sequence);
CREATE INDEX company_product_stage_facts_stage ON company_product_stage_facts (stage_id, exited_at);

CREATE TABLE sla_breach_facts (
    breach_event_id     uuid PRIMARY KEY,
    company_product_id  uuid NOT NULL,
    process_id          uuid NOT NULL,
    process_type        text NOT NULL,
    stage_id            uuid NOT NULL,
    stage_name          text NOT NULL,
    sla_days            integer NOT NULL,
    actual_days         numeric(10,2) NOT NULL,
    days_over           numeric(10,2) NOT NULL,
    breach_sequence     integer NOT NULL,
    breached_at         timestamptz NOT NULL,
    resolved_at         timestamptz
);
CREATE INDEX sla_breach_facts_row ON sla_breach_facts (company_product_id, breach_sequence);
CREATE INDEX sla_breach_facts_open ON sla_breach_facts (company_product_id) WHERE resolved_at IS NULL;
CREATE INDEX sla_breach_facts_stage ON sla_breach_facts (stage_id, breached_at);

CREATE TABLE ai_suggestions_read_model (
    suggestion_id       uuid PRIMARY KEY,
    company_product_id  uuid NOT NULL,
    suggestion_type     text NOT NULL,
    title               text NOT NULL,
    description         text NOT NULL,
    confidence          numeric(4,3) NOT NULL,
    source_type         text NOT NULL,
    source_id           text,
    suggested_action    jsonb,
    expires_at          timestamptz,
    status              text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'accepted', 'dismissed', 'expired')),
    suggested_at        timestamptz NOT NULL,
    suggested_by_type   text NOT NULL,
    suggested_by_id     text,
    run_id              text,
    resolved_at         timestamptz,
    resolved_by_type    text,
    resolved_by_id      text,
    modification        jsonb,
    execute_action      boolean,
    dismiss_reason      text,
    feedback            text
);
CREATE INDEX ai_suggestions_read_model_row ON ai_suggestions_read_model (company_product_id, suggested_at DESC);
CREATE INDEX ai_suggestions_read_model_pending ON ai_suggestions_read_model (suggested_at DESC) WHERE status = 'pending';

-- What stands in each stage; brought along behind the commands, because every command of a product would wait for it.
CREATE TABLE product_pipeline_stage_counts (
    product_id            uuid NOT NULL,
    process_id            uuid NOT NULL,
    stage_id              uuid NOT NULL,
    total_count           integer NOT NULL,
    active_count          integer NOT NULL,
    stalled_count         integer NOT NULL,
    breached_count        integer NOT NULL,
    total_value           numeric(14,2) NOT NULL,
    weighted_value        numeric(14,2) NOT NULL,
    avg_days_in_stage     numeric(10,2),
    median_days_in_stage  numeric(10,2),
    projected_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (product_id, process_id, stage_id)
);
CREATE INDEX product_pipeline_stage_counts_stage ON product_pipeline_stage_counts (stage_id);
CREATE TABLE pipeline_dirty_stages (
    stage_id  uuid PRIMARY KEY
);

-- How many of a product stand where, per owner; figures over a hundred thousand rows are read from a few.
CREATE TABLE product_standing_counts (
    product_id    uuid NOT NULL,
    owner_id      uuid,
    status        text NOT NULL,
    stage_id      uuid,
    total_count   integer NOT NULL,
    total_value   numeric(14,2) NOT NULL,
    projected_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (product_id, owner_id, status, stage_id)
);
CREATE TABLE pipeline_dirty_products (
    product_id  uuid PRIMARY KEY
);

-- Days from Monday to Friday between two moments, in UTC, with their fractions; counted from a Monday in 1970.
CREATE FUNCTION weekday_seconds(moment timestamptz) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN floor((extract(epoch FROM moment) - 345600) / 604800) * 432000
       + least(mod(mod(extract(epoch FROM moment) - 345600, 604800) + 604800, 604800), 432000);
CREATE FUNCTION business_days(started_at timestamptz, ended_at timestamptz) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(0, round((weekday_seconds(ended_at) - weekday_seconds(started_at)) / 86400, 2));

-- Why a stay in a stage ends with this event.
CREATE FUNCTION stage_exit_reason(kind text, said jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN kind = 'CompanyProductStageSet' AND (said ->> 'is_progression')::boolean THEN 'progressed'
            WHEN kind = 'CompanyProductStageSet' THEN 'regressed'
            WHEN said ->> 'outcome' IN ('won', 'completed') THEN 'completed'
            ELSE 'cancelled' END;

-- What one event says about the row: the columns that it sets, null where it clears them.
CREATE FUNCTION company_product_patch(kind text, said jsonb, at timestamptz, sequence integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    last    jsonb := jsonb_build_object('last_event_at', at, 'last_event_type', kind, 'last_event_sequence', sequence);
    moment  timestamptz;
BEGIN
    CASE kind
    WHEN 'CompanyProductStageSet' THEN
        RETURN last || jsonb_build_object(
            'current_stage_id', said -> 'to_stage_id', 'current_stage_name', said -> 'to_stage_name',
            'current_stage_slug', said -> 'to_stage_slug', 'current_stage_order', said -> 'to_stage_order',
            'stage_transition_count', said -> 'stage_transition_count', 'stage_entered_at', at,
            'stage_sla_deadline', at + (said ->> 'sla_days')::integer * interval '24 hours',
            'stage_sla_warning_at', at + (said ->> 'sla_warning_days')::integer * interval '24 hours',
            'is_sla_warning', false, 'is_sla_breached', false);
    WHEN 'CompanyProductPhaseSet' THEN
        moment := coalesce((said ->> 'effective_at')::timestamptz, at);
        last := last || jsonb_build_object(
            'phase', said -> 'to_phase', 'status', said -> 'status',
            'churned_at', NULL, 'declined_at', NULL, 'declined_reason', NULL);
        RETURN last || CASE said ->> 'to_phase'
            WHEN 'in_sales' THEN jsonb_build_object('sales_started_at', moment)
            WHEN 'onboarding' THEN jsonb_build_object('onboarding_started_at', moment)
            WHEN 'active' THEN jsonb_build_object('activated_at', moment)
            WHEN 'churned' THEN jsonb_build_object('churned_at', moment) || CASE said ->> 'status'
                WHEN 'declined' THEN jsonb_build_object(
                    'declined_at', moment, 'declined_reason', coalesce(said -> 'churn_reason', said -> 'reason'))
                ELSE '{}' END
            ELSE '{}' END;
    WHEN 'CompanyProductProcessSet' THEN
        RETURN last || jsonb_build_object(
            'current_process_id', said -> 'to_process_id', 'current_process_type', said -> 'to_process_type',
            'current_process_version', said -> 'process_version', 'process_started_at', at,
            'process_completed_at', NULL, 'stage_transition_count', 1,
            'current_stage_id', said -> 'initial_stage_id', 'current_stage_name', said -> 'initial_stage_name',
            'current_stage_slug', said -> 'initial_stage_slug', 'current_stage_order', said -> 'initial_stage_order',
            'stage_entered_at', at,
            'stage_sla_deadline', at + (said ->> 'sla_days')::integer * interval '24 hours',
            'stage_sla_warning_at', at + (said ->> 'sla_warning_days')::integer * interval '24 hours',
            'is_sla_warning', false, 'is_sla_breached', false);
    WHEN 'CompanyProductProcessCompleted' THEN
        RETURN last || jsonb_build_object(
            'process_completed_at', at, 'last_outcome', said -> 'outcome',
            'stage_transition_count', said -> 'stage_transition_count',
            'current_stage_id', said -> 'terminal_stage_id', 'current_stage_name', said -> 'terminal_stage_name',
            'current_stage_slug', said -> 'terminal_stage_slug', 'current_stage_order', said -> 'terminal_stage_order',
            'stage_entered_at', at, 'stage_sla_deadline', NULL, 'stage_sla_warning_at', NULL,
            'is_sla_warning', false, 'is_sla_breached', false);
    WHEN 'CompanyProductSLAWarning' THEN
        RETURN last || '{"is_sla_warning": true}';
    WHEN 'CompanyProductSLABreached' THEN
        RETURN last || '{"is_sla_breached": true}';
    WHEN 'CompanyProductOwnerSet' THEN
        RETURN last || jsonb_build_object('owner_id', said -> 'to_owner_id', 'owner_name', said -> 'to_owner_name');
    WHEN 'CompanyProductTierSet' THEN
        RETURN last || jsonb_build_object('tier', said -> 'to_tier');
    WHEN 'CompanyProductMRRSet' THEN
        RETURN last || jsonb_build_object('mrr', said -> 'to_mrr', 'mrr_currency', said -> 'currency');
    WHEN 'CompanyProductSeatsSet' THEN
        RETURN last || jsonb_build_object('seats', said -> 'to_seats');
    WHEN 'CompanyProductNextStepDueSet' THEN
        RETURN last || jsonb_build_object('next_step', said -> 'to_next_step', 'next_step_due_at', said -> 'to_due_date');
    WHEN 'CompanyProductHealthComputed' THEN
        RETURN last || jsonb_build_object(
            'health_score', said -> 'to_score', 'risk_level', said -> 'risk_level', 'risk_factors', said -> 'reasons',
            'health_input_hash', said -> 'input_hash');
    WHEN 'CompanyProductRiskLevelSet' THEN
        RETURN last || jsonb_build_object('risk_level', said -> 'to_risk_level');
    WHEN 'CompanyProductHealthUpdated' THEN
        RETURN last || jsonb_build_object('health_score', said -> 'to_score', 'risk_factors', said -> 'factors');
    ELSE
        RETURN last;
    END CASE;
END $$;

-- Later patches win, so what a batch repeats of events seen before changes nothing as long as it ends beyond them. Events
-- of one type set the same columns: the last one is enough, but for phases, each of which leaves a date of its own.
CREATE FUNCTION project_company_product_read_model(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
BEGIN
    INSERT INTO company_product_read_model AS m (
        company_product_id, company_id, product_id, phase, status, current_process_type, current_process_id,
        current_process_version, current_stage_id, current_stage_name, current_stage_slug, current_stage_order,
        stage_entered_at, stage_sla_deadline, stage_sla_warning_at, is_sla_warning, is_sla_breached, process_started_at,
        process_completed_at, last_outcome, stage_transition_count, owner_id, owner_name, tier, mrr, mrr_currency, seats,
        next_step, next_step_due_at, health_score, risk_level, risk_factors, health_input_hash, sales_started_at,
        onboarding_started_at, activated_at, churned_at, declined_at, declined_reason, last_event_at, last_event_type,
        last_event_sequence)
    SELECT f.aggregate_id, i.company_id, i.product_id, n.phase, coalesce(n.status, 'inactive'), n.current_process_type,
           n.current_process_id, n.current_process_version, n.current_stage_id, n.current_stage_name,
           n.current_stage_slug, n.current_stage_order, n.stage_entered_at, n.stage_sla_deadline,
           n.stage_sla_warning_at, coalesce(n.is_sla_warning, false), coalesce(n.is_sla_breached, false),
           n.process_started_at, n.process_completed_at, n.last_outcome, coalesce(n.stage_transition_count, 0),
           n.owner_id, n.owner_name, n.tier, n.mrr, n.mrr_currency, n.seats, n.next_step, n.next_step_due_at,
           n.health_score, n.risk_level, coalesce(n.risk_factors, '[]'), n.health_input_hash, n.sales_started_at,
           n.onboarding_started_at, n.activated_at, n.churned_at, n.declined_at, n.declined_reason, n.last_event_at,
           n.last_event_type, n.last_event_sequence
      FROM (SELECT e.aggregate_id, max(e.sequence_number) AS reached,
                   jsonb_merge(company_product_patch(e.event_type, e.event_data, e.occurred_at, e.sequence_number)
                               ORDER BY e.sequence_number) AS patch
              FROM (SELECT DISTINCT ON (u.aggregate_id, u.event_type, CASE u.event_type WHEN 'CompanyProductPhaseSet' THEN u.sequence_number END)
                           u.aggregate_id, u.event_type, u.event_data, u.occurred_at, u.sequence_number
                      FROM unnest(batch) u
                     ORDER BY u.aggregate_id, u.event_type,
                              CASE u.event_type WHEN 'CompanyProductPhaseSet' THEN u.sequence_number END,
                              u.sequence_number DESC) e
             GROUP BY e.aggregate_id) f
     CROSS JOIN LATERAL (SELECT (SELECT r FROM company_product_read_model r
                                  WHERE r.company_product_id = f.aggregate_id) AS row OFFSET 0) present
     CROSS JOIN LATERAL (SELECT (present.row).company_id, (present.row).product_id WHERE (present.row).company_id IS NOT NULL
                         UNION ALL
                         SELECT p.company_id, p.product_id FROM company_products p
                          WHERE (present.row).company_id IS NULL AND p.id = f.aggregate_id) i
     CROSS JOIN LATERAL jsonb_populate_record(present.row, f.patch) n
     WHERE f.reached > coalesce((present.row).last_event_sequence, 0)
        ON CONFLICT (company_product_id) DO UPDATE
       SET company_id = excluded.company_id, product_id = excluded.product_id, phase = excluded.phase,
           status = excluded.status, current_process_type = excluded.current_process_type,
           current_process_id = excluded.current_process_id,
           current_process_version = excluded.current_process_version, current_stage_id = excluded.current_stage_id,
           current_stage_name = excluded.current_stage_name, current_stage_slug = excluded.current_stage_slug,
           current_stage_order = excluded.current_stage_order, stage_entered_at = excluded.stage_entered_at,
           stage_sla_deadline = excluded.stage_sla_deadline, stage_sla_warning_at = excluded.stage_sla_warning_at,
           is_sla_warning = excluded.is_sla_warning, is_sla_breached = excluded.is_sla_breached,
           process_started_at = excluded.process_started_at, process_completed_at = excluded.process_completed_at,
           last_outcome = excluded.last_outcome, stage_transition_count = excluded.stage_transition_count,
           owner_id = excluded.owner_id, owner_name = excluded.owner_name, tier = excluded.tier, mrr = excluded.mrr,
           mrr_currency = excluded.mrr_currency, seats = excluded.seats, next_step = excluded.next_step,
           next_step_due_at = excluded.next_step_due_at, health_score = excluded.health_score,
           risk_level = excluded.risk_level, risk_factors = excluded.risk_factors,
           health_input_hash = excluded.health_input_hash, sales_started_at = excluded.sales_started_at,
           onboarding_started_at = excluded.onboarding_started_at, activated_at = excluded.activated_at,
           churned_at = excluded.churned_at, declined_at = excluded.declined_at,
           declined_reason = excluded.declined_reason, last_event_at = excluded.last_event_at,
           last_event_type = excluded.last_event_type, last_event_sequence = excluded.last_event_sequence,
           projected_at = now();
END $$;

-- A stay ends with the next move. The one that is open stands before the moves of this batch; it is written again with
-- its end, before the next one opens.
CREATE FUNCTION project_company_product_stage_facts(batch event_store[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan TO off AS $$
BEGIN
    WITH moves AS MATERIALIZED (
        SELECT e.id, e.aggregate_id, e.sequence_number AS sequence, e.occurred_at AS at,
               e.event_type <> 'CompanyProductProcessCompleted' AS is_entry,
               coalesce(e.event_data ->> 'process_id', e.event_data ->> 'to_process_id')::uuid AS process_id,
               coalesce(e.event_data ->> 'process_type', e.event_data ->> 'to_process_type') AS process_type,
               coalesce(e.event_data ->> 'to_stage_id', e.event_data ->> 'initial_stage_id')::uuid AS stage_id,
               coalesce(e.event_data ->> 'to_stage_name', e.event_data ->> 'initial_stage_name') AS stage_name,
               coalesce(e.event_data ->> 'to_stage_order', e.event_data ->> 'initial_stage_order')::integer AS stage_order,
               (e.event_data ->> 'sla_days')::integer AS sla_days,
               stage_exit_reason(e.event_type, e.event_data) AS reason
          FROM unnest(batch) e
         WHERE e.event_type IN ('CompanyProductStageSet', 'CompanyProductProcessSet', 'CompanyProductProcessCompleted')
    )
    INSERT INTO company_product_stage_facts AS f (
        entry_event_id, company_product_id, company_id, product_id, process_id, process_type, stage_id, stage_name,
        stage_order, entry_sequence, entered_at, exited_at, duration_seconds, duration_business_days, sla_days, sla_met,
        days_over_sla, exit_reason, exit_event_id)
    SELECT m.id, i.id, i.company_id, i.product_id, m.process_id, m.process_type, m.stage_id, m.stage_name,
           m.stage_order, m.sequence, m.at, m.left_at, m.seconds, business_days(m.at, m.left_at), m.sla_days,
           m.seconds <= m.sla_days * 86400,
           CASE WHEN m.seconds > m.sla_days * 86400 THEN round(m.seconds / 86400.0 - m.sla_days, 2) END,
           m.exit_reason, m.exit_event_id
      FROM (SELECT u.*, lead(u.id) OVER next AS exit_event_id, lead(u.at) OVER next AS left_at,
                   lead(u.reason) OVER next AS exit_reason,
                   greatest(0, floor(extract(epoch FROM lead(u.at) OVER next - u.at)))::bigint
                       * CASE WHEN lead(u.id) OVER next IS NOT NULL THEN 1 END AS seconds
              FROM (SELECT * FROM moves
                    UNION ALL
                    SELECT o.entry_event_id, o.company_product_id, o.entry_sequence, o.entered_at, true, o.process_id,
                           o.process_type, o.stage_id, o.stage_name, o.stage_order, o.sla_days, NULL
                      FROM (SELECT aggregate_id, min(sequence) AS sequence FROM moves GROUP BY aggregate_id) b
                     CROSS JOIN LATERAL (SELECT * FROM company_product_stage_facts present
                                          WHERE present.company_product_id = b.aggregate_id
                                            AND present.exited_at IS NULL AND present.entry_sequence < b.sequence
                                         OFFSET 0) o) u
            WINDOW next AS (PARTITION BY u.aggregate_id ORDER BY u.sequence)) m
     CROSS JOIN LATERAL (SELECT p.id, p.company_id, p.product_id FROM company_products p
                          WHERE p.id = m.aggregate_id OFFSET 0) i
     WHERE m.is_entry
     ORDER BY m.aggregate_id, m.sequence
        ON CONFLICT (entry_event_id) DO UPDATE
       SET exited_at = excluded.exited_at, duration_seconds = excluded.duration_seconds,
           duration_business_days = excluded.duration_business_days, sla_met = excluded.sla_met,
           days_over_sla = excluded.days_over_sla, exit_reason = excluded.exit_reason,
           exit_event_id = excluded.exit_event_id
     WHERE f.exited_at IS NULL AND excluded.exited_at IS NOT NULL;
END $$;

-- There is one breach in a stay: what follows it is the move that ends the stay.
CREATE FUNCTION project_sla_breach_facts(batch event_store[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan TO off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(batch) e WHERE e.event_type = 'CompanyProductSLABreached')
       AND NOT EXISTS (SELECT FROM sla_breach_facts f WHERE f.resolved_at IS NULL) THEN
        RETURN;
    END IF;
    INSERT INTO sla_breach_facts AS f (
        breach_event_id, company_product_id, process_id, process_type, stage_id, stage_name, sla_days, actual_days,
        days_over, breach_sequence, breached_at, resolved_at)
    SELECT b.id, b.company_product_id, b.process_id, b.process_type, b.stage_id, b.stage_name, b.sla_days, b.actual_days,
           b.days_over, b.sequence, b.at, b.left_at
      FROM (SELECT u.*, lead(u.at) OVER (PARTITION BY u.company_product_id ORDER BY u.sequence) AS left_at
              FROM (SELECT e.id, i.id AS company_product_id, e.sequence_number AS sequence, e.occurred_at AS at,
                           e.event_type = 'CompanyProductSLABreached' AS is_breach,
                           (e.event_data ->> 'process_id')::uuid AS process_id, e.event_data ->> 'process_type' AS process_type,
                           (e.event_data ->> 'stage_id')::uuid AS stage_id, e.event_data ->> 'stage_name' AS stage_name,
                           (e.event_data ->> 'sla_days')::integer AS sla_days,
                           (e.event_data ->> 'actual_days')::numeric AS actual_days,
                           (e.event_data ->> 'days_over')::numeric AS days_over
                      FROM unnest(batch) e
                     CROSS JOIN LATERAL (SELECT p.id FROM company_products p WHERE p.id = e.aggregate_id OFFSET 0) i
                     WHERE e.event_type IN ('CompanyProductStageSet', 'CompanyProductProcessSet',
                                            'CompanyProductProcessCompleted', 'CompanyProductSLABreached')
                    UNION ALL
                    SELECT o.breach_event_id, o.company_product_id, o.breach_sequence, o.breached_at, true, o.process_id,
                           o.process_type, o.stage_id, o.stage_name, o.sla_days, o.actual_days, o.days_over
                      FROM (SELECT e.aggregate_id, min(e.sequence_number) AS sequence FROM unnest(batch) e
                             WHERE e.event_type IN ('CompanyProductStageSet', 'CompanyProductProcessSet',
                                                    'CompanyProductProcessCompleted')
                             GROUP BY e.aggregate_id) b
                     CROSS JOIN LATERAL (SELECT * FROM sla_breach_facts present
                                          WHERE present.company_product_id = b.aggregate_id
                                            AND present.resolved_at IS NULL AND present.breach_sequence < b.sequence
                                         OFFSET 0) o) u) b
     WHERE b.is_breach
        ON CONFLICT (breach_event_id) DO UPDATE SET resolved_at = excluded.resolved_at
     WHERE f.resolved_at IS NULL AND excluded.resolved_at IS NOT NULL;
END $$;

CREATE FUNCTION project_ai_suggestions(batch event_store[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan TO off AS $$
DECLARE
    answer  event_store;
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(batch) e WHERE e.event_type LIKE 'AISuggestion%') THEN
        RETURN;
    END IF;
    INSERT INTO ai_suggestions_read_model (
        suggestion_id, company_product_id, suggestion_type, title, description, confidence, source_type, source_id,
        suggested_action, expires_at, suggested_at, suggested_by_type, suggested_by_id, run_id)
    SELECT (e.event_data ->> 'suggestion_id')::uuid, i.id, e.event_data ->> 'suggestion_type', e.event_data ->> 'title',
           e.event_data ->> 'description', (e.event_data ->> 'confidence')::numeric, e.event_data ->> 'source_type',
           e.event_data ->> 'source_id', e.event_data -> 'suggested_action', (e.event_data ->> 'expires_at')::timestamptz,
           e.occurred_at, e.actor_type, e.actor_id, e.metadata ->> 'run_id'
      FROM unnest(batch) e
     CROSS JOIN LATERAL (SELECT p.id FROM company_products p WHERE p.id = e.aggregate_id OFFSET 0) i
     WHERE e.event_type = 'AISuggestionCreated'
        ON CONFLICT (suggestion_id) DO NOTHING;

    FOR answer IN SELECT * FROM unnest(batch) u WHERE u.event_type IN ('AISuggestionAccepted', 'AISuggestionDismissed') LOOP
        UPDATE ai_suggestions_read_model
           SET status = CASE answer.event_type WHEN 'AISuggestionAccepted' THEN 'accepted' ELSE 'dismissed' END,
               resolved_at = answer.occurred_at, resolved_by_type = answer.actor_type, resolved_by_id = answer.actor_id,
               modification = answer.event_data -> 'modification',
               execute_action = (answer.event_data ->> 'execute_action')::boolean,
               dismiss_reason = answer.event_data ->> 'dismiss_reason', feedback = answer.event_data ->> 'feedback'
         WHERE suggestion_id = (answer.event_data ->> 'suggestion_id')::uuid AND status = 'pending';
    END LOOP;
END $$;

-- Counting again is left until no more events are waiting; here the stages are only marked.
CREATE FUNCTION project_pipeline_stage_counts(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
BEGIN
    INSERT INTO pipeline_dirty_stages (stage_id)
    SELECT s.stage_id::uuid
      FROM unnest(batch) e
     CROSS JOIN LATERAL (VALUES (e.event_data ->> 'from_stage_id'), (e.event_data ->> 'to_stage_id'),
                                (e.event_data ->> 'initial_stage_id'), (e.event_data ->> 'stage_id')) s (stage_id)
     WHERE s.stage_id IS NOT NULL
     UNION
    SELECT m.current_stage_id
      FROM (SELECT DISTINCT e.aggregate_id FROM unnest(batch) e
             WHERE e.event_type IN ('CompanyProductMRRSet', 'CompanyProductHealthComputed',
                                    'CompanyProductHealthUpdated')) a
     CROSS JOIN LATERAL (SELECT * FROM company_product_read_model present
                          WHERE present.company_product_id = a.aggregate_id OFFSET 0) m
     WHERE m.current_process_id IS NOT NULL AND m.process_completed_at IS NULL
        ON CONFLICT DO NOTHING;
    INSERT INTO pipeline_dirty_products (product_id)
    SELECT DISTINCT p.product_id
      FROM (SELECT DISTINCT e.aggregate_id FROM unnest(batch) e
             WHERE e.sequence_number = 1
                OR e.event_type IN ('CompanyProductPhaseSet', 'CompanyProductProcessSet', 'CompanyProductStageSet',
                                    'CompanyProductProcessCompleted', 'CompanyProductOwnerSet', 'CompanyProductMRRSet')) a
     CROSS JOIN LATERAL (SELECT known.product_id FROM company_products known WHERE known.id = a.aggregate_id OFFSET 0) p
        ON CONFLICT DO NOTHING;
END $$;

-- After a rebuild of the rows, everything is counted again.
CREATE FUNCTION mark_pipeline_stage_counts() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pipeline_dirty_stages (stage_id)
    SELECT DISTINCT stage_id FROM company_product_stage_facts ON CONFLICT DO NOTHING;
    INSERT INTO pipeline_dirty_products (product_id)
    SELECT DISTINCT product_id FROM company_product_read_model ON CONFLICT DO NOTHING;
END $$;

-- Count the marked stages: what stands in them now, what that is worth, weighted by health, and how long stays lasted.
CREATE FUNCTION settle_pipeline_stage_counts() RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
BEGIN
    DELETE FROM product_pipeline_stage_counts c USING pipeline_dirty_stages d WHERE c.stage_id = d.stage_id;
    INSERT INTO product_pipeline_stage_counts (product_id, process_id, stage_id, total_count, active_count, stalled_count,
                                               breached_count, total_value, weighted_value, avg_days_in_stage,
                                               median_days_in_stage)
    SELECT known.product_id, known.process_id, d.stage_id, here.total, here.active, here.stalled, here.breached, here.value,
           here.weighted, gone.average, gone.median
      FROM pipeline_dirty_stages d
     CROSS JOIN LATERAL (SELECT f.product_id, f.process_id FROM company_product_stage_facts f
                          WHERE f.stage_id = d.stage_id LIMIT 1) known
     CROSS JOIN LATERAL (
         SELECT count(*)::integer AS total,
                (count(*) FILTER (WHERE NOT m.is_sla_warning AND NOT m.is_sla_breached))::integer AS active,
                (count(*) FILTER (WHERE m.is_sla_warning AND NOT m.is_sla_breached))::integer AS stalled,
                (count(*) FILTER (WHERE m.is_sla_breached))::integer AS breached,
                coalesce(sum(m.mrr), 0) AS value,
                coalesce(sum(m.mrr * coalesce(m.health_score, 50) / 100.0), 0) AS weighted
           FROM company_product_read_model m
          WHERE m.current_stage_id = d.stage_id AND m.process_completed_at IS NULL AND m.current_process_id IS NOT NULL
     ) here
     CROSS JOIN LATERAL (
         SELECT round(avg(f.duration_seconds) / 86400, 2) AS average,
                round((percentile_cont(0.5) WITHIN GROUP (ORDER BY f.duration_seconds) / 86400)::numeric, 2) AS median
           FROM company_product_stage_facts f
          WHERE f.stage_id = d.stage_id AND f.exited_at IS NOT NULL
     ) gone;
    DELETE FROM pipeline_dirty_stages;

    DELETE FROM product_standing_counts c USING pipeline_dirty_products d WHERE c.product_id = d.product_id;
    INSERT INTO product_standing_counts (product_id, owner_id, status, stage_id, total_count, total_value)
    SELECT m.product_id, m.owner_id, m.status,
           CASE WHEN m.process_completed_at IS NULL AND m.current_process_id IS NOT NULL THEN m.current_stage_id END,
           count(*), coalesce(sum(m.mrr), 0)
      FROM company_product_read_model m
     WHERE m.product_id = ANY(array(SELECT d.product_id FROM pipeline_dirty_products d))
     GROUP BY 1, 2, 3, 4;
    DELETE FROM pipeline_dirty_products;
END $$;

-- What a command brings along: the row always, the rest when an event concerns it.
CREATE FUNCTION project_company_product(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
DECLARE
    kinds  text[] := array(SELECT e.event_type FROM unnest(batch) e);
BEGIN
    PERFORM project_company_product_read_model(batch);
    IF kinds && ARRAY['CompanyProductStageSet', 'CompanyProductProcessSet', 'CompanyProductProcessCompleted'] THEN
        PERFORM project_company_product_stage_facts(batch);
        PERFORM project_sla_breach_facts(batch);
    ELSIF kinds && ARRAY['CompanyProductSLABreached'] THEN
        PERFORM project_sla_breach_facts(batch);
    END IF;
    IF kinds && ARRAY['AISuggestionCreated', 'AISuggestionAccepted', 'AISuggestionDismissed'] THEN
        PERFORM project_ai_suggestions(batch);
    END IF;
END $$;

-- A merge gives a company's product to another company: streams keep their ids, what was read from the identity follows.
CREATE FUNCTION follow_company_product() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE company_product_read_model SET company_id = NEW.company_id, product_id = NEW.product_id
     WHERE company_product_id = NEW.id;
    UPDATE company_product_stage_facts SET company_id = NEW.company_id, product_id = NEW.product_id
     WHERE company_product_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER company_products_follow AFTER UPDATE OF company_id, product_id ON company_products FOR EACH ROW
    WHEN (OLD.company_id <> NEW.company_id OR OLD.product_id <> NEW.product_id) EXECUTE FUNCTION follow_company_product();

CREATE FUNCTION forget_company_product() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM company_product_read_model WHERE company_product_id = OLD.id;
    DELETE FROM company_product_stage_facts WHERE company_product_id = OLD.id;
    DELETE FROM sla_breach_facts WHERE company_product_id = OLD.id;
    DELETE FROM ai_suggestions_read_model WHERE company_product_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER company_products_forget AFTER DELETE ON company_products FOR EACH ROW EXECUTE FUNCTION forget_company_product();
