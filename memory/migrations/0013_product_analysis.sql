-- What meetings say about a product: one reading a transcript, and what all of them say together.

CREATE TABLE product_readings (
    product_id        uuid NOT NULL REFERENCES products ON DELETE CASCADE,
    transcription_id  uuid NOT NULL REFERENCES meeting_transcriptions ON DELETE CASCADE,
    text_hash         text NOT NULL,
    reading           jsonb NOT NULL,
    engine            text NOT NULL,
    model             text NOT NULL,
    prompt_key        text NOT NULL,
    prompt_version    integer NOT NULL,
    ai_call_id        uuid REFERENCES ai_calls ON DELETE SET NULL,
    run_id            uuid REFERENCES agent_runs ON DELETE SET NULL,
    read_at           timestamptz NOT NULL,
    PRIMARY KEY (product_id, transcription_id)
);
CREATE INDEX product_readings_transcription ON product_readings (transcription_id);
CREATE INDEX product_readings_call ON product_readings (ai_call_id) WHERE ai_call_id IS NOT NULL;
CREATE INDEX product_readings_run ON product_readings (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE product_insights (
    product_id   uuid PRIMARY KEY REFERENCES products ON DELETE CASCADE,
    insights     jsonb NOT NULL,
    run_id       uuid REFERENCES agent_runs ON DELETE SET NULL,
    computed_at  timestamptz NOT NULL
);
CREATE INDEX product_insights_run ON product_insights (run_id) WHERE run_id IS NOT NULL;

-- Longest on the way first, newest customers first: a page of a product's pipeline costs the same however long it is.
CREATE INDEX company_product_read_model_pipeline ON company_product_read_model (product_id, sales_started_at, company_product_id)
    WHERE status = 'in_sales';
CREATE INDEX company_product_read_model_customers
    ON company_product_read_model (product_id, activated_at DESC NULLS LAST, company_product_id) WHERE status = 'active';

-- One analysis of a product at a time.
CREATE UNIQUE INDEX agent_runs_product_analysis ON agent_runs ((input ->> 'product_id'))
    WHERE agent = 'product_analysis' AND status IN ('queued', 'running', 'waiting');
