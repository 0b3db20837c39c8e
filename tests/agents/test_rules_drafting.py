"""Drafts by rules: what is offered, and what is left to a person."""

import pytest

from agents.drafting.outputs import ReplyInputs
from agents.rules.drafting import reply

SLOT = "Thursday, 5 March, 09:00 (EST)"


def asked(text: str) -> ReplyInputs:
    return ReplyInputs(
        company_name="Lee Ltd", contact_first_name="Dana", contact_title="", sender_name="Jo Park", product_name="Scanners", stage_name="trial",
        stage_context="", temporal_context="They wrote yesterday.", reason="", recommended_action="", email_date="2026-03-02",
        current_date="2026-03-03", available_times=[SLOT], open_promises=[], style="", tone="", instructions="", subject="Scanners",
        questions=[], last_inbound_summary=text, last_outbound_summary="",
    )  # fmt: skip


class TestReply:
    @pytest.mark.parametrize(
        "text", ["Could we speak for half an hour?", "Can we talk about the rollout?", "Do you have time for a call?"]
    )
    def test_offers_times_when_they_want_to_talk(self, text: str):
        assert SLOT in reply(asked(text)).body

    def test_offers_none_when_nobody_wants_to_meet(self):
        assert SLOT not in reply(asked("Is there an audit log?")).body
