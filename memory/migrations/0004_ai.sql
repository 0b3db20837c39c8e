-- What agents cost, say, do and conclude.

CREATE TABLE ai_prompts (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key              text NOT NULL UNIQUE,
    name             text NOT NULL,
    description      text,
    purpose          text,
    category         text NOT NULL DEFAULT 'general' CHECK (category IN ('general', 'meetings', 'email', 'communications', 'scheduler',
                         'intelligence', 'summaries', 'command_center')),
    variables        text[] NOT NULL DEFAULT '{}',
    is_active        boolean NOT NULL DEFAULT true,
    is_system        boolean NOT NULL DEFAULT false,
    active_version   integer,
    default_version  integer,
    lock_version     integer NOT NULL DEFAULT 0,
    updated_by       uuid REFERENCES users ON DELETE SET NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ai_prompt_versions (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    prompt_id          uuid NOT NULL REFERENCES ai_prompts ON DELETE CASCADE,
    version            integer NOT NULL,
    prompt_template    text NOT NULL,
    system_template    text,
    schema_template    text,
    provider           text,
    model              text,
    max_tokens         integer CHECK (max_tokens BETWEEN 1 AND 200000),
    temperature        numeric(3,2) CHECK (temperature BETWEEN 0 AND 2),
    fallback_provider  text,
    fallback_model     text,
    change_reason      text,
    changed_by         uuid REFERENCES users ON DELETE SET NULL,
    changed_at         timestamptz NOT NULL DEFAULT now(),
    created_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (prompt_id, version)
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are immutable', TG_TABLE_NAME;
END $$;
CREATE TRIGGER ai_prompt_versions_immutable BEFORE UPDATE ON ai_prompt_versions
    FOR EACH ROW WHEN (OLD.changed_by IS NOT DISTINCT FROM NEW.changed_by) EXECUTE FUNCTION refuse_change();

CREATE TABLE ai_calls (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    capability        text NOT NULL,
    prompt_key        text NOT NULL,
    prompt_version    integer NOT NULL,
    prompt_source     text NOT NULL DEFAULT 'file' CHECK (prompt_source IN ('file', 'database')),
    engine            text NOT NULL,
    provider          text NOT NULL,
    model             text NOT NULL,
    used_fallback     boolean NOT NULL DEFAULT false,
    status            text NOT NULL CHECK (status IN ('reserved', 'ok', 'invalid_output', 'error', 'blocked_budget', 'timeout')),
    attempt           integer NOT NULL DEFAULT 1,
    input_tokens      integer NOT NULL DEFAULT 0,
    output_tokens     integer NOT NULL DEFAULT 0,
    cached_tokens     integer NOT NULL DEFAULT 0,
    reserved_usd      numeric(12,6) NOT NULL DEFAULT 0,
    reserved_tokens   integer NOT NULL DEFAULT 0,
    -- The rows of ai_spend that hold this reservation until the call is settled.
    reserved_in       jsonb NOT NULL DEFAULT '[]',
    cost_usd          numeric(12,6) NOT NULL DEFAULT 0,
    latency_ms        integer,
    run_id            uuid,
    user_id           uuid REFERENCES users ON DELETE SET NULL,
    company_id        uuid REFERENCES companies ON DELETE SET NULL,
    contact_id        uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id           uuid REFERENCES deals ON DELETE SET NULL,
    communication_id  uuid REFERENCES communications ON DELETE SET NULL,
    transcription_id  uuid REFERENCES meeting_transcriptions ON DELETE SET NULL,
    error             text,
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ai_calls_capability ON ai_calls (capability, created_at);
CREATE INDEX ai_calls_company ON ai_calls (company_id, created_at);
CREATE INDEX ai_calls_user ON ai_calls (user_id, created_at);
CREATE INDEX ai_calls_run ON ai_calls (run_id, created_at);
CREATE INDEX ai_calls_created ON ai_calls (created_at);
CREATE INDEX ai_calls_open ON ai_calls (created_at) WHERE status = 'reserved';

CREATE TABLE ai_budgets (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    scope         text NOT NULL CHECK (scope IN ('org', 'user', 'company', 'capability', 'run')),
    scope_id      text NOT NULL DEFAULT '',
    period        text NOT NULL CHECK (period IN ('day', 'month')),
    limit_usd     numeric(12,4),
    limit_tokens  bigint,
    hard          boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (scope, scope_id, period)
);

-- One row per scope and period: reservations lock it, so concurrent calls cannot overrun together.
CREATE TABLE ai_spend (
    scope         text NOT NULL,
    scope_id      text NOT NULL DEFAULT '',
    period_start  date NOT NULL,
    period        text NOT NULL CHECK (period IN ('day', 'month')),
    reserved_usd     numeric(14,6) NOT NULL DEFAULT 0,
    spent_usd        numeric(14,6) NOT NULL DEFAULT 0,
    reserved_tokens  bigint NOT NULL DEFAULT 0,
    spent_tokens     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, scope_id, period, period_start)
);

CREATE TABLE ai_action_log (
    id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source                 text NOT NULL CHECK (source IN ('scheduler', 'communications', 'transcript', 'pipeline', 'system')),
    action_type            text NOT NULL CHECK (action_type IN ('EMAIL_SENT', 'EMAIL_DRAFTED', 'MEETING_BOOKED', 'MEETING_PROPOSED',
                               'MEETING_RESCHEDULED', 'FOLLOWUP_CREATED', 'NEXT_STEP_SET', 'FLAG_CREATED', 'FLAG_RESOLVED',
                               'ESCALATED_TO_HUMAN', 'ENTITY_LINKED', 'ANALYSIS_COMPLETED', 'SUMMARY_GENERATED', 'ERROR')),
    status                 text NOT NULL CHECK (status IN ('pending', 'success', 'skipped', 'failed')),
    user_id                uuid REFERENCES users ON DELETE SET NULL,
    company_id             uuid REFERENCES companies ON DELETE SET NULL,
    contact_id             uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id                uuid REFERENCES deals ON DELETE SET NULL,
    company_product_id     uuid REFERENCES company_products ON DELETE SET NULL,
    communication_id       uuid REFERENCES communications ON DELETE SET NULL,
    scheduling_request_id  uuid,
    transcription_id       uuid REFERENCES meeting_transcriptions ON DELETE SET NULL,
    attention_flag_id      uuid REFERENCES attention_flags ON DELETE SET NULL,
    ai_call_id             uuid REFERENCES ai_calls ON DELETE SET NULL,
    run_id                 uuid,
    inputs                 jsonb NOT NULL DEFAULT '{}',
    outputs                jsonb NOT NULL DEFAULT '{}',
    ai_reasoning           text,
    idempotency_key        text UNIQUE,
    error_message          text,
    error_details          jsonb,
    retry_count            integer NOT NULL DEFAULT 0,
    completed_at           timestamptz,
    created_at             timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ai_action_log_created ON ai_action_log (created_at DESC, id);
CREATE INDEX ai_action_log_source ON ai_action_log (source, status, created_at DESC);
CREATE INDEX ai_action_log_company ON ai_action_log (company_id, created_at DESC);
CREATE INDEX ai_action_log_user ON ai_action_log (user_id, created_at DESC);
CREATE INDEX ai_action_log_communication ON ai_action_log (communication_id);

CREATE TABLE ai_summaries (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    deal_id         uuid REFERENCES deals ON DELETE CASCADE,
    company_id      uuid REFERENCES companies ON DELETE CASCADE,
    contact_id      uuid REFERENCES contacts ON DELETE CASCADE,
    -- What the reader may see decides what a summary may say: null is made of everything, for managers; a user id is that
    -- rep's own.
    audience_id     uuid REFERENCES users ON DELETE CASCADE,
    summary_type    text NOT NULL CHECK (summary_type IN ('deal_overview', 'deal_status', 'company_overview', 'contact_overview',
                        'relationship_summary', 'engagement_summary')),
    summary         jsonb NOT NULL,
    summary_text    text NOT NULL,
    key_points      text[] NOT NULL DEFAULT '{}',
    risks           text[] NOT NULL DEFAULT '{}',
    opportunities   text[] NOT NULL DEFAULT '{}',
    sources         jsonb NOT NULL DEFAULT '[]',
    generated_at    timestamptz NOT NULL,
    context_hash    text NOT NULL,
    stale           boolean NOT NULL DEFAULT false,
    engine          text NOT NULL DEFAULT 'rules',
    model_used      text,
    prompt_key      text,
    prompt_version  integer,
    run_id          uuid,
    tokens_used     integer NOT NULL DEFAULT 0,
    confidence      numeric(3,2) CHECK (confidence BETWEEN 0 AND 1),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(deal_id, company_id, contact_id) = 1)
);
CREATE UNIQUE INDEX ai_summaries_subject ON ai_summaries (deal_id, company_id, contact_id, summary_type, audience_id) NULLS NOT DISTINCT;
CREATE INDEX ai_summaries_company ON ai_summaries (company_id) WHERE company_id IS NOT NULL;
CREATE INDEX ai_summaries_contact ON ai_summaries (contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX ai_summaries_stale ON ai_summaries (generated_at) WHERE stale;

CREATE TABLE ai_signals (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id        uuid REFERENCES companies ON DELETE CASCADE,
    contact_id        uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id           uuid REFERENCES deals ON DELETE CASCADE,
    user_id           uuid REFERENCES users ON DELETE SET NULL,
    signal_type       text NOT NULL CHECK (signal_type IN ('stale_deal', 'stuck_stage', 'high_engagement', 'multi_thread_opportunity',
                          'momentum_shift', 'risk_escalation', 'champion_identified', 'competitor_mentioned', 'budget_confirmed',
                          'decision_timeline', 'sentiment_positive', 'sentiment_negative', 'engagement_drop')),
    severity          text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    category          text NOT NULL CHECK (category IN ('risk', 'opportunity', 'insight', 'action_needed')),
    title             text NOT NULL,
    description       text,
    score             integer,
    evidence          jsonb NOT NULL DEFAULT '{}',
    source            text NOT NULL CHECK (source IN ('email', 'meeting', 'activity', 'time_based', 'health_check', 'manual')),
    suggested_action  text,
    status            text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'acknowledged', 'resolved', 'dismissed')),
    acknowledged_by   uuid REFERENCES users ON DELETE SET NULL,
    acknowledged_at   timestamptz,
    resolved_at       timestamptz,
    dismissed_reason  text,
    action_taken      text,
    expires_at        timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX ai_signals_open_deal ON ai_signals (deal_id, signal_type) WHERE status IN ('active', 'acknowledged') AND deal_id IS NOT NULL;
CREATE INDEX ai_signals_gravity ON ai_signals
    (status, array_position(ARRAY['critical', 'high', 'medium', 'low'], severity), created_at DESC, id);
CREATE INDEX ai_signals_company ON ai_signals (company_id, status);
CREATE INDEX ai_signals_contact ON ai_signals (contact_id);
CREATE TRIGGER ai_signals_touch BEFORE UPDATE ON ai_signals FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE deal_health_history (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    deal_id            uuid NOT NULL REFERENCES deals ON DELETE CASCADE,
    overall_score      integer NOT NULL,
    engagement_score   integer NOT NULL,
    velocity_score     integer NOT NULL,
    stakeholder_score  integer NOT NULL,
    activity_score     integer NOT NULL,
    sentiment_score    integer NOT NULL,
    trend              text NOT NULL CHECK (trend IN ('improving', 'stable', 'declining')),
    change_from_last   integer NOT NULL DEFAULT 0,
    risk_factors       text[] NOT NULL DEFAULT '{}',
    positive_factors   text[] NOT NULL DEFAULT '{}',
    formula_version    text NOT NULL,
    recorded_at        timestamptz NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deal_health_history_deal ON deal_health_history (deal_id, recorded_at DESC);

CREATE TABLE ai_proposals (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id          uuid REFERENCES users ON DELETE CASCADE,
    company_id       uuid REFERENCES companies ON DELETE CASCADE,
    contact_id       uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id          uuid REFERENCES deals ON DELETE CASCADE,
    action_type      text NOT NULL CHECK (action_type IN ('send_email', 'move_stage', 'create_task', 'schedule_meeting', 'alert', 'update_value',
                         'add_contact', 'send_content', 'log_activity', 'memory_update', 'merge_entity')),
    payload          jsonb NOT NULL,
    -- What was approved: a hash of action, arguments, recipient and record version. Execution refuses another.
    content_hash     text NOT NULL,
    title            text NOT NULL,
    reasoning        text,
    confidence       numeric(3,2) CHECK (confidence BETWEEN 0 AND 1),
    priority         text NOT NULL DEFAULT 'medium' CHECK (priority IN ('critical', 'high', 'medium', 'low')),
    status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'executed', 'rejected', 'expired')),
    source_type      text,
    source_id        uuid,
    run_id           uuid,
    approved_by      uuid REFERENCES users ON DELETE SET NULL,
    approved_at      timestamptz,
    executed_at      timestamptz,
    result           jsonb,
    rejected_reason  text,
    expires_at       timestamptz,
    dedupe_key       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX ai_proposals_pending ON ai_proposals (dedupe_key) WHERE status = 'pending';
CREATE INDEX ai_proposals_user ON ai_proposals (user_id, status, created_at DESC);
CREATE INDEX ai_proposals_company ON ai_proposals (company_id, status);
