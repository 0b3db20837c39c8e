"""Summaries by rules: what speaks against a deal is a risk, and never an opportunity."""

from agents.rules.summaries import summarize_deal
from agents.summaries.outputs import DealInputs, Material


def told(text: str) -> DealInputs:
    said = Material(
        source=1, type="communication", date="2026-03-02", direction="inbound", who="Dana Lee", title=None, text=text
    )
    return DealInputs(
        dealInfo="Deal: Scanners, in stage trial for 3 days, worth 9,000", companyInfo="Company: Lee Ltd", contactsInfo="",
        activitiesInfo=[said], tasksInfo="", metricsInfo="",
    )  # fmt: skip


class TestSummarizeDeal:
    def test_counts_a_signal_against_the_deal_as_a_risk(self):
        summary = summarize_deal(told("We have decided to cancel the subscription at the end of June."))

        assert [claim.quote for claim in summary.risks] == [
            "We have decided to cancel the subscription at the end of June."
        ]
        assert summary.opportunities == []

    def test_counts_a_signal_for_the_deal_as_an_opportunity(self):
        summary = summarize_deal(told("We are ready to go ahead, please send the contract."))

        assert summary.risks == []
        assert len(summary.opportunities) == 1
