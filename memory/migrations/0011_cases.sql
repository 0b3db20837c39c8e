-- Support cases: who they belong to, what is owed by when, and what their events say about them.

-- Only what a case is known and found by: everything else is in its events.
CREATE TABLE support_cases (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id          uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    company_product_id  uuid REFERENCES company_products ON DELETE SET NULL,
    source              text NOT NULL CHECK (source IN ('email', 'phone', 'chat', 'portal', 'internal')),
    external_id         text,
    title               text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX support_cases_company ON support_cases (company_id);
CREATE INDEX support_cases_product ON support_cases (company_product_id);
CREATE UNIQUE INDEX support_cases_external ON support_cases (source, external_id) WHERE external_id IS NOT NULL;
-- A title never changes, and is searched for any part of it: by all its runs of three letters, here rather than in the read
-- model, whose rows are written anew again and again.
CREATE FUNCTION letter_runs(words text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
    SELECT array(SELECT DISTINCT substr(words, n, 3) FROM generate_series(1, length(words) - 2) AS n)
$$;
CREATE INDEX support_cases_title ON support_cases USING gin (letter_runs(lower(title)));

CREATE TABLE support_sla_config (
    id                         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id                 uuid REFERENCES products ON DELETE CASCADE,
    severity                   text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'urgent', 'critical')),
    first_response_hours       numeric(8,2) NOT NULL CHECK (first_response_hours > 0),
    resolution_hours           numeric(8,2) NOT NULL CHECK (resolution_hours > 0),
    update_hours               numeric(8,2) CHECK (update_hours > 0),
    warning_threshold_percent  integer NOT NULL DEFAULT 75 CHECK (warning_threshold_percent BETWEEN 1 AND 100),
    is_active                  boolean NOT NULL DEFAULT true,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (product_id, severity)
);
CREATE TRIGGER support_sla_config_touch BEFORE UPDATE ON support_sla_config FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
INSERT INTO support_sla_config (severity, first_response_hours, resolution_hours, update_hours)
VALUES ('critical', 1, 4, 1), ('urgent', 2, 8, 2), ('high', 4, 24, 4), ('medium', 8, 72, 8), ('low', 24, 168, 24);

-- Read models ---------------------------------------------------------------------------------------------------------

CREATE TABLE support_case_read_model (
    support_case_id               uuid PRIMARY KEY,
    company_id                    uuid NOT NULL,
    company_product_id            uuid,
    product_id                    uuid,
    title                         text NOT NULL,
    description                   text,
    status                        text NOT NULL CHECK (status IN ('open', 'in_progress', 'waiting_on_customer', 'waiting_on_internal',
                                      'escalated', 'resolved', 'closed')),
    severity                      text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'urgent', 'critical')),
    category                      text,
    subcategory                   text,
    source                        text NOT NULL,
    external_id                   text,
    contact_id                    uuid,
    contact_email                 text,
    contact_name                  text,
    owner_id                      uuid,
    owner_name                    text,
    assigned_team                 text,
    tags                          text[] NOT NULL,
    opened_at                     timestamptz NOT NULL,
    first_response_due_at         timestamptz,
    first_response_warned         boolean NOT NULL,
    first_response_at             timestamptz,
    first_response_breached       boolean NOT NULL,
    resolution_due_at             timestamptz,
    resolution_warned             boolean NOT NULL,
    resolved_at                   timestamptz,
    resolution_breached           boolean NOT NULL,
    update_due_at                 timestamptz,
    update_warned                 boolean NOT NULL,
    update_breached               boolean NOT NULL,
    next_action                   text,
    next_action_due_at            timestamptz,
    next_action_assigned_to_id    uuid,
    next_action_assigned_to_name  text,
    last_customer_contact_at      timestamptz,
    last_agent_response_at        timestamptz,
    response_count                integer NOT NULL,
    customer_response_count       integer NOT NULL,
    agent_response_count          integer NOT NULL,
    escalation_count              integer NOT NULL,
    escalation_level              integer NOT NULL,
    escalated_to_team             text,
    escalated_to_user_id          uuid,
    reopen_count                  integer NOT NULL,
    resolution_summary            text,
    root_cause                    text,
    closed_at                     timestamptz,
    close_reason                  text,
    csat_score                    integer,
    csat_comment                  text,
    csat_submitted_at             timestamptz,
    engagement_impact             text GENERATED ALWAYS AS (CASE
                                      WHEN csat_score >= 4 THEN 'positive'
                                      WHEN csat_score = 3 THEN 'neutral'
                                      WHEN csat_score = 2 THEN 'negative'
                                      WHEN csat_score = 1 THEN 'critical'
                                      WHEN status = 'closed' AND close_reason IN ('no_response', 'cancelled') THEN 'neutral' END) STORED,
    last_event_at                 timestamptz NOT NULL,
    last_event_type               text NOT NULL,
    last_event_sequence           integer NOT NULL,
    projected_at                  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
