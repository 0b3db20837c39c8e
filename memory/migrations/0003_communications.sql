-- Communications: the fact is immutable, the analysis is a versioned opinion.

CREATE TABLE email_conversations (
    id                    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id               uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    conversation_id       text NOT NULL,
    status                text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'awaiting_response', 'snoozed', 'processed', 'ignored')),
    company_id            uuid REFERENCES companies ON DELETE SET NULL,
    contact_id            uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id               uuid REFERENCES deals ON DELETE SET NULL,
    company_product_id    uuid REFERENCES company_products ON DELETE SET NULL,
    link_confidence       integer CHECK (link_confidence BETWEEN 0 AND 100),
    link_method           text NOT NULL DEFAULT 'none' CHECK (link_method IN ('auto_high', 'auto_suggested', 'manual', 'thread_inherited', 'none')),
    subject               text,
    participant_emails    text[] NOT NULL DEFAULT '{}',
    participant_names     text[] NOT NULL DEFAULT '{}',
    message_count         integer NOT NULL DEFAULT 0,
    has_attachments       boolean NOT NULL DEFAULT false,
    first_message_at      timestamptz,
    last_message_at       timestamptz,
    last_inbound_at       timestamptz,
    last_outbound_at      timestamptz,
    response_due_at       timestamptz,
    sla_hours             integer,
    sla_status            text CHECK (sla_status IN ('ok', 'warning', 'overdue')),
    ai_priority           text CHECK (ai_priority IN ('high', 'medium', 'low')),
    ai_category           text,
    ai_sentiment          text,
    ai_sentiment_trend    text,
    ai_thread_summary     text,
    ai_suggested_action   text,
    ai_evidence_quotes    text[] NOT NULL DEFAULT '{}',
    signals               jsonb NOT NULL DEFAULT '{}',
    scheduling_state      jsonb NOT NULL DEFAULT '{}',
    snoozed_until         timestamptz,
    snooze_reason         text,
    has_pending_draft     boolean NOT NULL DEFAULT false,
    draft_confidence      integer,
    user_managed          boolean NOT NULL DEFAULT false,
    analyzed_through_at   timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, conversation_id)
);
CREATE INDEX email_conversations_status ON email_conversations (user_id, status, last_message_at DESC);
CREATE INDEX email_conversations_company ON email_conversations (company_id) WHERE company_id IS NOT NULL;

CREATE TABLE communications (
    id                         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id                    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    company_id                 uuid REFERENCES companies ON DELETE SET NULL,
    contact_id                 uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id                    uuid REFERENCES deals ON DELETE SET NULL,
    company_product_id         uuid REFERENCES company_products ON DELETE SET NULL,
    channel                    text NOT NULL CHECK (channel IN ('email', 'call', 'meeting', 'sms', 'chat', 'note')),
    direction                  text NOT NULL CHECK (direction IN ('inbound', 'outbound', 'internal')),
    occurred_at                timestamptz NOT NULL,
    duration_seconds           integer,
    subject                    text,
    content_preview            text CHECK (length(content_preview) <= 500),
    full_content               text,
    attachments                jsonb NOT NULL DEFAULT '[]',
    recording_url              text,
    our_participants           jsonb NOT NULL DEFAULT '[]',
    their_participants         jsonb NOT NULL DEFAULT '[]',
    -- The external party that a list groups by: who wrote it (inbound) or who it went to first (outbound).
    sender_email               text CHECK (sender_email = lower(sender_email)),
    sender_name                text,
    sender_domain              text,
    source_table               text NOT NULL DEFAULT 'email_messages' CHECK (source_table IN ('email_messages', 'meeting_transcriptions', 'microsoft_graph', 'manual')),
    source_id                  text,
    provider                   text NOT NULL DEFAULT 'mail',
    external_id                text NOT NULL,
    internet_message_id        text,
    thread_id                  text NOT NULL,
    in_reply_to_id             text,
    reference_ids              text[] NOT NULL DEFAULT '{}',
    awaiting_our_response      boolean NOT NULL DEFAULT false,
    awaiting_their_response    boolean NOT NULL DEFAULT false,
    response_due_by            timestamptz,
    response_sla_minutes       integer,
    responded_at               timestamptz,
    response_communication_id  uuid REFERENCES communications ON DELETE SET NULL,
    tags                       text[] NOT NULL DEFAULT '{}',
    is_starred                 boolean NOT NULL DEFAULT false,
    is_archived                boolean NOT NULL DEFAULT false,
    is_ai_generated            boolean NOT NULL DEFAULT false,
    ai_action_type             text,
    ai_approved_by             uuid REFERENCES users ON DELETE SET NULL,
    noise_type                 text CHECK (noise_type IN ('ai_notetaker', 'calendar', 'marketing', 'system')),
    analysis_status            text NOT NULL DEFAULT 'pending' CHECK (analysis_status IN ('pending', 'processing', 'complete', 'failed', 'skipped')),
    analysis_attempts          integer NOT NULL DEFAULT 0,
    analysis_claimed_at        timestamptz,
    analysis_error             text,
    current_analysis_id        uuid,
    match_status               text NOT NULL DEFAULT 'unmatched' CHECK (match_status IN ('unmatched', 'auto', 'review', 'manual')),
    match_confidence           numeric(3,2) CHECK (match_confidence BETWEEN 0 AND 1),
    match_method               text,
    content_hash               text,
    excluded_at                timestamptz,
    excluded_by                uuid REFERENCES users ON DELETE SET NULL,
    exclusion_reason           text,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, provider, external_id)
);
CREATE UNIQUE INDEX communications_source ON communications (user_id, source_table, source_id) WHERE source_id IS NOT NULL;
CREATE INDEX communications_occurred ON communications (occurred_at DESC, id) INCLUDE (channel, direction, is_ai_generated)
    WHERE excluded_at IS NULL;
