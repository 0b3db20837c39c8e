-- How products are sold and looked after: tiers, processes and their stages, workflows; what a company has of each.

CREATE TABLE product_tiers (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id        uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    name              text NOT NULL,
    slug              text NOT NULL,
    display_order     integer NOT NULL DEFAULT 0,
    included_modules  text[] NOT NULL DEFAULT '{}',
    features          jsonb NOT NULL DEFAULT '[]',
    price_monthly     numeric(10,2) CHECK (price_monthly >= 0),
    created_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (product_id, slug)
);

CREATE TABLE product_processes (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id    uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    process_type  text NOT NULL CHECK (process_type IN ('sales', 'onboarding', 'support', 'engagement')),
    version       integer NOT NULL DEFAULT 1 CHECK (version > 0),
    status        text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    description   text,
    config        jsonb NOT NULL DEFAULT '{}',
    published_at  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (product_id, process_type, version)
);
CREATE UNIQUE INDEX product_processes_published ON product_processes (product_id, process_type) WHERE status = 'published';
CREATE TRIGGER product_processes_touch BEFORE UPDATE ON product_processes FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE product_process_stages (
    id                         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    process_id                 uuid NOT NULL REFERENCES product_processes ON DELETE CASCADE,
    name                       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    slug                       text NOT NULL,
    description                text,
    goal                       text,
    stage_order                integer NOT NULL CHECK (stage_order > 0),
    sla_days                   integer CHECK (sla_days > 0),
    sla_warning_days           integer CHECK (sla_warning_days > 0),
    exit_criteria              jsonb NOT NULL DEFAULT '[]',
    exit_actions               jsonb NOT NULL DEFAULT '[]',
    is_terminal                boolean NOT NULL DEFAULT false,
    terminal_type              text CHECK (terminal_type IN ('won', 'lost', 'completed', 'churned', 'cancelled')),
    color                      text,
    icon                       text,
    pitch_points               jsonb NOT NULL DEFAULT '[]',
    objection_handlers         jsonb NOT NULL DEFAULT '[]',
    resources                  jsonb NOT NULL DEFAULT '[]',
    ai_suggested_pitch_points  jsonb NOT NULL DEFAULT '[]',
    ai_suggested_objections    jsonb NOT NULL DEFAULT '[]',
    ai_insights                jsonb NOT NULL DEFAULT '{}',
    ai_sequence_id             text,
    ai_actions                 jsonb NOT NULL DEFAULT '[]',
    avg_days_in_stage          numeric(10,2),
    conversion_rate            numeric(5,2) CHECK (conversion_rate BETWEEN 0 AND 100),
    archived_at                timestamptz,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    CHECK (sla_warning_days <= sla_days),
    CHECK (is_terminal = (terminal_type IS NOT NULL)),
    UNIQUE (process_id, slug),
    CONSTRAINT product_process_stages_order UNIQUE (process_id, stage_order) DEFERRABLE INITIALLY DEFERRED
);
CREATE UNIQUE INDEX product_process_stages_terminal ON product_process_stages (process_id, terminal_type)
    WHERE terminal_type IS NOT NULL AND archived_at IS NULL;
CREATE TRIGGER product_process_stages_touch BEFORE UPDATE ON product_process_stages FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE workflows (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    product_id    uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    process_type  text NOT NULL CHECK (process_type IN ('sales', 'onboarding', 'support', 'engagement')),
    name          text NOT NULL,
    status        text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'archived')),
    canvas_zoom   numeric(6,3) NOT NULL DEFAULT 1,
    canvas_pan_x  numeric(10,2) NOT NULL DEFAULT 0,
    canvas_pan_y  numeric(10,2) NOT NULL DEFAULT 0,
    published_at  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX workflows_active ON workflows (product_id, process_type) WHERE status = 'active';
CREATE INDEX workflows_product ON workflows (product_id, process_type, updated_at DESC);
CREATE TRIGGER workflows_touch BEFORE UPDATE ON workflows FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE workflow_nodes (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id  uuid NOT NULL REFERENCES workflows ON DELETE CASCADE,
    type         text NOT NULL CHECK (type IN ('trigger', 'stage', 'condition', 'aiAction', 'humanAction', 'exit')),
    item_id      text,
    label        text NOT NULL,
    icon         text,
    color        text,
    position_x   numeric(10,2) NOT NULL DEFAULT 0,
    position_y   numeric(10,2) NOT NULL DEFAULT 0,
    config       jsonb NOT NULL DEFAULT '{}',
    stage_id     uuid REFERENCES product_process_stages ON DELETE SET NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX workflow_nodes_workflow ON workflow_nodes (workflow_id);
CREATE INDEX workflow_nodes_stage ON workflow_nodes (stage_id);

CREATE TABLE workflow_connections (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id   uuid NOT NULL REFERENCES workflows ON DELETE CASCADE,
    from_node_id  uuid NOT NULL REFERENCES workflow_nodes ON DELETE CASCADE,
    from_port     text NOT NULL DEFAULT 'out',
    to_node_id    uuid NOT NULL REFERENCES workflow_nodes ON DELETE CASCADE,
    to_port       text NOT NULL DEFAULT 'in',
    label         text,
    color         text,
    style         text NOT NULL DEFAULT 'solid' CHECK (style IN ('solid', 'dashed')),
    condition     jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (from_node_id, from_port, to_node_id, to_port)
);
CREATE INDEX workflow_connections_workflow ON workflow_connections (workflow_id);
CREATE INDEX workflow_connections_to ON workflow_connections (to_node_id);

-- Status, stage, owner, price and health of a company's product are what its events say: company_product_read_model.
ALTER TABLE company_products
    ADD COLUMN tier_id                 uuid REFERENCES product_tiers ON DELETE SET NULL,
    ADD COLUMN ai_sequence_active      boolean NOT NULL DEFAULT false,
    ADD COLUMN converted_from_deal_id  uuid REFERENCES deals ON DELETE SET NULL,
    ADD COLUMN merged_into_id          uuid REFERENCES company_products ON DELETE SET NULL;
CREATE INDEX company_products_tier ON company_products (tier_id) WHERE tier_id IS NOT NULL;
CREATE INDEX company_products_deal ON company_products (converted_from_deal_id) WHERE converted_from_deal_id IS NOT NULL;
CREATE INDEX company_products_merged ON company_products (merged_into_id) WHERE merged_into_id IS NOT NULL;
CREATE TRIGGER company_products_touch BEFORE UPDATE ON company_products FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE deal_conversions (
    id                    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    legacy_deal_id        uuid NOT NULL REFERENCES deals ON DELETE CASCADE,
    company_product_id    uuid NOT NULL REFERENCES company_products ON DELETE CASCADE,
    product_id            uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    converted_at          timestamptz NOT NULL,
    converted_by          uuid REFERENCES users ON DELETE SET NULL,
    first_activity_at     timestamptz,
    last_activity_at      timestamptz,
    activities_count      integer NOT NULL DEFAULT 0,
    communications_count  integer NOT NULL DEFAULT 0,
    meetings_count        integer NOT NULL DEFAULT 0,
    notes                 text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    UNIQUE (legacy_deal_id, product_id)
);
CREATE INDEX deal_conversions_company_product ON deal_conversions (company_product_id);
CREATE INDEX deal_conversions_product ON deal_conversions (product_id);