-- Most events change no indexed column, and such updates stay on their page.
CREATE INDEX support_case_read_model_opened ON support_case_read_model (opened_at DESC, support_case_id);
CREATE INDEX support_case_read_model_company ON support_case_read_model (company_id, opened_at DESC);
CREATE INDEX support_case_read_model_company_product ON support_case_read_model (company_product_id, opened_at DESC);
CREATE INDEX support_case_read_model_product ON support_case_read_model (product_id, opened_at DESC);
CREATE INDEX support_case_read_model_owner ON support_case_read_model (owner_id, opened_at DESC);
CREATE INDEX support_case_read_model_status ON support_case_read_model (status, severity, opened_at DESC);
CREATE INDEX support_case_read_model_severity ON support_case_read_model (severity, opened_at DESC);
CREATE INDEX support_case_read_model_open ON support_case_read_model (company_id) WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX support_case_read_model_open_product ON support_case_read_model (company_product_id) WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX support_case_read_model_open_owner ON support_case_read_model (owner_id) WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX support_case_read_model_first_response ON support_case_read_model (first_response_due_at)
    WHERE status NOT IN ('resolved', 'closed') AND first_response_at IS NULL;
CREATE INDEX support_case_read_model_resolution ON support_case_read_model (resolution_due_at) WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX support_case_read_model_breached ON support_case_read_model (opened_at DESC)
    WHERE first_response_breached OR resolution_breached OR update_breached;

-- One row for every time that something began to be owed. It runs until it is met, set anew, or the case ends.
CREATE TABLE support_case_sla_facts (
    set_event_id     uuid PRIMARY KEY,
    support_case_id  uuid NOT NULL,
    sla_type         text NOT NULL CHECK (sla_type IN ('first_response', 'resolution', 'update')),
    severity         text NOT NULL,
    target_hours     numeric NOT NULL,
    started_at       timestamptz NOT NULL,
    warning_at       timestamptz NOT NULL,
    due_at           timestamptz NOT NULL,
    set_sequence     integer NOT NULL,
    warned_at        timestamptz,
    breached_at      timestamptz,
    is_breached      boolean NOT NULL GENERATED ALWAYS AS (breached_at IS NOT NULL) STORED,
    met_at           timestamptz,
    stopped_at       timestamptz,
    actual_hours     numeric,
    hours_over_sla   numeric
) WITH (fillfactor = 80);
CREATE INDEX support_case_sla_facts_case ON support_case_sla_facts (support_case_id, set_sequence);
CREATE INDEX support_case_sla_facts_due ON support_case_sla_facts (due_at, set_event_id) WHERE stopped_at IS NULL AND breached_at IS NULL;
CREATE INDEX support_case_sla_facts_warning ON support_case_sla_facts (warning_at, set_event_id)
    WHERE stopped_at IS NULL AND breached_at IS NULL AND warned_at IS NULL;