-- Mail arrives unlinked more often than not: what is not linked costs these nothing.
CREATE INDEX communications_company ON communications (company_id, occurred_at DESC) WHERE company_id IS NOT NULL;
CREATE INDEX communications_contact ON communications (contact_id, occurred_at DESC) WHERE contact_id IS NOT NULL;
CREATE INDEX communications_deal ON communications (deal_id, occurred_at DESC) WHERE deal_id IS NOT NULL;
CREATE INDEX communications_product ON communications (company_product_id) WHERE company_product_id IS NOT NULL;
CREATE INDEX communications_user ON communications (user_id, occurred_at DESC, id) INCLUDE (channel, direction, is_ai_generated)
    WHERE excluded_at IS NULL;
CREATE INDEX communications_thread ON communications (user_id, thread_id, occurred_at);
CREATE INDEX communications_message ON communications (user_id, internet_message_id);
CREATE INDEX communications_sender ON communications (sender_email, occurred_at DESC);
CREATE INDEX communications_unlinked ON communications (occurred_at DESC, id) WHERE company_id IS NULL AND excluded_at IS NULL AND noise_type IS NULL;
CREATE INDEX communications_due ON communications (response_due_by, id, user_id) WHERE awaiting_our_response AND excluded_at IS NULL;
-- Holds all that conversations are grouped and counted by.
CREATE INDEX communications_conversations ON communications (user_id, company_id, sender_email, occurred_at)
    INCLUDE (channel, is_ai_generated, awaiting_our_response) WHERE excluded_at IS NULL AND noise_type IS NULL;
CREATE INDEX communications_excluded ON communications (id) WHERE excluded_at IS NOT NULL;
CREATE INDEX communications_analysis ON communications (occurred_at DESC) WHERE analysis_status = 'pending';
CREATE INDEX communications_claimed ON communications (analysis_claimed_at) WHERE analysis_status = 'processing';
CREATE TRIGGER communications_touch BEFORE UPDATE ON communications FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE communication_participants (
    communication_id  uuid NOT NULL REFERENCES communications ON DELETE CASCADE,
    side              text NOT NULL CHECK (side IN ('our', 'their')),
    role              text NOT NULL CHECK (role IN ('from', 'to', 'cc', 'attendee')),
    email             text NOT NULL CHECK (email = lower(email)),
    domain            text,
    name              text,
    contact_id        uuid REFERENCES contacts ON DELETE SET NULL,
    user_id           uuid REFERENCES users ON DELETE SET NULL,
    PRIMARY KEY (communication_id, side, role, email)
);
CREATE INDEX communication_participants_contact ON communication_participants (contact_id) WHERE contact_id IS NOT NULL;

