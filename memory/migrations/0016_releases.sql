-- Prompts are released, not edited: when which version became active, on whose word and on what evidence.

CREATE TABLE prompt_releases (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- Releases of one transaction have one moment; this is their order.
    seq               bigint GENERATED ALWAYS AS IDENTITY,
    prompt_id         uuid NOT NULL REFERENCES ai_prompts ON DELETE CASCADE,
    version           integer NOT NULL,
    previous_version  integer,
    kind              text NOT NULL CHECK (kind IN ('verdict', 'override', 'rollback', 'restore', 'shipped')),
    -- The verdict that decided; all that were looked at stand in `verdicts` as they were then.
    verdict_id        uuid REFERENCES eval_verdicts ON DELETE SET NULL,
    verdicts          jsonb NOT NULL DEFAULT '[]',
    checks            jsonb NOT NULL DEFAULT '[]',
    reason            text,
    released_by       uuid REFERENCES users ON DELETE SET NULL,
    released_at       timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (prompt_id, version) REFERENCES ai_prompt_versions (prompt_id, version) ON DELETE CASCADE,
    CHECK (kind NOT IN ('override', 'rollback') OR reason <> '')
);
CREATE INDEX prompt_releases_prompt ON prompt_releases (prompt_id, released_at DESC, seq DESC);
CREATE INDEX prompt_releases_verdict ON prompt_releases (verdict_id) WHERE verdict_id IS NOT NULL;
CREATE INDEX prompt_releases_released_by ON prompt_releases (released_by) WHERE released_by IS NOT NULL;

-- What a version asks for; a prompt's own `variables` are those of the version that is active.
DROP TRIGGER ai_prompt_versions_immutable ON ai_prompt_versions;
ALTER TABLE ai_prompt_versions ADD COLUMN variables text[] NOT NULL DEFAULT '{}';
UPDATE ai_prompt_versions v
   SET variables = ARRAY(
           SELECT DISTINCT found[1]
             FROM regexp_matches(concat_ws(' ', v.prompt_template, v.system_template), '\{\{[-+]?\s*([A-Za-z_][A-Za-z0-9_]*)\s*[-+]?\}\}', 'g') AS found
            ORDER BY 1);

-- Only who did it may be forgotten, when that person is deleted.
CREATE FUNCTION refuse_other_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - TG_ARGV::text[] <> to_jsonb(OLD) - TG_ARGV::text[]
       OR EXISTS (SELECT FROM unnest(TG_ARGV) AS name
                   WHERE to_jsonb(NEW) -> name NOT IN ('null'::jsonb, to_jsonb(OLD) -> name)) THEN
        RAISE EXCEPTION '% rows are immutable', TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ai_prompt_versions_immutable BEFORE UPDATE ON ai_prompt_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_other_change('changed_by');
CREATE TRIGGER prompt_releases_immutable BEFORE UPDATE ON prompt_releases
    FOR EACH ROW EXECUTE FUNCTION refuse_other_change('released_by', 'verdict_id');

-- Until now every version became active as it was written; only a shipped one that came to an edited prompt did not.
INSERT INTO prompt_releases (prompt_id, version, previous_version, kind, reason, released_by, released_at)
SELECT w.prompt_id, w.version, lag(w.version) OVER (PARTITION BY w.prompt_id ORDER BY w.version),
       CASE WHEN w.changed_by IS NULL THEN 'shipped' ELSE 'override' END,
       coalesce(nullif(w.change_reason, ''), 'Edited before releases were recorded'), w.changed_by, w.changed_at
  FROM (SELECT v.prompt_id, v.version, v.changed_by, v.change_reason, v.changed_at
          FROM ai_prompt_versions v JOIN ai_prompts p ON p.id = v.prompt_id
         WHERE v.changed_by IS NOT NULL OR v.version IN (1, p.active_version)) w
 ORDER BY w.changed_at, w.prompt_id, w.version;

-- A call that only tried a prompt out: paid for like any other, and nothing in the records stands on it.
ALTER TABLE ai_calls ADD COLUMN trial boolean NOT NULL DEFAULT false;

-- Every result of an agent names the prompt, the call and the run that it came from.
ALTER TABLE ai_summaries ADD COLUMN ai_call_id uuid;
ALTER TABLE email_drafts ADD COLUMN ai_call_id uuid;
ALTER TABLE ai_action_log ADD COLUMN prompt_key text, ADD COLUMN prompt_version integer;
ALTER TABLE entity_match_reviews ADD COLUMN engine text, ADD COLUMN prompt_key text, ADD COLUMN prompt_version integer,
    ADD COLUMN ai_call_id uuid, ADD COLUMN run_id uuid;
ALTER TABLE triage_decisions ADD COLUMN engine text, ADD COLUMN prompt_key text, ADD COLUMN prompt_version integer,
    ADD COLUMN ai_call_id uuid, ADD COLUMN run_id uuid;
UPDATE ai_action_log l SET prompt_key = c.prompt_key, prompt_version = c.prompt_version FROM ai_calls c WHERE c.id = l.ai_call_id;
