-- Deals, meetings, activities, tasks, attention.

CREATE TABLE deals (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id           uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    owner_id             uuid REFERENCES users ON DELETE SET NULL,
    name                 text NOT NULL CHECK (length(name) BETWEEN 1 AND 300),
    stage                text NOT NULL DEFAULT 'new_lead' CHECK (stage IN ('new_lead', 'qualifying', 'discovery', 'demo', 'data_review',
                             'trial', 'negotiation', 'closed_won', 'closed_lost', 'closed_converted')),
    deal_type            text NOT NULL DEFAULT 'new_business' CHECK (deal_type IN ('new_business', 'upsell', 'cross_sell', 'expansion', 'renewal')),
    sales_team           text,
    health_score         integer NOT NULL DEFAULT 50 CHECK (health_score BETWEEN 0 AND 100),
    health_factors       jsonb NOT NULL DEFAULT '{}',
    health_trend         text CHECK (health_trend IN ('improving', 'stable', 'declining')),
    health_updated_at    timestamptz,
    estimated_value      numeric(12,2) NOT NULL DEFAULT 0 CHECK (estimated_value >= 0),
    quoted_products      uuid[] NOT NULL DEFAULT '{}',
    competitors          text[] NOT NULL DEFAULT '{}',
    trial_start_date     date,
    trial_end_date       date,
    expected_close_date  date,
    closed_at            timestamptz,
    lost_reason          text,
    stage_entered_at     timestamptz NOT NULL DEFAULT now(),
    last_activity_at     timestamptz,
    conversion_status    text CHECK (conversion_status IN ('converted', 'partial')),
    converted_at         timestamptz,
    converted_by         uuid REFERENCES users ON DELETE SET NULL,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deals_company ON deals (company_id);
CREATE INDEX deals_owner ON deals (owner_id, updated_at DESC);
CREATE INDEX deals_stage ON deals (stage, updated_at DESC);
CREATE INDEX deals_updated ON deals (updated_at DESC, id);
-- A machine's judgement is no change of the deal.
CREATE TRIGGER deals_touch BEFORE UPDATE ON deals FOR EACH ROW
    WHEN (OLD.health_updated_at IS NOT DISTINCT FROM NEW.health_updated_at) EXECUTE FUNCTION touch_updated_at();

CREATE TABLE deal_stage_history (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    deal_id     uuid NOT NULL REFERENCES deals ON DELETE CASCADE,
    from_stage  text,
    to_stage    text NOT NULL,
    changed_by  uuid REFERENCES users ON DELETE SET NULL,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deal_stage_history_deal ON deal_stage_history (deal_id, changed_at DESC);

CREATE TABLE deal_collaborators (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    deal_id     uuid NOT NULL REFERENCES deals ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role        text NOT NULL DEFAULT 'collaborator' CHECK (role IN ('owner', 'collaborator', 'informed')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (deal_id, user_id)
);
CREATE INDEX deal_collaborators_user ON deal_collaborators (user_id);

CREATE TABLE activities (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id          uuid REFERENCES companies ON DELETE SET NULL,
    deal_id             uuid REFERENCES deals ON DELETE SET NULL,
    company_product_id  uuid REFERENCES company_products ON DELETE SET NULL,
    contact_id          uuid REFERENCES contacts ON DELETE SET NULL,
    user_id             uuid REFERENCES users ON DELETE SET NULL,
    type                text NOT NULL CHECK (type IN ('email_sent', 'email_received', 'call_made', 'call_received', 'meeting_held',
                            'calendar_event', 'proposal_sent', 'note', 'stage_change', 'deal_won', 'deal_lost')),
    subject             text,
    body                text,
    summary             text,
    metadata            jsonb NOT NULL DEFAULT '{}',
    sentiment           text CHECK (sentiment IN ('positive', 'neutral', 'negative')),
    action_items        jsonb NOT NULL DEFAULT '[]',
    external_id         text UNIQUE,
    visible_to_teams    text[] NOT NULL DEFAULT '{}',
    occurred_at         timestamptz NOT NULL,
    match_status        text NOT NULL DEFAULT 'matched' CHECK (match_status IN ('pending', 'matched', 'excluded', 'review_needed', 'unmatched')),
    match_confidence    numeric(3,2) CHECK (match_confidence BETWEEN 0 AND 1),
    match_reasoning     text,
    matched_at          timestamptz,
    exclude_reason      text,
    excluded_at         timestamptz,
    excluded_by         uuid REFERENCES users ON DELETE SET NULL,
    created_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX activities_company ON activities (company_id, occurred_at DESC);
CREATE INDEX activities_deal ON activities (deal_id, occurred_at DESC);
CREATE INDEX activities_contact ON activities (contact_id, occurred_at DESC);
CREATE INDEX activities_product ON activities (company_product_id, occurred_at DESC);
CREATE INDEX activities_user ON activities (user_id, occurred_at DESC);
CREATE INDEX activities_occurred ON activities (occurred_at DESC, id);

CREATE TABLE tasks (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title               text NOT NULL CHECK (length(title) BETWEEN 1 AND 500),
    description         text,
    type                text NOT NULL DEFAULT 'custom' CHECK (type IN ('follow_up', 'call', 'email', 'meeting', 'review', 'custom')),
    priority            text NOT NULL DEFAULT 'medium' CHECK (priority IN ('high', 'medium', 'low')),
    due_at              timestamptz NOT NULL,
    completed_at        timestamptz,
    completed_by        uuid REFERENCES users ON DELETE SET NULL,
    source              text NOT NULL DEFAULT 'manual' CHECK (source IN ('manual', 'ai_recommendation', 'meeting_extraction', 'sequence', 'transcript_ai')),
    assigned_to         uuid REFERENCES users ON DELETE SET NULL,
    created_by          uuid REFERENCES users ON DELETE SET NULL,
    deal_id             uuid REFERENCES deals ON DELETE SET NULL,
    company_id          uuid REFERENCES companies ON DELETE SET NULL,
    company_product_id  uuid REFERENCES company_products ON DELETE SET NULL,
    subject_type        text CHECK (subject_type IN ('activity', 'transcription', 'communication')),
    subject_id          uuid,
    deleted_at          timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tasks_assigned_open ON tasks (assigned_to, due_at, id) WHERE deleted_at IS NULL AND completed_at IS NULL;
CREATE INDEX tasks_due ON tasks (due_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_company ON tasks (company_id, due_at) WHERE deleted_at IS NULL;
CREATE INDEX tasks_deal ON tasks (deal_id, due_at) WHERE deleted_at IS NULL;
CREATE INDEX tasks_subject ON tasks (subject_type, subject_id) WHERE subject_id IS NOT NULL;
CREATE TRIGGER tasks_touch BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE attention_flags (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id          uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    company_product_id  uuid REFERENCES company_products ON DELETE SET NULL,
    source_type         text NOT NULL CHECK (source_type IN ('communication', 'pipeline', 'system', 'manual')),
    source_id           text,
    flag_type           text NOT NULL CHECK (flag_type IN ('NEEDS_REPLY', 'BOOK_MEETING_APPROVAL', 'PROPOSAL_APPROVAL', 'PRICING_EXCEPTION',
                            'CLOSE_DECISION', 'HIGH_RISK_OBJECTION', 'NO_NEXT_STEP_AFTER_MEETING', 'STALE_IN_STAGE',
                            'GHOSTING_AFTER_PROPOSAL', 'DATA_MISSING_BLOCKER', 'SYSTEM_ERROR')),
    severity            text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    reason              text NOT NULL,
    recommended_action  text,
    owner               text NOT NULL DEFAULT 'human' CHECK (owner IN ('human', 'ai')),
    status              text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'snoozed', 'resolved')),
    snoozed_until       timestamptz,
    snooze_reason       text,
    resolved_at         timestamptz,
    resolved_by         uuid REFERENCES users ON DELETE SET NULL,
    resolution_notes    text,
    created_by          uuid REFERENCES users ON DELETE SET NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CHECK (status <> 'snoozed' OR snoozed_until IS NOT NULL)
);
CREATE UNIQUE INDEX attention_flags_pipeline ON attention_flags (company_product_id, flag_type)
    WHERE status <> 'resolved' AND source_type = 'pipeline';
CREATE UNIQUE INDEX attention_flags_source ON attention_flags (source_type, source_id, flag_type)
    WHERE status <> 'resolved' AND source_id IS NOT NULL;
CREATE INDEX attention_flags_company ON attention_flags (company_id, status);
CREATE INDEX attention_flags_product ON attention_flags (company_product_id);
CREATE INDEX attention_flags_snoozed ON attention_flags (snoozed_until) WHERE status = 'snoozed';
CREATE TRIGGER attention_flags_touch BEFORE UPDATE ON attention_flags FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE meeting_transcriptions (
    id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id                 uuid REFERENCES users ON DELETE SET NULL,
    deal_id                 uuid REFERENCES deals ON DELETE SET NULL,
    company_product_id      uuid REFERENCES company_products ON DELETE SET NULL,
    company_id              uuid REFERENCES companies ON DELETE SET NULL,
    contact_id              uuid REFERENCES contacts ON DELETE SET NULL,
    activity_id             uuid REFERENCES activities ON DELETE SET NULL,
    title                   text NOT NULL,
    meeting_date            timestamptz NOT NULL,
    duration_minutes        integer,
    attendees               jsonb NOT NULL DEFAULT '[]',
    transcription_text      text,
    transcription_format    text CHECK (transcription_format IN ('plain', 'vtt', 'srt', 'teams', 'zoom', 'fireflies')),
    word_count              integer,
    source                  text NOT NULL DEFAULT 'manual' CHECK (source IN ('manual', 'fireflies', 'zoom', 'teams')),
    external_id             text,
    match_confidence        numeric(3,2),
    status                  text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'analyzed', 'failed')),
    error_message           text,
    process_type            text,
    analysis                jsonb,
    analysis_generated_at   timestamptz,
    model_used              text,
    summary                 text,
    sentiment               text,
    sentiment_score         numeric,
    follow_up_email_draft   text,
    follow_up_sent          boolean NOT NULL DEFAULT false,
    follow_up_sent_at       timestamptz,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source, external_id)
);
CREATE INDEX meeting_transcriptions_company ON meeting_transcriptions (company_id, meeting_date DESC);
CREATE INDEX meeting_transcriptions_deal ON meeting_transcriptions (deal_id, meeting_date DESC);
CREATE INDEX meeting_transcriptions_user ON meeting_transcriptions (user_id, meeting_date DESC);
