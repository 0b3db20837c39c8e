"""Whitespace: who lacks what, how well it fits, and the figures over all customers."""

from typing import Any

import pytest

from memory.callers import Caller
from memory.db import Tx
from tests.given import Given
from tools import whitespace
from tools.whitespace import FitRulesUnreadable, WhitespaceFilter

PLUS_WITH_NOTES = {"points": 25, "reason": "Builds on Notes", "when": {"owns": ["notes"]}}


class Scene:
    rep: Caller
    base: Any
    notes: Any
    plus: Any
    acme: Any
    beta: Any


@pytest.fixture
async def scene(given: Given) -> Scene:
    """Acme uses the base and Notes; Beta is being taken on for the base and is sold Notes; nobody else counts."""
    made = Scene()
    made.rep = await given.user()
    made.base = await given.product("Core", product_type="base", base_price_monthly=500, display_order=1)
    made.notes = await given.product(
        "Notes", product_type="suite", base_price_monthly=200, display_order=2,
        fit_rules=[{"points": 15, "reason": "Everybody writes notes"}],
    )  # fmt: skip
    made.plus = await given.product(
        "Plus", product_type="addon", base_price_monthly=300, display_order=3,
        fit_rules=[PLUS_WITH_NOTES, {"points": 15, "reason": "Large enough", "when": {"min_employees": 10}}],
    )  # fmt: skip
    await given.product("Retired", product_type="suite", is_active=False)
    await given.product("Not sold", product_type="suite", is_sellable=False)
    made.acme = await given.company("Acme", employee_count=50)
    made.beta = await given.company("Beta")
    stranger = await given.company("Stranger")
    await given.held(made.base, company=made.acme, phase="active", status="active", mrr=500)
    await given.held(made.notes, company=made.acme, phase="active", status="active")
    await given.held(made.base, company=made.beta, phase="onboarding", status="in_onboarding")
    await given.held(made.notes, company=made.beta, phase="in_sales", status="in_sales")
    await given.held(made.base, company=stranger, phase="in_sales", status="in_sales")
    return made


async def opportunities(tx: Tx, scene: Scene, **asked: Any) -> list[dict[str, Any]]:
    found = await whitespace.get_whitespace(tx, scene.rep, WhitespaceFilter(**asked))
    return found.parse().model_dump(mode="json")["opportunities"]


class TestOpportunities:
    async def test_weighs_what_is_missing_by_the_rules_that_apply(self, tx: Tx, scene: Scene) -> None:
        assert await opportunities(tx, scene) == [
            {
                "company_id": str(scene.acme.id), "company_name": "Acme", "current_products": ["Core", "Notes"],
                "missing_products": [
                    {
                        "product_id": str(scene.plus.id), "product_name": "Plus", "product_slug": "plus", "estimated_mrr": 300.0,
                        "fit_score": 100, "fit_reasons": ["Uses 2 products", "Builds on Notes", "Large enough"],
                    }
                ],
                "total_potential_mrr": 300.0, "priority_score": 61,
            },
            {
                "company_id": str(scene.beta.id), "company_name": "Beta", "current_products": ["Core"],
                "missing_products": [
                    {
                        "product_id": str(scene.plus.id), "product_name": "Plus", "product_slug": "plus", "estimated_mrr": 300.0,
                        "fit_score": 50, "fit_reasons": [],
                    }
                ],
                "total_potential_mrr": 300.0, "priority_score": 31,
            },
        ]  # fmt: skip

    async def test_leaves_out_what_fits_less_than_asked(self, tx: Tx, scene: Scene) -> None:
        assert [found["company_name"] for found in await opportunities(tx, scene, min_fit_score=51)] == ["Acme"]

    async def test_one_product_only(self, tx: Tx, scene: Scene) -> None:
        assert await opportunities(tx, scene, product_id=scene.notes.id) == []

    async def test_lists_the_dearest_first_when_asked(self, tx: Tx, given: Given, scene: Scene) -> None:
        rich = await given.company("Zeta", segment="enterprise")
        await given.held(scene.base, company=rich, phase="active", status="active")
        names = [found["company_name"] for found in await opportunities(tx, scene, sort_by="potential_mrr")]
        assert names == ["Zeta", "Acme", "Beta"]
        assert [found["company_name"] for found in await opportunities(tx, scene, sort_by="fit_score", limit=1)] == [
            "Acme"
        ]

    async def test_three_products_fit_better_than_two(self, tx: Tx, given: Given, scene: Scene) -> None:
        extra = await given.product("Extra", product_type="addon")
        third = await given.product("Third", product_type="addon", fit_rules=[])
        await given.held(extra, company=scene.acme, phase="active", status="active")
        [acme, _] = await opportunities(tx, scene, product_id=third.id)
        assert acme["missing_products"][0]["fit_score"] == 70

    @pytest.mark.parametrize(
        ("when", "applies"),
        [
            ({"owns": ["core", "notes"]}, True),
            ({"owns": ["core", "other"]}, False),
            ({"owns_any": ["other", "notes"]}, True),
            ({"owns_any": ["other"]}, False),
            ({"lacks": ["notes"]}, False),
            ({"lacks": ["other"]}, True),
            ({"min_products": 2, "max_products": 2}, True),
            ({"min_products": 3}, False),
            ({"max_employees": 49}, False),
            ({"min_agents": 2}, False),
            ({"max_agents": 1}, True),
            ({"segments": ["smb"]}, True),
            ({"segments": ["enterprise"]}, False),
            ({"industries": ["other"], "statuses": ["prospect"]}, True),
            ({"crm_platforms": ["any"]}, False),
            ({"attributes": {"hosted": True}}, False),
        ],
    )
    async def test_every_condition_must_hold(
        self, tx: Tx, given: Given, scene: Scene, when: dict[str, Any], applies: bool
    ) -> None:
        rules = [{"points": 20, "reason": "It fits", "when": when}]
        third = await given.product("Third", product_type="addon", fit_rules=rules)
        [acme] = [f for f in await opportunities(tx, scene, product_id=third.id) if f["company_name"] == "Acme"]
        assert acme["missing_products"][0]["fit_score"] == (80 if applies else 60)

    async def test_says_which_products_rules_cannot_be_read(self, tx: Tx, given: Given, scene: Scene) -> None:
        await given.product("Odd", product_type="addon", fit_rules=[{"points": "many"}])
        with pytest.raises(FitRulesUnreadable, match="odd"):
            await opportunities(tx, scene)


class TestStats:
    async def test_counts_customers_and_what_they_lack(self, tx: Tx, scene: Scene) -> None:
        found = await whitespace.get_whitespace(tx, scene.rep, WhitespaceFilter(view="stats"))
        assert found.parse().model_dump(mode="json") == {
            "total_base_customers": 2, "customers_with_ai_products": 1, "customers_without_ai_products": 1,
            "adoption_rate": 50, "total_whitespace_mrr": 600.0,
            "opportunities_by_product": [
                {"product_id": str(scene.plus.id), "product_name": "Plus", "potential_customers": 2, "potential_mrr": 600.0},
                {"product_id": str(scene.notes.id), "product_name": "Notes", "potential_customers": 0, "potential_mrr": 0.0},
            ],
        }  # fmt: skip

    async def test_nobody_has_anything_yet(self, tx: Tx, given: Given) -> None:
        rep = await given.user()
        found = await whitespace.get_whitespace(tx, rep, WhitespaceFilter(view="stats"))
        assert found.parse().model_dump()["adoption_rate"] == 0
