-- What a run has written is asked for by its run.

CREATE INDEX ai_summaries_run ON ai_summaries (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX communication_analysis_run ON communication_analysis (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX email_drafts_run ON email_drafts (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX ai_action_log_run ON ai_action_log (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX triage_decisions_run ON triage_decisions (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX entity_match_reviews_run ON entity_match_reviews (run_id) WHERE run_id IS NOT NULL;