CREATE TABLE email_messages (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    communication_id    uuid NOT NULL UNIQUE REFERENCES communications ON DELETE CASCADE,
    conversation_ref_id uuid REFERENCES email_conversations ON DELETE CASCADE,
    user_id             uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    message_id          text NOT NULL,
    internet_message_id text,
    outlook_folder_id   text,
    outlook_folder_name text,
    from_email          text,
    from_name           text,
    to_emails           text[] NOT NULL DEFAULT '{}',
    to_names            text[] NOT NULL DEFAULT '{}',
    cc_emails           text[] NOT NULL DEFAULT '{}',
    cc_names            text[] NOT NULL DEFAULT '{}',
    body_preview        text,
    body_text           text,
    body_html           text,
    is_read             boolean NOT NULL DEFAULT true,
    is_sent_by_user     boolean NOT NULL DEFAULT false,
    is_flagged          boolean NOT NULL DEFAULT false,
    has_attachments     boolean NOT NULL DEFAULT false,
    importance          text NOT NULL DEFAULT 'normal' CHECK (importance IN ('low', 'normal', 'high')),
    received_at         timestamptz,
    sent_at             timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, message_id)
);
CREATE INDEX email_messages_conversation ON email_messages (conversation_ref_id, received_at);

-- Which thread a message id belongs to, also for messages that are only referred to: a parent may arrive after its answers.
CREATE TABLE email_thread_ids (
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    message_id  text NOT NULL,
    thread_id   text NOT NULL,
    PRIMARY KEY (user_id, message_id)
);
CREATE INDEX email_thread_ids_thread ON email_thread_ids (user_id, thread_id);

CREATE TABLE communication_analysis (
    id                        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    communication_id          uuid NOT NULL REFERENCES communications ON DELETE CASCADE,
    version                   integer NOT NULL,
    is_current                boolean NOT NULL DEFAULT true,
    engine                    text NOT NULL DEFAULT 'rules',
    model_used                text,
    prompt_key                text,
    prompt_version            integer,
    ai_call_id                uuid,
    run_id                    uuid,
    summary                   text,
    communication_type        text CHECK (communication_type IN ('sales', 'onboarding', 'support', 'success', 'billing', 'internal')),
    playbook_trigger          text,
    request_type              text,
    products_discussed        text[] NOT NULL DEFAULT '{}',
    sentiment                 text CHECK (sentiment IN ('positive', 'neutral', 'negative', 'concerned', 'excited')),
    sentiment_score           numeric(3,2) CHECK (sentiment_score BETWEEN -1 AND 1),
    sentiment_confidence      numeric(3,2) CHECK (sentiment_confidence BETWEEN 0 AND 1),
    urgency                   text CHECK (urgency IN ('high', 'medium', 'low')),
    key_questions             jsonb NOT NULL DEFAULT '[]',
    extracted_facts           jsonb NOT NULL DEFAULT '[]',
    extracted_signals         jsonb NOT NULL DEFAULT '[]',
    extracted_objections      jsonb NOT NULL DEFAULT '[]',
    extracted_commitments_us  jsonb NOT NULL DEFAULT '[]',
    extracted_commitments_them jsonb NOT NULL DEFAULT '[]',
    extracted_competitors     jsonb NOT NULL DEFAULT '[]',
    extracted_next_steps      jsonb NOT NULL DEFAULT '[]',
    potential_triggers        text[] NOT NULL DEFAULT '{}',
    flags                     jsonb NOT NULL DEFAULT '{}',
    overall_confidence        numeric(3,2) CHECK (overall_confidence BETWEEN 0 AND 1),
    analyzed_at               timestamptz NOT NULL,
    created_at                timestamptz NOT NULL DEFAULT now(),
    UNIQUE (communication_id, version)
);
CREATE UNIQUE INDEX communication_analysis_current ON communication_analysis (communication_id) WHERE is_current;
ALTER TABLE communications ADD FOREIGN KEY (current_analysis_id) REFERENCES communication_analysis ON DELETE SET NULL;

