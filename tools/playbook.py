"""
The playbook: what a message calls for, how soon, and how it ranks.

The analysis names a trigger; the tier and the time allowed follow from this table alone.
Source: CRM specification, tiers.
"""

from dataclasses import dataclass
from typing import Literal

UNKNOWN = "needs_ai_classification"


@dataclass(frozen=True, slots=True)
class Play:
    """What a trigger is worth: `tier` 1 (respond now) to 5 (pipeline), `sla_minutes` until an answer is late."""

    trigger: str
    tier: Literal[1, 2, 3, 4, 5]
    sla_minutes: int


_TABLE: tuple[tuple[Literal[1, 2, 3, 4, 5], int, str], ...] = (
    (1, 15, "demo_request demo_inquiry free_trial_form trial_request form_submission calendly_booking"),
    (1, 30, "ready_to_proceed"),
    (1, 60, "meeting_request inbound_request inbound_lead unknown_sender"),
    (1, 120, "pricing_request pricing_inquiry"),
    (1, 240, "direct_question email_reply email_needs_response email_unanswered onboarding_blocker"),
    (2, 240, "buying_signal proposal_hot"),
    (2, 480, ("deadline_critical competitive_risk competitor budget_discussed urgency_signal objection_raised objection "
             "technical_question risk_signal go_live_risk")),
    (2, 1440, "deadline_approaching champion_dark going_stale adoption_risk stakeholder_issue"),
    (3, 0, "our_commitment_overdue"),
    (3, 480, "meeting_follow_up post_meeting_followup promise_due"),
    (3, 1440, ("transcript_commitment meeting_commitment action_item action_item_due promise_made follow_up "
              "deliverable_promised training_gap")),
    (4, 1440, "concern_unresolved their_commitment_overdue"),
    (4, 2880, "high_value strategic_account csuite_contact deal_stale big_deal_attention orphaned_opportunity"),
    (5, 1440, "introduction new_introduction"),
    (5, 4320, "internal_request follow_up_general general informational nurture needs_ai_classification other"),
    (5, 10080, "cold_lead_reengage new_contact_no_outreach research_needed"),
)  # fmt: skip
PLAYS: dict[str, Play] = {name: Play(name, tier, minutes) for tier, minutes, names in _TABLE for name in names.split()}


def find_play(trigger: str | None) -> Play:
    """Return the play of a trigger; one that the table does not know waits for classification in the last tier."""
    return PLAYS.get(trigger or UNKNOWN, PLAYS[UNKNOWN])