CREATE TABLE company_product_open_case_counts (
    company_product_id             uuid PRIMARY KEY,
    total_open                     integer NOT NULL DEFAULT 0,
    open_count                     integer NOT NULL DEFAULT 0,
    in_progress_count              integer NOT NULL DEFAULT 0,
    waiting_count                  integer NOT NULL DEFAULT 0,
    escalated_count                integer NOT NULL DEFAULT 0,
    low_count                      integer NOT NULL DEFAULT 0,
    medium_count                   integer NOT NULL DEFAULT 0,
    high_count                     integer NOT NULL DEFAULT 0,
    urgent_count                   integer NOT NULL DEFAULT 0,
    critical_count                 integer NOT NULL DEFAULT 0,
    first_response_breached_count  integer NOT NULL DEFAULT 0,
    resolution_breached_count      integer NOT NULL DEFAULT 0,
    update_breached_count          integer NOT NULL DEFAULT 0,
    breached_count                 integer NOT NULL DEFAULT 0,
    at_risk_count                  integer NOT NULL DEFAULT 0,
    negative_impact_count          integer NOT NULL DEFAULT 0,
    critical_impact_count          integer NOT NULL DEFAULT 0,
    projected_at                   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

CREATE TABLE company_open_case_counts (
    company_id                     uuid PRIMARY KEY,
    total_open                     integer NOT NULL DEFAULT 0,
    open_count                     integer NOT NULL DEFAULT 0,
    in_progress_count              integer NOT NULL DEFAULT 0,
    waiting_count                  integer NOT NULL DEFAULT 0,
    escalated_count                integer NOT NULL DEFAULT 0,
    low_count                      integer NOT NULL DEFAULT 0,
    medium_count                   integer NOT NULL DEFAULT 0,
    high_count                     integer NOT NULL DEFAULT 0,
    urgent_count                   integer NOT NULL DEFAULT 0,
    critical_count                 integer NOT NULL DEFAULT 0,
    first_response_breached_count  integer NOT NULL DEFAULT 0,
    resolution_breached_count      integer NOT NULL DEFAULT 0,
    update_breached_count          integer NOT NULL DEFAULT 0,
    breached_count                 integer NOT NULL DEFAULT 0,
    at_risk_count                  integer NOT NULL DEFAULT 0,
    negative_impact_count          integer NOT NULL DEFAULT 0,
    critical_impact_count          integer NOT NULL DEFAULT 0,
    unassigned_product_count       integer NOT NULL DEFAULT 0,
    high_and_above_count           integer NOT NULL DEFAULT 0,
    projected_at                   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

-- Projectors ----------------------------------------------------------------------------------------------------------

-- The columns that one event sets; a null clears.
CREATE FUNCTION support_case_patch(event_type text, data jsonb, at timestamptz) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE event_type
        WHEN 'AgentResponseSent' THEN
            jsonb_build_object('last_agent_response_at', at, 'update_warned', false)
            || CASE WHEN (data -> 'is_first_response')::boolean
                    THEN jsonb_build_object('first_response_at', at, 'first_response_warned', false) ELSE '{}' END
        WHEN 'SlaConfigured' THEN
            jsonb_build_object((data ->> 'sla_type') || '_due_at', data -> 'due_at', (data ->> 'sla_type') || '_warned', false)
        WHEN 'SlaWarned' THEN jsonb_build_object((data ->> 'sla_type') || '_warned', true)
        WHEN 'SlaBreached' THEN
            jsonb_build_object((data ->> 'sla_type') || '_breached', true, (data ->> 'sla_type') || '_warned', false)
        WHEN 'SupportCaseStatusChanged' THEN jsonb_build_object('status', data -> 'to')
        WHEN 'SupportCaseSeverityChanged' THEN jsonb_build_object('severity', data -> 'to')
        WHEN 'SupportCaseAssigned' THEN
            jsonb_build_object('owner_id', data -> 'to_owner_id', 'owner_name', data -> 'to_owner_name', 'assigned_team', data -> 'team')
        WHEN 'NextActionSet' THEN
            jsonb_build_object('next_action', data -> 'to_action', 'next_action_due_at', data -> 'to_due_at',
                               'next_action_assigned_to_id', data -> 'assigned_to_id', 'next_action_assigned_to_name', data -> 'assigned_to_name')
        WHEN 'TagAdded' THEN jsonb_build_object('tags', data -> 'tags')
        WHEN 'TagRemoved' THEN jsonb_build_object('tags', data -> 'tags')
        WHEN 'SupportCaseCategoryChanged' THEN
            jsonb_build_object('category', data -> 'to_category', 'subcategory', data -> 'to_subcategory')
        WHEN 'SupportCaseEscalated' THEN
            jsonb_build_object('status', 'escalated', 'escalation_level', data -> 'escalation_level',
                               'escalated_to_team', data -> 'escalated_to_team', 'escalated_to_user_id', data -> 'escalated_to_user_id')
        WHEN 'SupportCaseResolved' THEN
            jsonb_build_object('status', 'resolved', 'resolved_at', at, 'resolution_summary', data -> 'resolution_summary',
                               'root_cause', data -> 'root_cause')
        WHEN 'SupportCaseClosed' THEN jsonb_build_object('status', 'closed', 'closed_at', at, 'close_reason', data -> 'close_reason')
        WHEN 'SupportCaseReopened' THEN
            '{"status": "open", "resolved_at": null, "closed_at": null, "close_reason": null, "resolution_summary": null, "root_cause": null,
              "first_response_warned": false, "resolution_warned": false, "update_warned": false}'
        WHEN 'CsatSubmitted' THEN
            jsonb_build_object('csat_score', data -> 'score', 'csat_comment', data -> 'comment', 'csat_submitted_at', at)
        WHEN 'SupportCaseCreated' THEN
            '{"status": "open", "tags": [], "escalation_level": 0, "first_response_warned": false, "resolution_warned": false,
              "update_warned": false, "first_response_breached": false, "resolution_breached": false, "update_breached": false}'
            || jsonb_build_object('opened_at', at)
            || jsonb_strip_nulls(jsonb_build_object(
                   'title', data -> 'title', 'description', data -> 'description', 'severity', data -> 'severity',
                   'category', data -> 'category', 'subcategory', data -> 'subcategory', 'source', data -> 'source',
                   'external_id', data -> 'external_id', 'contact_id', data -> 'contact_id', 'contact_email', data -> 'contact_email',
                   'contact_name', data -> 'contact_name'))
        ELSE '{}'
    END
