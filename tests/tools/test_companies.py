"""Companies: doubles, partial updates, removal."""

from typing import Any
from uuid import uuid4

import pytest

from memory.db import Tx
from tools import companies, company_products, lifecycle
from tools.companies import (
    CompanyExists,
    CompanyFilter,
    CompanyInUse,
    CompanyNotFound,
    CreateCompanyIn,
    OnlyManagers,
    UpdateCompanyIn,
)
from tools.workspace import ValueNotOffered


class TestCreateCompany:
    async def test_fills_in_the_workspaces_defaults(self, tx: Tx, given: Any) -> None:
        await given.workspace(default_industry="logistics", segments=["smb", "enterprise"])
        rep = await given.user()
        made = (
            await companies.create_company(
                tx, rep, CreateCompanyIn(name="Acme", domain="https://www.Acme.example/about")
            )
        ).parse()
        assert (made.company.domain, made.company.industry, made.company.segment) == (
            "acme.example",
            "logistics",
            "smb",
        )
        assert made.company.owner_id == rep.user_id

    @pytest.mark.parametrize("body", [{"name": "ACME"}, {"name": "Other", "domain": "acme.example"}])
    async def test_refuses_a_double_and_names_it(self, tx: Tx, given: Any, body: dict[str, Any]) -> None:
        rep, acme = await given.user(), await given.company("Acme", domain="acme.example")
        with pytest.raises(CompanyExists) as refused:
            await companies.create_company(tx, rep, CreateCompanyIn(**body))
        assert refused.value.body["existing"] == {"id": str(acme.id), "name": "Acme"}

    async def test_may_repeat_the_name_of_a_removed_one(self, tx: Tx, given: Any) -> None:
        rep = await given.user()
        await given.company("Acme", deleted_at=tx.now)
        made = await companies.create_company(tx, rep, CreateCompanyIn(name="Acme"))
        assert made.parse().company.name == "Acme"

    async def test_refuses_a_segment_that_the_workspace_does_not_know(self, tx: Tx, given: Any) -> None:
        with pytest.raises(ValueNotOffered):
            await companies.create_company(tx, await given.user(), CreateCompanyIn(name="Acme", segment="galactic"))


class TestUpdateCompany:
    async def test_changes_what_is_named_and_nothing_else(self, tx: Tx, given: Any) -> None:
        rep = await given.user()
        acme = await given.company("Acme", phone="1", notes="kept", address={"city": "Bonn", "zip": "1"})
        body = UpdateCompanyIn.model_validate({"phone": None, "city": "Berlin"})
        after = (await companies.update_company(tx, rep, acme.id, body)).parse().company
        assert (after.phone, after.notes, after.address) == (None, "kept", {"city": "Berlin", "zip": "1"})

    async def test_remembers_since_when_it_is_a_customer(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        after = (await companies.update_company(tx, rep, acme.id, UpdateCompanyIn(status="customer"))).parse().company
        assert after.became_customer_at == tx.now

    async def test_may_keep_its_own_name(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company("Acme")
        after = await companies.update_company(tx, rep, acme.id, UpdateCompanyIn(name="ACME"))
        assert after.parse().company.name == "ACME"

    async def test_refuses_another_companys_domain(self, tx: Tx, given: Any) -> None:
        rep, acme = await given.user(), await given.company()
        await given.company("Other", domain="other.example")
        with pytest.raises(CompanyExists):
            await companies.update_company(tx, rep, acme.id, UpdateCompanyIn(domain="other.example"))


class TestListCompanies:
    async def test_orders_by_name_and_searches_literally(self, tx: Tx, given: Any) -> None:
        rep = await given.user()
        for name in ("beta 100%", "Alpha", "beta 1000"):
            await given.company(name)
        listed = (await companies.list_companies(tx, rep, CompanyFilter())).parse()
        assert [row.name for row in listed.companies] == ["Alpha", "beta 100%", "beta 1000"]
        found = (await companies.list_companies(tx, rep, CompanyFilter(search="100%"))).parse()
        assert [row.name for row in found.companies] == ["beta 100%"]


class TestDeleteCompany:
    async def test_is_for_managers(self, tx: Tx, given: Any) -> None:
        acme = await given.company()
        with pytest.raises(OnlyManagers):
            await companies.delete_company(tx, await given.user(), acme.id)

    async def test_refuses_while_a_deal_is_open(self, tx: Tx, given: Any) -> None:
        manager, acme = await given.user("manager"), await given.company()
        deal = await given.deal(company=acme)
        with pytest.raises(CompanyInUse):
            await companies.delete_company(tx, manager, acme.id)
        await tx.run("UPDATE deals SET stage = 'closed_lost' WHERE id = %(id)s", id=deal.id)
        await companies.delete_company(tx, manager, acme.id)
        with pytest.raises(CompanyNotFound):
            await companies.get_company(tx, manager, acme.id)

    async def test_refuses_while_a_product_is_live(self, tx: Tx, given: Any) -> None:
        manager, acme, core = await given.user("manager"), await given.company(), await given.product("Core")
        row = await company_products.get_or_create(tx, manager, acme.id, core.id)
        await lifecycle.execute(tx, manager, row.id, lifecycle.AdoptIn(toPhase="active", reason="Imported"))
        with pytest.raises(CompanyInUse):
            await companies.delete_company(tx, manager, acme.id)
        await lifecycle.execute(tx, manager, row.id, lifecycle.SetPhaseIn(toPhase="churned"))
        await companies.delete_company(tx, manager, acme.id)

    async def test_refuses_an_unknown_company(self, tx: Tx, given: Any) -> None:
        with pytest.raises(CompanyNotFound):
            await companies.delete_company(tx, await given.user("manager"), uuid4())