CREATE TABLE promises (
    id                          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    direction                   text NOT NULL CHECK (direction IN ('we_promised', 'they_promised')),
    promise_text                text NOT NULL,
    text_hash                   text NOT NULL,
    company_id                  uuid REFERENCES companies ON DELETE SET NULL,
    contact_id                  uuid REFERENCES contacts ON DELETE SET NULL,
    deal_id                     uuid REFERENCES deals ON DELETE SET NULL,
    company_product_id          uuid REFERENCES company_products ON DELETE SET NULL,
    owner_user_id               uuid REFERENCES users ON DELETE SET NULL,
    promiser_contact_id         uuid REFERENCES contacts ON DELETE SET NULL,
    promiser_name               text,
    promised_at                 timestamptz NOT NULL,
    due_by                      timestamptz,
    due_text                    text,
    status                      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'overdue', 'cancelled')),
    completed_at                timestamptz,
    completed_communication_id  uuid REFERENCES communications ON DELETE SET NULL,
    source_communication_id     uuid REFERENCES communications ON DELETE CASCADE,
    source_transcription_id     uuid REFERENCES meeting_transcriptions ON DELETE CASCADE,
    source_analysis_id          uuid REFERENCES communication_analysis ON DELETE SET NULL,
    confidence                  numeric(3,2) CHECK (confidence BETWEEN 0 AND 1),
    quote                       text,
    is_hidden                   boolean NOT NULL DEFAULT false,
    created_at                  timestamptz NOT NULL DEFAULT now(),
    updated_at                  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source_communication_id, direction, text_hash)
);
CREATE INDEX promises_owner ON promises (owner_user_id, status, due_by);
CREATE INDEX promises_due ON promises (status, due_by, promised_at DESC, id);
CREATE INDEX promises_company ON promises (company_id, status, due_by);
CREATE INDEX promises_contact ON promises (contact_id);
CREATE INDEX promises_transcription ON promises (source_transcription_id);

CREATE TABLE relationship_items (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id        uuid REFERENCES companies ON DELETE CASCADE,
    contact_id        uuid REFERENCES contacts ON DELETE CASCADE,
    deal_id           uuid REFERENCES deals ON DELETE SET NULL,
    kind              text NOT NULL CHECK (kind IN ('fact', 'buying_signal', 'concern', 'objection', 'stakeholder', 'interaction', 'preference')),
    fact_type         text CHECK (fact_type IN ('personal', 'preference', 'family', 'interest', 'communication', 'concern', 'business')),
    text              text NOT NULL,
    detail            jsonb NOT NULL DEFAULT '{}',
    quote             text,
    confidence        numeric(3,2) NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    source_type       text NOT NULL CHECK (source_type IN ('email', 'transcript', 'note', 'research', 'manual')),
    source_id         uuid,
    occurred_at       timestamptz NOT NULL,
    status            text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'superseded', 'retracted', 'resolved')),
    superseded_by_id  uuid REFERENCES relationship_items ON DELETE SET NULL,
    text_hash         text NOT NULL,
    created_by        uuid REFERENCES users ON DELETE SET NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CHECK (company_id IS NOT NULL OR contact_id IS NOT NULL)
);
CREATE UNIQUE INDEX relationship_items_active ON relationship_items (company_id, contact_id, kind, text_hash) NULLS NOT DISTINCT WHERE status = 'active';
CREATE INDEX relationship_items_contact ON relationship_items (contact_id, kind, occurred_at DESC);
CREATE INDEX relationship_items_company ON relationship_items (company_id, kind, occurred_at DESC);
CREATE INDEX relationship_items_source ON relationship_items (source_type, source_id);

CREATE TABLE contact_meeting_mentions (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    contact_id          uuid NOT NULL REFERENCES contacts ON DELETE CASCADE,
    transcription_id    uuid NOT NULL REFERENCES meeting_transcriptions ON DELETE CASCADE,
    role_detected       text,
    deal_role_detected  text CHECK (deal_role_detected IN ('decision_maker', 'influencer', 'champion', 'end_user', 'blocker')),
    sentiment_detected  text,
    key_quotes          jsonb NOT NULL DEFAULT '[]',
    facts_extracted     jsonb NOT NULL DEFAULT '[]',
    confidence          numeric(3,2),
    created_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (contact_id, transcription_id)
);

CREATE TABLE communication_notes (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    communication_id   uuid NOT NULL REFERENCES communications ON DELETE CASCADE,
    user_id            uuid REFERENCES users ON DELETE SET NULL,
    note_type          text NOT NULL DEFAULT 'manual' CHECK (note_type IN ('manual', 'action', 'system')),
    action_type        text CHECK (action_type IN ('marked_done', 'resolved_flag', 'snoozed', 'sent_email', 'sent_reply', 'scheduled_meeting',
                           'assigned_company', 'draft_generated')),
    content            text NOT NULL CHECK (length(content) BETWEEN 1 AND 5000),
    attention_flag_id  uuid REFERENCES attention_flags ON DELETE SET NULL,
    created_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX communication_notes_communication ON communication_notes (communication_id, created_at DESC);

CREATE TABLE entity_match_reviews (
    id                        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject_type              text NOT NULL CHECK (subject_type IN ('communication', 'transcription', 'conversation')),
    subject_id                uuid NOT NULL,
    status                    text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'confirmed', 'rejected', 'superseded')),
    proposed_company_id       uuid REFERENCES companies ON DELETE SET NULL,
    proposed_contact_id       uuid REFERENCES contacts ON DELETE SET NULL,
    proposed_deal_id          uuid REFERENCES deals ON DELETE SET NULL,
    company_confidence        numeric(3,2),
    contact_confidence        numeric(3,2),
    deal_confidence           numeric(3,2),
    candidates                jsonb NOT NULL DEFAULT '[]',
    reasoning                 text,
    create_company            jsonb,
    create_contact            jsonb,
    decided_by                uuid REFERENCES users ON DELETE SET NULL,
    decided_at                timestamptz,
    created_at                timestamptz NOT NULL DEFAULT now(),
    updated_at                timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX entity_match_reviews_pending ON entity_match_reviews (subject_type, subject_id) WHERE status = 'pending';
