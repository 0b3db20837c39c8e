"""Quoted replies: what somebody wrote, apart from what the mail repeats; gold cases, odd cases, hostile cases."""

import time
from pathlib import Path

import pytest
import yaml

from tools.mail import cleaning, replies

GOLD = yaml.safe_load((Path(__file__).parent / "gold" / "replies.yaml").read_text())
MEGABYTE = 1_000_000
LIMIT_S = 0.1


def trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


class TestSplit:
    @pytest.mark.parametrize("case", GOLD, ids=[case["id"] for case in GOLD])
    def test_finds_what_the_sender_wrote(self, case):
        reply = replies.split(case["text"], case.get("subject", ""))
        assert trimmed(reply.text) == trimmed(case["own"])
        assert reply.forwarded is case.get("forward", False)

    def test_has_sixty_gold_cases_in_twelve_languages(self):
        assert len(GOLD) >= 60
        assert len({case["id"].partition("-")[0] for case in GOLD}) >= 12
        assert len({case["id"] for case in GOLD}) == len(GOLD)
