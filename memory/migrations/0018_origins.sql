-- Back from a result to the words it was asked with.

-- Whoever writes an action names the call; the call knows its prompt, and may be gone one day.
CREATE FUNCTION name_prompt_of_action() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.prompt_key, c.prompt_version INTO NEW.prompt_key, NEW.prompt_version FROM ai_calls c WHERE c.id = NEW.ai_call_id;
    RETURN NEW;
END $$;
CREATE TRIGGER ai_action_log_prompt BEFORE INSERT ON ai_action_log
    FOR EACH ROW WHEN (NEW.ai_call_id IS NOT NULL AND NEW.prompt_key IS NULL) EXECUTE FUNCTION name_prompt_of_action();

ALTER TABLE relationship_items ADD COLUMN source_analysis_id uuid REFERENCES communication_analysis ON DELETE SET NULL;
CREATE INDEX relationship_items_analysis ON relationship_items (source_analysis_id) WHERE source_analysis_id IS NOT NULL;
UPDATE relationship_items i
   SET source_analysis_id = (SELECT a.id FROM communication_analysis a
                              WHERE a.communication_id = i.source_id AND a.analyzed_at <= i.updated_at
                              ORDER BY a.version DESC LIMIT 1)
 WHERE i.source_type = 'email' AND i.created_by IS NULL;