$$;

CREATE FUNCTION project_support_case_read_model(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
BEGIN
    INSERT INTO support_case_read_model AS m (
        support_case_id, company_id, company_product_id, product_id, title, description, status, severity, category, subcategory, source,
        external_id, contact_id, contact_email, contact_name, owner_id, owner_name, assigned_team, tags, opened_at, first_response_due_at,
        first_response_warned, first_response_at, first_response_breached, resolution_due_at, resolution_warned, resolved_at,
        resolution_breached, update_due_at, update_warned, update_breached, next_action, next_action_due_at, next_action_assigned_to_id,
        next_action_assigned_to_name, last_customer_contact_at, last_agent_response_at, response_count, customer_response_count,
        agent_response_count, escalation_count, escalation_level, escalated_to_team, escalated_to_user_id, reopen_count,
        resolution_summary, root_cause, closed_at, close_reason, csat_score, csat_comment, csat_submitted_at, last_event_at,
        last_event_type, last_event_sequence)
    SELECT f.case_id, c.company_id, c.company_product_id, p.product_id, n.title, n.description, n.status, n.severity, n.category, n.subcategory,
           n.source, n.external_id, n.contact_id, n.contact_email, n.contact_name, n.owner_id, n.owner_name, n.assigned_team, n.tags, n.opened_at,
           n.first_response_due_at, n.first_response_warned, n.first_response_at, n.first_response_breached, n.resolution_due_at,
           n.resolution_warned, n.resolved_at, n.resolution_breached, n.update_due_at, n.update_warned, n.update_breached, n.next_action,
           n.next_action_due_at, n.next_action_assigned_to_id, n.next_action_assigned_to_name,
           greatest(n.last_customer_contact_at, f.contacted_at), n.last_agent_response_at,
           coalesce((stood.row).response_count, 0) + f.messages + f.answers, coalesce((stood.row).customer_response_count, 0) + f.messages,
           coalesce((stood.row).agent_response_count, 0) + f.answers, coalesce((stood.row).escalation_count, 0) + f.escalations, n.escalation_level,
           n.escalated_to_team, n.escalated_to_user_id, coalesce((stood.row).reopen_count, 0) + f.reopenings, n.resolution_summary, n.root_cause,
           n.closed_at, n.close_reason, n.csat_score, n.csat_comment, n.csat_submitted_at, f.last_at, f.last_type, f.last_sequence
      FROM (SELECT e.aggregate_id AS case_id,
                   jsonb_merge(support_case_patch(e.event_type, e.event_data, e.occurred_at) ORDER BY e.sequence_number) AS patch,
                   count(*) FILTER (WHERE e.event_type = 'CustomerMessageLogged')::integer AS messages,
                   count(*) FILTER (WHERE e.event_type = 'AgentResponseSent')::integer AS answers,
                   count(*) FILTER (WHERE e.event_type = 'SupportCaseEscalated')::integer AS escalations,
                   count(*) FILTER (WHERE e.event_type = 'SupportCaseReopened')::integer AS reopenings,
                   max((e.event_data ->> 'received_at')::timestamptz) FILTER (WHERE e.event_type = 'CustomerMessageLogged') AS contacted_at,
                   max(e.sequence_number) AS last_sequence,
                   (array_agg(e.event_type ORDER BY e.sequence_number DESC))[1] AS last_type,
                   (array_agg(e.occurred_at ORDER BY e.sequence_number DESC))[1] AS last_at
              FROM unnest(batch) e
             WHERE e.sequence_number > coalesce((SELECT seen.last_event_sequence FROM support_case_read_model seen
                                                  WHERE seen.support_case_id = e.aggregate_id), 0)
             GROUP BY e.aggregate_id) f
     CROSS JOIN LATERAL (SELECT identity.company_id, identity.company_product_id FROM support_cases identity
                          WHERE identity.id = f.case_id OFFSET 0) c
      LEFT JOIN LATERAL (SELECT owned.product_id FROM company_products owned
                          WHERE owned.id = c.company_product_id OFFSET 0) p ON true
     CROSS JOIN LATERAL (SELECT (SELECT present FROM support_case_read_model present
                                  WHERE present.support_case_id = f.case_id) AS row OFFSET 0) stood
     CROSS JOIN LATERAL jsonb_populate_record(stood.row, f.patch) n
    ON CONFLICT (support_case_id) DO UPDATE SET (
        company_id, company_product_id, product_id, title, description, status, severity, category, subcategory, source,
        external_id, contact_id, contact_email, contact_name, owner_id, owner_name, assigned_team, tags, opened_at, first_response_due_at,
        first_response_warned, first_response_at, first_response_breached, resolution_due_at, resolution_warned, resolved_at,
        resolution_breached, update_due_at, update_warned, update_breached, next_action, next_action_due_at, next_action_assigned_to_id,
        next_action_assigned_to_name, last_customer_contact_at, last_agent_response_at, response_count, customer_response_count,
        agent_response_count, escalation_count, escalation_level, escalated_to_team, escalated_to_user_id, reopen_count,
        resolution_summary, root_cause, closed_at, close_reason, csat_score, csat_comment, csat_submitted_at, last_event_at,
        last_event_type, last_event_sequence, projected_at
    ) = ROW (
        excluded.company_id, excluded.company_product_id, excluded.product_id, excluded.title, excluded.description, excluded.status,
        excluded.severity, excluded.category, excluded.subcategory, excluded.source, excluded.external_id, excluded.contact_id,
        excluded.contact_email, excluded.contact_name, excluded.owner_id, excluded.owner_name, excluded.assigned_team, excluded.tags,
        excluded.opened_at, excluded.first_response_due_at, excluded.first_response_warned, excluded.first_response_at,
        excluded.first_response_breached, excluded.resolution_due_at, excluded.resolution_warned, excluded.resolved_at,
        excluded.resolution_breached, excluded.update_due_at, excluded.update_warned, excluded.update_breached, excluded.next_action,
        excluded.next_action_due_at, excluded.next_action_assigned_to_id, excluded.next_action_assigned_to_name,
        excluded.last_customer_contact_at, excluded.last_agent_response_at, excluded.response_count, excluded.customer_response_count,
        excluded.agent_response_count, excluded.escalation_count, excluded.escalation_level, excluded.escalated_to_team,
        excluded.escalated_to_user_id, excluded.reopen_count, excluded.resolution_summary, excluded.root_cause, excluded.closed_at,
        excluded.close_reason, excluded.csat_score, excluded.csat_comment, excluded.csat_submitted_at, excluded.last_event_at,
        excluded.last_event_type, excluded.last_event_sequence, now());
END $$;

-- Done again over events that it has seen, this changes nothing: a clock is known by the event that set it, one that has
-- stopped is left alone, and one that runs minds only what came after it.
CREATE FUNCTION project_support_case_sla_facts(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
DECLARE
    m  record;
BEGIN
    INSERT INTO support_case_sla_facts (set_event_id, support_case_id, sla_type, severity, target_hours, started_at, warning_at, due_at,
                                        set_sequence)
    SELECT e.id, e.aggregate_id, e.event_data ->> 'sla_type', e.event_data ->> 'severity', (e.event_data ->> 'target_hours')::numeric,
           (e.event_data ->> 'started_at')::timestamptz, (e.event_data ->> 'warning_at')::timestamptz,
           (e.event_data ->> 'due_at')::timestamptz, e.sequence_number
      FROM unnest(batch) e
     WHERE e.event_type = 'SlaConfigured'
    ON CONFLICT (set_event_id) DO NOTHING;

    FOR m IN
        WITH said AS MATERIALIZED (
            SELECT e.aggregate_id, e.sequence_number, e.event_type, e.occurred_at, e.event_data ->> 'sla_type' AS sla_type,
                   (e.event_data ->> 'breached_at')::timestamptz AS breached_at, (e.event_data ->> 'actual_hours')::numeric AS actual_hours,
                   (e.event_data ->> 'hours_over')::numeric AS hours_over
              FROM unnest(batch) e
             WHERE e.event_type IN ('SlaConfigured', 'SlaWarned', 'SlaBreached', 'AgentResponseSent', 'SupportCaseResolved', 'SupportCaseClosed')
        ), heard AS (
            SELECT f.set_event_id, s.*,
                   s.event_type IN ('SupportCaseResolved', 'SupportCaseClosed') OR s.event_type = 'SlaConfigured'
                       OR (s.event_type = 'AgentResponseSent' AND f.sla_type <> 'resolution') AS stops,
                   CASE f.sla_type WHEN 'first_response' THEN s.event_type = 'AgentResponseSent'
                                   WHEN 'resolution' THEN s.event_type = 'SupportCaseResolved'
                                   ELSE s.event_type IN ('AgentResponseSent', 'SupportCaseResolved') END AS meets
              FROM said s
             CROSS JOIN LATERAL (SELECT * FROM support_case_sla_facts running
                                  WHERE running.support_case_id = s.aggregate_id AND running.set_sequence < s.sequence_number
                                    AND running.stopped_at IS NULL
                                    AND running.sla_type = coalesce(s.sla_type, running.sla_type) OFFSET 0) f
        ), ended AS (
            SELECT DISTINCT ON (set_event_id) set_event_id, sequence_number, occurred_at, meets
              FROM heard WHERE stops ORDER BY set_event_id, sequence_number
        ), marks AS (
            SELECT h.set_event_id,
                   min(h.occurred_at) FILTER (WHERE h.event_type = 'SlaWarned') AS warned_at,
                   min(h.breached_at) FILTER (WHERE h.event_type = 'SlaBreached') AS breached_at,
                   min(h.actual_hours) FILTER (WHERE h.event_type = 'SlaBreached') AS actual_hours,
                   min(h.hours_over) FILTER (WHERE h.event_type = 'SlaBreached') AS hours_over,
                   min(e.occurred_at) AS stopped_at,
                   min(e.occurred_at) FILTER (WHERE e.meets) AS met_at
              FROM heard h LEFT JOIN ended e USING (set_event_id)
             WHERE h.sequence_number <= coalesce(e.sequence_number, h.sequence_number)
             GROUP BY h.set_event_id
        )
        SELECT * FROM marks
    LOOP
        UPDATE support_case_sla_facts f
           SET warned_at = coalesce(f.warned_at, m.warned_at),
               breached_at = coalesce(f.breached_at, m.breached_at),
               met_at = m.met_at,
               stopped_at = m.stopped_at,
               actual_hours = coalesce(round(extract(epoch FROM m.met_at - f.started_at) / 3600, 2), f.actual_hours,
                                       m.actual_hours),
               hours_over_sla = CASE WHEN m.met_at > f.due_at
                                     THEN round(extract(epoch FROM m.met_at - f.due_at) / 3600, 2)
                                     ELSE coalesce(f.hours_over_sla, m.hours_over) END
         WHERE f.set_event_id = m.set_event_id;
    END LOOP;
END $$;

-- Two cases of one company may be changed at once, and each would count without the other: whoever counts locks the
-- rows first, and counts in a statement of its own, which sees what the other has committed meanwhile.
CREATE FUNCTION project_open_case_counts(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
DECLARE
    products   uuid[];
    companies  uuid[];
    locked     integer;
BEGIN
    SELECT array_agg(DISTINCT m.company_product_id ORDER BY m.company_product_id) FILTER (WHERE m.company_product_id IS NOT NULL),
           array_agg(DISTINCT m.company_id ORDER BY m.company_id)
      INTO products, companies
      FROM support_case_read_model m
     WHERE m.support_case_id = ANY(array(
               SELECT e.aggregate_id FROM unnest(batch) e
                WHERE e.event_type IN ('SupportCaseCreated', 'SupportCaseStatusChanged', 'SupportCaseSeverityChanged', 'SupportCaseResolved',
                          'SupportCaseClosed', 'SupportCaseReopened', 'SupportCaseEscalated', 'CsatSubmitted', 'SlaConfigured', 'SlaWarned',
                          'SlaBreached', 'AgentResponseSent')));

    IF products IS NOT NULL THEN
        PERFORM FROM company_product_open_case_counts WHERE company_product_id = ANY(products) ORDER BY company_product_id FOR UPDATE;
        GET DIAGNOSTICS locked = ROW_COUNT;
        IF locked < cardinality(products) THEN
            INSERT INTO company_product_open_case_counts (company_product_id)
            SELECT key FROM unnest(products) AS key ORDER BY key ON CONFLICT DO NOTHING;
            PERFORM FROM company_product_open_case_counts WHERE company_product_id = ANY(products) ORDER BY company_product_id FOR UPDATE;
        END IF;
        UPDATE company_product_open_case_counts c
           SET (total_open, open_count, in_progress_count, waiting_count, escalated_count, low_count, medium_count, high_count, urgent_count,
                critical_count, first_response_breached_count, resolution_breached_count, update_breached_count, breached_count,
                at_risk_count, negative_impact_count, critical_impact_count, projected_at)
             = ROW (n.total_open, n.open, n.in_progress, n.waiting, n.escalated, n.low, n.medium, n.high, n.urgent, n.critical,
                    n.first_response_breached, n.resolution_breached, n.update_breached, n.breached, n.at_risk, n.negative_impact,
                    n.critical_impact, now())
          FROM count_open_cases(NULL, products) n
         WHERE c.company_product_id = n.key;
    END IF;
    IF companies IS NOT NULL THEN
        PERFORM FROM company_open_case_counts WHERE company_id = ANY(companies) ORDER BY company_id FOR UPDATE;
        GET DIAGNOSTICS locked = ROW_COUNT;
        IF locked < cardinality(companies) THEN
            INSERT INTO company_open_case_counts (company_id)
            SELECT key FROM unnest(companies) AS key ORDER BY key ON CONFLICT DO NOTHING;
            PERFORM FROM company_open_case_counts WHERE company_id = ANY(companies) ORDER BY company_id FOR UPDATE;
        END IF;
        UPDATE company_open_case_counts c
           SET (total_open, open_count, in_progress_count, waiting_count, escalated_count, low_count, medium_count, high_count, urgent_count,
                critical_count, first_response_breached_count, resolution_breached_count, update_breached_count, breached_count,
                at_risk_count, negative_impact_count, critical_impact_count, unassigned_product_count, high_and_above_count, projected_at)
             = ROW (n.total_open, n.open, n.in_progress, n.waiting, n.escalated, n.low, n.medium, n.high, n.urgent, n.critical,
                    n.first_response_breached, n.resolution_breached, n.update_breached, n.breached, n.at_risk, n.negative_impact,
                    n.critical_impact, n.unassigned_product, n.high + n.urgent + n.critical, now())
          FROM count_open_cases(companies, NULL) n
         WHERE c.company_id = n.key;
    END IF;
END $$;

-- What the open cases of these companies, or of these products of companies, add up to; every key has a row.
CREATE FUNCTION count_open_cases(companies uuid[], products uuid[])
RETURNS TABLE (key uuid, total_open bigint, open bigint, in_progress bigint, waiting bigint, escalated bigint, low bigint, medium bigint,
               high bigint, urgent bigint, critical bigint, first_response_breached bigint, resolution_breached bigint,
               update_breached bigint, breached bigint, at_risk bigint, negative_impact bigint, critical_impact bigint,
               unassigned_product bigint) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT k.key,
           count(m.support_case_id),
           count(*) FILTER (WHERE m.status = 'open'),
           count(*) FILTER (WHERE m.status = 'in_progress'),
           count(*) FILTER (WHERE m.status IN ('waiting_on_customer', 'waiting_on_internal')),
           count(*) FILTER (WHERE m.status = 'escalated'),
           count(*) FILTER (WHERE m.severity = 'low'),
           count(*) FILTER (WHERE m.severity = 'medium'),
           count(*) FILTER (WHERE m.severity = 'high'),
           count(*) FILTER (WHERE m.severity = 'urgent'),
           count(*) FILTER (WHERE m.severity = 'critical'),
           count(*) FILTER (WHERE m.first_response_breached),
           count(*) FILTER (WHERE m.resolution_breached),
           count(*) FILTER (WHERE m.update_breached),
           count(*) FILTER (WHERE m.first_response_breached OR m.resolution_breached OR m.update_breached),
           count(*) FILTER (WHERE m.first_response_warned OR m.resolution_warned OR m.update_warned),
           count(*) FILTER (WHERE m.engagement_impact = 'negative'),
           count(*) FILTER (WHERE m.engagement_impact = 'critical'),
           count(m.support_case_id) FILTER (WHERE m.company_product_id IS NULL)
      FROM (SELECT unnest(companies || products)) k (key)
      LEFT JOIN (SELECT o.company_id AS of, o.support_case_id, o.company_product_id, o.status, o.severity, o.first_response_breached,
                        o.resolution_breached, o.update_breached, o.first_response_warned, o.resolution_warned, o.update_warned,
                        o.engagement_impact
                   FROM support_case_read_model o
                  WHERE o.company_id = ANY(companies) AND o.status NOT IN ('resolved', 'closed')
                 UNION ALL
                 SELECT o.company_product_id, o.support_case_id, o.company_product_id, o.status, o.severity, o.first_response_breached,
                        o.resolution_breached, o.update_breached, o.first_response_warned, o.resolution_warned, o.update_warned,
                        o.engagement_impact
                   FROM support_case_read_model o
                  WHERE o.company_product_id = ANY(products) AND o.status NOT IN ('resolved', 'closed')) m ON m.of = k.key
     GROUP BY k.key;
END $$;

CREATE FUNCTION project_support_case(batch event_store[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan TO off AS $$
DECLARE
    kinds text[] := array(SELECT e.event_type FROM unnest(batch) e);
BEGIN
    PERFORM project_support_case_read_model(batch);
    IF kinds && '{SlaConfigured,SlaWarned,SlaBreached,AgentResponseSent,SupportCaseResolved,SupportCaseClosed}' THEN
        PERFORM project_support_case_sla_facts(batch);
    END IF;
    IF kinds && '{SupportCaseCreated,SupportCaseStatusChanged,SupportCaseSeverityChanged,SupportCaseResolved,SupportCaseClosed,SupportCaseReopened,SupportCaseEscalated,CsatSubmitted,SlaConfigured,SlaWarned,SlaBreached,AgentResponseSent}' THEN
        PERFORM project_open_case_counts(batch);
    END IF;
END $$;