CREATE INDEX entity_match_reviews_subject ON entity_match_reviews (subject_id);

CREATE TABLE triage_decisions (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    communication_id  uuid NOT NULL REFERENCES communications ON DELETE CASCADE,
    company_id        uuid REFERENCES companies ON DELETE SET NULL,
    contact_id        uuid REFERENCES contacts ON DELETE SET NULL,
    decision          text NOT NULL CHECK (decision IN ('REJECT', 'NURTURE', 'BOOK', 'ROUTE_TO_PIPELINE', 'ASSIGN')),
    product_slug      text,
    confidence        integer CHECK (confidence BETWEEN 0 AND 100),
    reason            text,
    decided_by_kind   text NOT NULL CHECK (decided_by_kind IN ('ai', 'user')),
    user_id           uuid REFERENCES users ON DELETE SET NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CHECK (decision <> 'ROUTE_TO_PIPELINE' OR product_slug IS NOT NULL)
);
CREATE INDEX triage_decisions_communication ON triage_decisions (communication_id, created_at DESC);

CREATE TABLE email_drafts (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id              uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    origin               text NOT NULL CHECK (origin IN ('inbox', 'communication', 'transcript', 'command_center', 'autopilot', 'flag', 'task')),
    origin_id            uuid,
    conversation_id      uuid REFERENCES email_conversations ON DELETE SET NULL,
    communication_id     uuid REFERENCES communications ON DELETE CASCADE,
    transcription_id     uuid REFERENCES meeting_transcriptions ON DELETE SET NULL,
    to_emails            text[] NOT NULL DEFAULT '{}',
    cc_emails            text[] NOT NULL DEFAULT '{}',
    subject              text NOT NULL,
    body_html            text,
    body_text            text NOT NULL,
    confidence           integer CHECK (confidence BETWEEN 0 AND 100),
    generation_trigger   text,
    generation_context   jsonb NOT NULL DEFAULT '{}',
    needs_human_review   jsonb NOT NULL DEFAULT '[]',
    placeholders         jsonb NOT NULL DEFAULT '[]',
    engine               text,
    prompt_key           text,
    prompt_version       integer,
    run_id               uuid,
    status               text NOT NULL DEFAULT 'pending_review' CHECK (status IN ('pending_review', 'edited', 'approved', 'sent', 'discarded', 'expired')),
    approved_by          uuid REFERENCES users ON DELETE SET NULL,
    approved_at          timestamptz,
    provider_draft_id    text,
    sent_message_id      text,
    sent_at              timestamptz,
    send_key             text UNIQUE,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX email_drafts_pending ON email_drafts (conversation_id) WHERE status = 'pending_review';
CREATE INDEX email_drafts_communication ON email_drafts (communication_id, created_at DESC);
CREATE INDEX email_drafts_user ON email_drafts (user_id, status, created_at DESC);

CREATE TABLE ingest_runs (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id          uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    source           text NOT NULL,
    fingerprint      text NOT NULL,
    status           text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'complete', 'failed')),
    checkpoint       jsonb NOT NULL DEFAULT '{}',
    seen             integer NOT NULL DEFAULT 0,
    written          integer NOT NULL DEFAULT 0,
    duplicates       integer NOT NULL DEFAULT 0,
    damaged          integer NOT NULL DEFAULT 0,
    report           jsonb NOT NULL DEFAULT '{}',
    started_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, fingerprint)
);

-- A message that could not be read stays here whole, so that nothing is lost.
CREATE TABLE ingest_rejects (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id      uuid NOT NULL REFERENCES ingest_runs ON DELETE CASCADE,
    position    bigint NOT NULL,
    file        text NOT NULL,
    reason      text NOT NULL,
    raw         bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, file, position)
);
