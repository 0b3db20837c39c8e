"""
The bare limit of a rebuild: the same rows by one set-based statement for each table, as one would write them by hand.

No projector, no portions, no checkpoint, nothing that could also run for a single event: the last event of each kind is
found by sorting once, a stay ends with the next move.
"""

from typing import LiteralString

TABLES: tuple[LiteralString, ...] = (
    "company_product_read_model",
    "company_product_stage_facts",
    "sla_breach_facts",
    "ai_suggestions_read_model",
    "product_pipeline_stage_counts",
    "product_standing_counts",
)

READ_MODEL: LiteralString = """
    WITH latest AS (
        SELECT DISTINCT ON (aggregate_id, event_type, event_data ->> 'to_phase')
               aggregate_id, event_type, event_data AS d, occurred_at AS at, sequence_number AS n
          FROM event_store WHERE aggregate_type = 'company_product'
         ORDER BY aggregate_id, event_type, event_data ->> 'to_phase', sequence_number DESC
    ), sides AS (
        SELECT aggregate_id,
               (array_agg(d ORDER BY n DESC) FILTER (WHERE event_type = 'CompanyProductPhaseSet'))[1] AS phase,
               max(coalesce((d ->> 'effective_at')::timestamptz, at)) FILTER (WHERE d ->> 'to_phase' = 'in_sales') AS sales_at,
               max(coalesce((d ->> 'effective_at')::timestamptz, at)) FILTER (WHERE d ->> 'to_phase' = 'onboarding') AS onboarding_at,
               max(coalesce((d ->> 'effective_at')::timestamptz, at)) FILTER (WHERE d ->> 'to_phase' = 'active') AS active_at,
               max(coalesce((d ->> 'effective_at')::timestamptz, at)) FILTER (WHERE d ->> 'to_phase' = 'churned') AS churned_at,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductProcessSet'))[1] AS process,
               max(at) FILTER (WHERE event_type = 'CompanyProductProcessSet') AS process_at,
               coalesce(max(n) FILTER (WHERE event_type = 'CompanyProductProcessSet'), 0) AS process_n,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductStageSet'))[1] AS stage,
               max(at) FILTER (WHERE event_type = 'CompanyProductStageSet') AS stage_at,
               coalesce(max(n) FILTER (WHERE event_type = 'CompanyProductStageSet'), 0) AS stage_n,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductProcessCompleted'))[1] AS done,
               max(at) FILTER (WHERE event_type = 'CompanyProductProcessCompleted') AS done_at,
               coalesce(max(n) FILTER (WHERE event_type = 'CompanyProductProcessCompleted'), 0) AS done_n,
               coalesce(max(n) FILTER (WHERE event_type = 'CompanyProductSLAWarning'), 0) AS warned_n,
               coalesce(max(n) FILTER (WHERE event_type = 'CompanyProductSLABreached'), 0) AS breached_n,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductOwnerSet'))[1] AS owner,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductTierSet'))[1] AS tier,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductMRRSet'))[1] AS mrr,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductSeatsSet'))[1] AS seats,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductNextStepDueSet'))[1] AS next,
               (array_agg(d) FILTER (WHERE event_type = 'CompanyProductHealthComputed'))[1] AS health,
               (array_agg(d ORDER BY n DESC) FILTER (WHERE event_type = 'CompanyProductRiskLevelSet'))[1] AS risk,
               max(at) AS last_at, max(n) AS last_n, (array_agg(event_type ORDER BY n DESC))[1] AS last_type
          FROM latest GROUP BY aggregate_id
    ), standing AS (
        SELECT s.*, CASE WHEN s.stage_n > s.process_n THEN s.stage ELSE s.process END AS stay,
               CASE WHEN s.stage_n > s.process_n THEN s.stage_at ELSE s.process_at END AS stay_at,
               greatest(s.stage_n, s.process_n) AS stay_n, s.done_n > s.process_n AS is_done
          FROM sides s
    )
    INSERT INTO bare_company_product_read_model (
        company_product_id, company_id, product_id, phase, status, current_process_type, current_process_id,
        current_process_version, current_stage_id, current_stage_name, current_stage_slug, current_stage_order,
        stage_entered_at, stage_sla_deadline, stage_sla_warning_at, is_sla_warning, is_sla_breached, process_started_at,
        process_completed_at, last_outcome, stage_transition_count, owner_id, owner_name, tier, mrr, mrr_currency, seats,
        next_step, next_step_due_at, health_score, risk_level, risk_factors, health_input_hash, sales_started_at,
        onboarding_started_at, activated_at, churned_at, declined_at, declined_reason, last_event_at, last_event_type,
        last_event_sequence)
    SELECT s.aggregate_id, i.company_id, i.product_id, s.phase ->> 'to_phase', coalesce(s.phase ->> 'status', 'inactive'),
           s.process ->> 'to_process_type', (s.process ->> 'to_process_id')::uuid, (s.process ->> 'process_version')::int,
           CASE WHEN s.is_done THEN s.done ->> 'terminal_stage_id'
                ELSE coalesce(s.stay ->> 'to_stage_id', s.stay ->> 'initial_stage_id') END::uuid,
           CASE WHEN s.is_done THEN s.done ->> 'terminal_stage_name'
                ELSE coalesce(s.stay ->> 'to_stage_name', s.stay ->> 'initial_stage_name') END,
           CASE WHEN s.is_done THEN s.done ->> 'terminal_stage_slug'
                ELSE coalesce(s.stay ->> 'to_stage_slug', s.stay ->> 'initial_stage_slug') END,
           CASE WHEN s.is_done THEN s.done ->> 'terminal_stage_order'
                ELSE coalesce(s.stay ->> 'to_stage_order', s.stay ->> 'initial_stage_order') END::int,
           CASE WHEN s.is_done THEN s.done_at ELSE s.stay_at END,
           CASE WHEN NOT s.is_done THEN s.stay_at + (s.stay ->> 'sla_days')::int * interval '24 hours' END,
           CASE WHEN NOT s.is_done THEN s.stay_at + (s.stay ->> 'sla_warning_days')::int * interval '24 hours' END,
           s.warned_n > greatest(s.stay_n, s.done_n), s.breached_n > greatest(s.stay_n, s.done_n), s.process_at,
           CASE WHEN s.is_done THEN s.done_at END, s.done ->> 'outcome',
           CASE WHEN s.is_done THEN (s.done ->> 'stage_transition_count')::int
                WHEN s.stage_n > s.process_n THEN (s.stage ->> 'stage_transition_count')::int
                WHEN s.process_n > 0 THEN 1 ELSE 0 END,
           (s.owner ->> 'to_owner_id')::uuid, s.owner ->> 'to_owner_name', (s.tier ->> 'to_tier')::int,
           (s.mrr ->> 'to_mrr')::numeric, s.mrr ->> 'currency', (s.seats ->> 'to_seats')::int, s.next ->> 'to_next_step',
           (s.next ->> 'to_due_date')::timestamptz, (s.health ->> 'to_score')::int,
           coalesce(s.risk ->> 'to_risk_level', s.health ->> 'risk_level'), coalesce(s.health -> 'reasons', '[]'),
           s.health ->> 'input_hash', s.sales_at, s.onboarding_at, s.active_at,
           CASE WHEN s.phase ->> 'to_phase' = 'churned' THEN s.churned_at END,
           CASE WHEN s.phase ->> 'status' = 'declined' THEN s.churned_at END,
           CASE WHEN s.phase ->> 'status' = 'declined' THEN coalesce(s.phase ->> 'churn_reason', s.phase ->> 'reason') END,
           s.last_at, s.last_type, s.last_n
      FROM standing s JOIN company_products i ON i.id = s.aggregate_id
"""
STAGE_FACTS: LiteralString = """
    INSERT INTO bare_company_product_stage_facts (
        entry_event_id, company_product_id, company_id, product_id, process_id, process_type, stage_id, stage_name,
        stage_order, entry_sequence, entered_at, exited_at, duration_seconds, duration_business_days, sla_days, sla_met,
        days_over_sla, exit_reason, exit_event_id)
    SELECT m.id, i.id, i.company_id, i.product_id, m.process_id, m.process_type, m.stage_id, m.stage_name, m.stage_order,
           m.sequence_number, m.occurred_at, m.left_at, m.seconds, business_days(m.occurred_at, m.left_at), m.sla_days,
           m.seconds <= m.sla_days * 86400,
           CASE WHEN m.seconds > m.sla_days * 86400 THEN round(m.seconds / 86400.0 - m.sla_days, 2) END,
           m.exit_reason, m.exit_event_id
      FROM (SELECT e.id, e.aggregate_id, e.sequence_number, e.event_type, e.occurred_at,
                   coalesce(e.event_data ->> 'process_id', e.event_data ->> 'to_process_id')::uuid AS process_id,
                   coalesce(e.event_data ->> 'process_type', e.event_data ->> 'to_process_type') AS process_type,
                   coalesce(e.event_data ->> 'to_stage_id', e.event_data ->> 'initial_stage_id')::uuid AS stage_id,
                   coalesce(e.event_data ->> 'to_stage_name', e.event_data ->> 'initial_stage_name') AS stage_name,
                   coalesce(e.event_data ->> 'to_stage_order', e.event_data ->> 'initial_stage_order')::int AS stage_order,
                   (e.event_data ->> 'sla_days')::int AS sla_days, lead(e.id) OVER next AS exit_event_id,
                   lead(e.occurred_at) OVER next AS left_at,
                   lead(stage_exit_reason(e.event_type, e.event_data)) OVER next AS exit_reason,
                   floor(extract(epoch FROM lead(e.occurred_at) OVER next - e.occurred_at))::bigint AS seconds
              FROM event_store e
             WHERE e.event_type IN ('CompanyProductStageSet', 'CompanyProductProcessSet', 'CompanyProductProcessCompleted')
            WINDOW next AS (PARTITION BY e.aggregate_id ORDER BY e.sequence_number)) m
      JOIN company_products i ON i.id = m.aggregate_id
     WHERE m.event_type <> 'CompanyProductProcessCompleted'
"""
STAGE_COUNTS: LiteralString = """
    INSERT INTO bare_product_pipeline_stage_counts (
        product_id, process_id, stage_id, total_count, active_count, stalled_count, breached_count, total_value,
        weighted_value, avg_days_in_stage, median_days_in_stage)
    SELECT stays.product_id, stays.process_id, stays.stage_id, coalesce(h.total, 0), coalesce(h.total, 0), 0, 0,
           coalesce(h.value, 0), coalesce(h.weighted, 0), stays.average, stays.median
      FROM (SELECT product_id, process_id, stage_id, round(avg(duration_seconds) / 86400, 2) AS average,
                   round((percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_seconds) / 86400)::numeric, 2) AS median
              FROM bare_company_product_stage_facts GROUP BY 1, 2, 3) stays
      LEFT JOIN (SELECT current_stage_id, count(*) AS total, sum(mrr) AS value,
                        sum(mrr * coalesce(health_score, 50) / 100.0) AS weighted
                   FROM bare_company_product_read_model WHERE process_completed_at IS NULL
                  GROUP BY 1) h ON h.current_stage_id = stays.stage_id
"""
BREACHES: LiteralString = """
    INSERT INTO bare_sla_breach_facts (breach_event_id, company_product_id, process_id, process_type, stage_id, stage_name,
                                       sla_days, actual_days, days_over, breach_sequence, breached_at, resolved_at)
    SELECT b.id, b.aggregate_id, (b.event_data ->> 'process_id')::uuid, b.event_data ->> 'process_type',
           (b.event_data ->> 'stage_id')::uuid, b.event_data ->> 'stage_name', (b.event_data ->> 'sla_days')::int,
           (b.event_data ->> 'actual_days')::numeric, (b.event_data ->> 'days_over')::numeric, b.sequence_number,
           b.occurred_at, b.left_at
      FROM (SELECT e.*, lead(e.occurred_at) OVER (PARTITION BY e.aggregate_id ORDER BY e.sequence_number) AS left_at
              FROM event_store e
             WHERE e.event_type IN ('CompanyProductStageSet', 'CompanyProductProcessSet',
                                    'CompanyProductProcessCompleted', 'CompanyProductSLABreached')) b
     WHERE b.event_type = 'CompanyProductSLABreached'
"""
SUGGESTIONS: LiteralString = """
    INSERT INTO bare_ai_suggestions_read_model (suggestion_id, company_product_id, suggestion_type, title, description,
                                                confidence, source_type, suggested_at, suggested_by_type)
    SELECT (event_data ->> 'suggestion_id')::uuid, aggregate_id, event_data ->> 'suggestion_type', event_data ->> 'title',
           event_data ->> 'description', (event_data ->> 'confidence')::numeric, event_data ->> 'source_type', occurred_at,
           actor_type
      FROM event_store WHERE event_type = 'AISuggestionCreated'
"""
STANDING: LiteralString = """
    INSERT INTO bare_product_standing_counts (product_id, owner_id, status, stage_id, total_count, total_value)
    SELECT product_id, owner_id, status,
           CASE WHEN process_completed_at IS NULL AND current_process_id IS NOT NULL THEN current_stage_id END,
           count(*), coalesce(sum(mrr), 0)
      FROM bare_company_product_read_model GROUP BY 1, 2, 3, 4
"""
STATEMENTS: tuple[LiteralString, ...] = (READ_MODEL, STAGE_FACTS, BREACHES, SUGGESTIONS, STAGE_COUNTS, STANDING)
