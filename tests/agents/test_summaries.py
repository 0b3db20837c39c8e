"""Summaries: by the rules and by a model at the wire; what is not carried by a source does not stand."""

import json
from datetime import timedelta
from typing import Any

import pytest

from agents import runs
from agents.runs import Engine
from memory.callers import Caller
from memory.db import Database
from tests.given import Given
from tools import summaries
from tools.summary_context import SubjectNotFound

WORRY = "We are worried that the price is too high for our budget."


class Scene:
    """A deal with two messages in the rep's mailbox and one in a colleague's."""

    rep: Caller
    colleague: Caller
    manager: Caller
    company: Any
    contact: Any
    deal: Any
    mail: Any


@pytest.fixture
async def scene(db: Database) -> Scene:
    made = Scene()
    async with db.transaction() as tx:
        given = Given(tx)
        made.rep, made.colleague, made.manager = [await given.user(role) for role in ("rep", "rep", "manager")]
        made.company = await given.company("Acme Ltd", status="prospect")
        made.contact = await given.contact(
            "Bo Li", company=made.company, role="decision_maker", email="bo@acme.example"
        )
        made.deal = await given.deal(
            company=made.company, owner=made.rep, name="Acme scanners", stage="negotiation", estimated_value=60000
        )
        made.mail = await given.communication(
            user=made.rep, contact=made.contact, deal=made.deal, full_content=f"Hello Rita,\n\n{WORRY}\n\nBo",
            occurred_at=given.ago(days=20),
        )  # fmt: skip
        await given.communication(
            user=made.colleague, contact=made.contact, full_content="The secret of the colleague is the number 4711.",
            occurred_at=given.ago(days=2),
        )  # fmt: skip
    return made


async def shown(db: Database, caller: Caller, scene: Scene, type: Any = "deal") -> dict[str, Any]:
    subject = {"deal": scene.deal, "company": scene.company, "contact": scene.contact}[type]
    async with db.reading() as tx:
        return (await summaries.get_summary(tx, caller, type, subject.id)).summary.model_dump(mode="json")


class TestByTheRules:
    async def test_every_claim_cites_words_that_stand_in_their_source(
        self, db: Database, engine: Engine, scene: Scene
    ) -> None:
        _, done = await runs.perform_run(engine, scene.rep, "summaries", {"type": "deal", "id": scene.deal.id})
        kept = await shown(db, scene.rep, scene)
        assert (done["is_new"], done["engine"], kept["engine"]) == (True, "rules", "rules")
        assert kept["summary"]["droppedClaims"] == 0
        worry = [risk for risk in kept["summary"]["risks"] if WORRY in risk["text"]]
        cited = {citation["number"]: citation for citation in kept["sources"]}
        assert [(cited[n]["quote"], cited[n]["id"]) for risk in worry for n in risk["cites"]] == [
            (WORRY.rstrip("."), str(scene.mail.id))
        ]

    async def test_numbers_come_from_the_records(self, db: Database, engine: Engine, scene: Scene) -> None:
        await runs.perform_run(engine, scene.rep, "summaries", {"type": "deal", "id": scene.deal.id})
        summary = (await shown(db, scene.rep, scene))["summary"]
        assert summary["currentStatus"] == {"stage": "negotiation", "daysInStage": 0, "healthScore": 50, "trend": None}
        assert summary["stakeholderStatus"]["hasDecisionMaker"] is True
        assert summary["engagement"]["daysSinceContact"] == 20

    @pytest.mark.parametrize("type", ["company", "contact"])
    async def test_companies_and_contacts_too(self, db: Database, engine: Engine, scene: Scene, type: Any) -> None:
        subject = scene.company if type == "company" else scene.contact
        await runs.perform_run(engine, scene.manager, "summaries", {"type": type, "id": subject.id})
        summary = (await shown(db, scene.manager, scene, type))["summary"]
        assert summary["headline"]
        assert summary["citations"]

    async def test_a_fresh_one_is_not_made_again_unless_forced(self, engine: Engine, scene: Scene) -> None:
        asked = {"type": "deal", "id": scene.deal.id}
        made = [
            (await runs.perform_run(engine, scene.rep, "summaries", asked | force))[1]
            for force in ({}, {}, {"force": True})
        ]
        assert [done["is_new"] for done in made] == [True, False, True]

    async def test_a_rep_reads_nothing_of_a_colleagues_mail(self, db: Database, engine: Engine, scene: Scene) -> None:
        for who in (scene.rep, scene.manager):
            await runs.perform_run(engine, who, "summaries", {"type": "company", "id": scene.company.id})
        assert "4711" not in json.dumps(await shown(db, scene.rep, scene, "company"))
        assert "4711" in json.dumps(await shown(db, scene.manager, scene, "company"))

    async def test_refuses_a_deal_that_the_caller_does_not_see(self, engine: Engine, scene: Scene) -> None:
        with pytest.raises(SubjectNotFound):
            await runs.perform_run(engine, scene.colleague, "summaries", {"type": "deal", "id": scene.deal.id})


class TestByAModel:
    async def test_drops_what_no_source_carries(
        self, db: Database, engine_with_model: Engine, scene: Scene, wire: Any
    ) -> None:
        wire.says(
            {
                "headline": {"text": "They worry about price.", "source": 1, "quote": WORRY, "confidence": 0.9},
                "overview": [{"text": "A big discount was agreed.", "source": 1, "quote": "we agreed on 40 % off", "confidence": 0.95}],
                "key_points": [
                    {"text": "Budget is tight.", "source": 1, "quote": "too high for our budget", "confidence": 0.8},
                    {"text": "From a source that was not offered.", "source": 9, "quote": WORRY, "confidence": 0.9},
                ],
                "risks": [], "opportunities": [], "recommended_actions": [], "confidence": 0.9,
            }
        )  # fmt: skip
        await runs.perform_run(engine_with_model, scene.rep, "summaries", {"type": "deal", "id": scene.deal.id})
        kept = await shown(db, scene.rep, scene)
        summary = kept["summary"]
        assert (kept["engine"], kept["prompt_key"], summary["headline"]) == (
            "openai",
            "deal_summary",
            "They worry about price.",
        )
        assert [(point["point"], point["certainty"]) for point in summary["keyPoints"]] == [
            ("Budget is tight.", "possible")
        ]
        assert "discount" not in summary["overview"]
        assert (summary["droppedClaims"], summary["confidence"]) == (2, 0.45)

    async def test_other_peoples_words_arrive_fenced(
        self, engine_with_model: Engine, scene: Scene, wire: Any, db: Database
    ) -> None:
        wire.says({"headline": {"text": "x", "source": 0, "quote": "Acme Ltd", "confidence": 0.9}})
        await runs.perform_run(engine_with_model, scene.rep, "summaries", {"type": "deal", "id": scene.deal.id})
        words = wire.words()
        begin = words.index("<<material ", words.index("What was said and done"))
        assert begin < words.index(WORRY) < words.index("<<end of material", begin)
        async with db.reading() as tx:
            assert await tx.one(bool, "SELECT tainted FROM agent_runs ORDER BY created_at DESC LIMIT 1")


class TestStaleness:
    async def test_a_day_later_it_is_shown_as_stale(self, db: Database, engine: Engine, scene: Scene) -> None:
        await runs.perform_run(engine, scene.rep, "summaries", {"type": "deal", "id": scene.deal.id})
        async with db.transaction() as tx:
            later = tx.now + timedelta(hours=25)
        async with db.reading(later) as tx:
            assert (await summaries.get_summary(tx, scene.rep, "deal", scene.deal.id)).stale
