-- Workspace, people and accounts.

CREATE TABLE workspace (
    id          boolean PRIMARY KEY DEFAULT true CHECK (id),
    config      jsonb NOT NULL DEFAULT '{}',
    updated_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO workspace DEFAULT VALUES;

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TABLE users (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    auth_id       text NOT NULL UNIQUE,
    email         text NOT NULL UNIQUE CHECK (email = lower(email)),
    name          text NOT NULL,
    role          text NOT NULL CHECK (role IN ('rep', 'manager', 'admin')),
    job_function  text NOT NULL DEFAULT 'sales' CHECK (job_function IN ('sales', 'onboarding', 'customer_success', 'support')),
    level         text,
    team          text,
    territory     text,
    title         text,
    phone         text,
    timezone      text NOT NULL DEFAULT 'UTC',
    hire_date     date,
    is_active     boolean NOT NULL DEFAULT true,
    focus_lens    text CHECK (focus_lens IN ('focus', 'sales', 'onboarding', 'customer_success', 'support', 'all')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE companies (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name                text NOT NULL CHECK (length(name) BETWEEN 1 AND 300),
    normalized_name     text NOT NULL,
    domain              text CHECK (domain = lower(domain)),
    website             text,
    phone               text,
    status              text NOT NULL DEFAULT 'prospect' CHECK (status IN ('cold_lead', 'prospect', 'customer', 'churned')),
    segment             text NOT NULL,
    industry            text NOT NULL,
    customer_type       text,
    agent_count         integer NOT NULL DEFAULT 1 CHECK (agent_count >= 0),
    employee_count      integer CHECK (employee_count >= 0),
    employee_range      text,
    revenue_estimate    numeric(14,2),
    founded_year        integer,
    crm_platform        text,
    address             jsonb NOT NULL DEFAULT '{}',
    logo_url            text,
    notes               text,
    attributes          jsonb NOT NULL DEFAULT '{}',
    external_ids        jsonb NOT NULL DEFAULT '{}',
    technologies        jsonb NOT NULL DEFAULT '[]',
    owner_id            uuid REFERENCES users ON DELETE SET NULL,
    became_customer_at  timestamptz,
    enriched_at         timestamptz,
    enrichment_source   text,
    merged_into_id      uuid REFERENCES companies ON DELETE SET NULL,
    deleted_at          timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX companies_name ON companies (lower(name), id) WHERE deleted_at IS NULL;
CREATE INDEX companies_status_name ON companies (status, lower(name), id) WHERE deleted_at IS NULL;
CREATE INDEX companies_normalized_name ON companies (normalized_name) WHERE deleted_at IS NULL;
CREATE INDEX companies_domain ON companies (domain) WHERE deleted_at IS NULL AND domain IS NOT NULL;
CREATE INDEX companies_owner ON companies (owner_id);
CREATE INDEX companies_merged_into ON companies (merged_into_id) WHERE merged_into_id IS NOT NULL;
CREATE TRIGGER companies_touch BEFORE UPDATE ON companies FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE contacts (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id           uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    name                 text NOT NULL CHECK (length(name) BETWEEN 1 AND 300),
    first_name           text,
    last_name            text,
    email                text CHECK (email = lower(email)),
    phone                text,
    direct_phone         text,
    title                text,
    role                 text CHECK (role IN ('decision_maker', 'influencer', 'champion', 'end_user', 'blocker')),
    is_primary           boolean NOT NULL DEFAULT false,
    linkedin_url         text,
    seniority            text,
    department           text,
    last_contacted_at    timestamptz,
    communication_style  jsonb NOT NULL DEFAULT '{}',
    ai_detected_at       timestamptz,
    ai_detection_source  text CHECK (ai_detection_source IN ('meeting', 'email', 'manual')),
    ai_confidence        numeric(3,2) CHECK (ai_confidence BETWEEN 0 AND 1),
    enriched_at          timestamptz,
    enrichment_source    text,
    merged_into_id       uuid REFERENCES contacts ON DELETE SET NULL,
    deleted_at           timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX contacts_company_email ON contacts (company_id, email) WHERE deleted_at IS NULL AND email IS NOT NULL;
CREATE UNIQUE INDEX contacts_one_primary ON contacts (company_id) WHERE is_primary AND deleted_at IS NULL;
-- Holds all that a search asks, so that one that finds nothing reads no table.
CREATE INDEX contacts_name ON contacts (lower(name), id) INCLUDE (name, email, company_id) WHERE deleted_at IS NULL;
CREATE INDEX contacts_company_name ON contacts (company_id, lower(name), id) WHERE deleted_at IS NULL;
CREATE INDEX contacts_email ON contacts (email) WHERE deleted_at IS NULL AND email IS NOT NULL;
CREATE INDEX contacts_email_domain ON contacts (split_part(email, '@', 2)) WHERE deleted_at IS NULL AND email IS NOT NULL;
CREATE INDEX contacts_merged_into ON contacts (merged_into_id) WHERE merged_into_id IS NOT NULL;
CREATE TRIGGER contacts_touch BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE products (
    id                     uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name                   text NOT NULL,
    slug                   text NOT NULL UNIQUE,
    description            text,
    parent_product_id      uuid REFERENCES products ON DELETE SET NULL,
    product_type           text NOT NULL DEFAULT 'base' CHECK (product_type IN ('base', 'suite', 'module', 'addon')),
    display_order          integer NOT NULL DEFAULT 0,
    icon                   text,
    color                  text,
    base_price_monthly     numeric(10,2),
    pricing_model          text CHECK (pricing_model IN ('per_seat', 'flat', 'tiered')),
    is_active              boolean NOT NULL DEFAULT true,
    is_sellable            boolean NOT NULL DEFAULT true,
    fit_rules              jsonb NOT NULL DEFAULT '[]',
    successor_product_id   uuid REFERENCES products ON DELETE SET NULL,
    migrates_product_id    uuid REFERENCES products ON DELETE SET NULL,
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX products_parent ON products (parent_product_id);

CREATE TABLE company_products (
    id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id              uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    product_id              uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    enabled_modules         text[] NOT NULL DEFAULT '{}',
    notes                   text,
    close_confidence        integer CHECK (close_confidence BETWEEN 0 AND 100),
    close_ready             boolean NOT NULL DEFAULT false,
    expected_close_date     date,
    open_objections         jsonb NOT NULL DEFAULT '[]',
    last_human_touch_at     timestamptz,
    last_ai_touch_at        timestamptz,
    last_activity_at        timestamptz,
    snoozed_until           timestamptz,
    metadata                jsonb NOT NULL DEFAULT '{}',
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, product_id)
);
CREATE INDEX company_products_product ON company_products (product_id);

CREATE TABLE relationship_notes (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    contact_id          uuid REFERENCES contacts ON DELETE CASCADE,
    company_id          uuid REFERENCES companies ON DELETE CASCADE,
    note                text NOT NULL CHECK (length(note) BETWEEN 1 AND 5000),
    context_type        text NOT NULL DEFAULT 'general' CHECK (context_type IN ('strategy', 'insight', 'warning', 'general')),
    field               text,
    added_by            uuid REFERENCES users ON DELETE SET NULL,
    added_at            timestamptz NOT NULL DEFAULT now(),
    linked_item_id      uuid,
    linked_source_type  text CHECK (linked_source_type IN ('email', 'transcript', 'deal')),
    linked_source_id    uuid,
    deleted_at          timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    CHECK (contact_id IS NOT NULL OR company_id IS NOT NULL)
);
CREATE INDEX relationship_notes_contact ON relationship_notes (contact_id, added_at DESC);
CREATE INDEX relationship_notes_company ON relationship_notes (company_id, added_at DESC);

CREATE TABLE account_memory (
    id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id              uuid NOT NULL UNIQUE REFERENCES companies ON DELETE CASCADE,
    resonates               jsonb NOT NULL DEFAULT '[]',
    effective_angles        jsonb NOT NULL DEFAULT '[]',
    avoided                 jsonb NOT NULL DEFAULT '[]',
    failed_approaches       jsonb NOT NULL DEFAULT '[]',
    key_concerns            jsonb NOT NULL DEFAULT '[]',
    rapport_builders        jsonb NOT NULL DEFAULT '[]',
    objections_encountered  jsonb NOT NULL DEFAULT '[]',
    personal_notes          jsonb NOT NULL DEFAULT '[]',
    preferred_channel       text CHECK (preferred_channel IN ('phone', 'email', 'linkedin', 'video', 'text')),
    response_pattern        text CHECK (response_pattern IN ('quick', 'deliberate', 'sporadic')),
    formality_level         text CHECK (formality_level IN ('formal', 'casual', 'mixed')),
    best_time_to_reach      text,
    decision_style          text CHECK (decision_style IN ('owner_led', 'consensus', 'committee', 'financial')),
    typical_timeline        text,
    last_win_theme          text,
    last_loss_reason        text,
    lock_version            integer NOT NULL DEFAULT 0,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account_memory_updates (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_memory_id  uuid NOT NULL REFERENCES account_memory ON DELETE CASCADE,
    field_updated      text NOT NULL,
    old_value          jsonb,
    new_value          jsonb,
    source             text NOT NULL CHECK (source IN ('meeting_analysis', 'email_analysis', 'manual', 'postmortem')),
    source_id          uuid,
    confidence         numeric(3,2),
    updated_by         uuid REFERENCES users ON DELETE SET NULL,
    created_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX account_memory_updates_memory ON account_memory_updates (account_memory_id, created_at DESC);

CREATE TABLE relationship_intelligence (
    id                    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id            uuid REFERENCES companies ON DELETE CASCADE,
    contact_id            uuid REFERENCES contacts ON DELETE CASCADE,
    relationship_summary  text,
    summary_generated_at  timestamptz,
    preferences           jsonb NOT NULL DEFAULT '{}',
    metrics               jsonb NOT NULL DEFAULT '{}',
    last_interaction_at   timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (company_id, contact_id),
    CHECK (company_id IS NOT NULL OR contact_id IS NOT NULL)
);

CREATE TABLE relationship_corrections (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id       uuid NOT NULL REFERENCES companies ON DELETE CASCADE,
    field            text NOT NULL,
    target_item_id   uuid,
    original_value   jsonb,
    corrected_value  jsonb,
    reason           text,
    status           text NOT NULL DEFAULT 'applied' CHECK (status IN ('pending', 'applied', 'rejected')),
    created_by       uuid REFERENCES users ON DELETE SET NULL,
    decided_by       uuid REFERENCES users ON DELETE SET NULL,
    decided_at       timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX relationship_corrections_company ON relationship_corrections (company_id, created_at DESC);
