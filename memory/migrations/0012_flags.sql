-- Attention flags: the order in which they are read, and what leads from a flag to its drafts, letters and notes.

CREATE INDEX attention_flags_ranked ON attention_flags
    ((CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END), created_at, id);
-- Flags of a company that name no product are few.
CREATE INDEX attention_flags_loose ON attention_flags (company_id) WHERE company_product_id IS NULL;
CREATE INDEX attention_flags_handled ON attention_flags (company_product_id, flag_type, resolved_at) WHERE resolved_by IS NOT NULL;

CREATE INDEX ai_action_log_flag ON ai_action_log (attention_flag_id) WHERE attention_flag_id IS NOT NULL;
CREATE INDEX communication_notes_flag ON communication_notes (attention_flag_id) WHERE attention_flag_id IS NOT NULL;
CREATE INDEX email_drafts_flag ON email_drafts (origin_id, created_at DESC) WHERE origin = 'flag';

-- One letter at a time is on its way for a flag.
CREATE INDEX effects_flag ON effects ((request #>> '{letter,flag_id}'))
    WHERE kind = 'mail' AND status IN ('reserved', 'sent', 'unknown');
