"""Flags: whose they are, and what may become of them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from memory.callers import SYSTEM, Caller
from memory.db import Tx
from tests.given import Given
from tests.tools.sales import a_process, a_sale
from tools.attention import flags
from tools.attention.flags import FlagFilter, RaiseFlagIn, ResolveFlagIn, SnoozeFlagIn
from tools.attention.rows import FlagNotFound, FlagResolved, NotYourFlag


@pytest.fixture
async def rep(given: Given) -> Caller:
    return await given.user()


@pytest.fixture
async def manager(given: Given) -> Caller:
    return await given.user("manager")


async def reasons(tx: Tx, caller: Caller, **filter: Any) -> list[str]:
    page = (await flags.list_flags(tx, caller, FlagFilter(**filter))).parse()
    assert page.total >= len(page.flags)
    return [flag.reason for flag in page.flags]


class TestListFlags:
    async def test_the_gravest_first_then_the_oldest(self, tx: Tx, given: Given, manager: Caller):
        acme = await given.company("Acme")
        for severity, days in (("low", 9), ("critical", 1), ("high", 2), ("critical", 3)):
            await given.flag(
                company=acme, severity=severity, reason=f"{severity} {days}", created_at=given.ago(days=days)
            )
        assert await reasons(tx, manager, scope="all") == ["critical 3", "critical 1", "high 2", "low 9"]
        assert await reasons(tx, manager, scope="all", limit=1, offset=2) == ["high 2"]

    async def test_shows_the_whole_flag(self, tx: Tx, given: Given, manager: Caller):
        process = await a_process(given, await given.product("Scanner"))
        acme = await given.company("Acme")
        sale = await a_sale(given, process, company=acme)
        made = await given.flag(company=acme, company_product_id=sale.id, recommended_action="Call", reason="Quiet")
        page = (await flags.list_flags(tx, manager, FlagFilter(scope="all"))).parse()
        assert (page.total, page.flags[0].model_dump(exclude={"created_at", "updated_at"})) == (
            1,
            {
                "id": made.id, "company_id": acme.id, "company_product_id": sale.id, "source_type": "manual", "source_id": None,
                "flag_type": "STALE_IN_STAGE", "severity": "medium", "reason": "Quiet", "recommended_action": "Call", "owner": "human",
                "status": "open", "snoozed_until": None, "snooze_reason": None, "resolved_at": None, "resolved_by": None,
                "resolution_notes": None, "created_by": None, "company": {"id": acme.id, "name": "Acme"},
                "company_product": {"id": sale.id, "product": {"id": process.product.id, "name": "Scanner", "slug": "scanner"}},
            },
        )  # fmt: skip

    async def test_mine_are_what_i_sell_and_what_is_there_without_a_product(self, tx: Tx, given: Given, rep: Caller):
        process, other = await a_process(given), await given.user()
        mine, theirs, unowned = await given.company(), await given.company(), await given.company()
        owned = await given.company(owner_id=rep.user_id)
        for company, owner in ((mine, rep), (theirs, other), (unowned, None)):
            sale = await a_sale(given, process, company=company, owner=owner)
            await given.flag(company=company, company_product_id=sale.id, reason=f"sold by {owner and owner.name}")
            await given.flag(company=company, reason=f"beside {owner and owner.name}")
        await given.flag(company=owned, reason="at my company")
        mail = await given.communication(user=rep, company=await given.company())
        await given.flag(communication=mail, reason="in my mailbox")
        assert set(await reasons(tx, rep)) == {
            f"sold by {rep.name}", f"beside {rep.name}", "at my company", "in my mailbox",
        }  # fmt: skip

    async def test_only_managers_list_everybodys(self, tx: Tx, given: Given, rep: Caller, manager: Caller):
        await given.flag(reason="a")
        with pytest.raises(flags.OthersFlags):
            await reasons(tx, rep, scope="all")
        assert await reasons(tx, manager, scope="all") == ["a"]

    async def test_filters(self, tx: Tx, given: Given, manager: Caller):
        acme = await given.company()
        await given.flag(company=acme, reason="a", status="resolved")
        await given.flag(company=acme, reason="b", status="snoozed", snoozed_until=given.ahead(days=1), severity="low")
        await given.flag(reason="c", flag_type="CLOSE_DECISION", source_type="system", severity="critical")
        for filter, found in (
            ({"company_id": acme.id}, ["a", "b"]), ({"status": "open"}, ["c"]), ({"status": "open,resolved"}, ["c", "a"]),
            ({"source_type": "system"}, ["c"]), ({"flag_type": "CLOSE_DECISION"}, ["c"]), ({"severity": "low"}, ["b"]),
        ):  # fmt: skip
            assert await reasons(tx, manager, scope="all", **filter) == found

    async def test_flags_of_a_company_that_is_gone_are_not_listed(self, tx: Tx, given: Given, manager: Caller):
        await given.flag(company=await given.company(deleted_at=given.ago(days=1)))
        assert await reasons(tx, manager, scope="all") == []


class TestRaiseFlag:
    def body(self, company: Any, **fields: Any) -> RaiseFlagIn:
        return RaiseFlagIn.model_validate(
            {"company_id": company.id, "flag_type": "CLOSE_DECISION", "severity": "high", "reason": "They ask", "recommended_action": "Decide"}
            | fields
        )  # fmt: skip

    async def test_is_open_and_a_persons(self, tx: Tx, given: Given, rep: Caller):
        acme = await given.company()
        flag = (await flags.raise_flag(tx, rep, self.body(acme))).flag
        assert (flag.status, flag.owner, flag.source_type, flag.created_by) == ("open", "human", "manual", rep.user_id)

    async def test_refuses_the_product_of_another_company(self, tx: Tx, given: Given, rep: Caller):
        sale = await a_sale(given, await a_process(given))
        for company_product_id in (sale.id, uuid4()):
            with pytest.raises(flags.ProductOfOtherCompany):
                await flags.raise_flag(tx, rep, self.body(await given.company(), company_product_id=company_product_id))

    async def test_refuses_a_colleagues_product(self, tx: Tx, given: Given, rep: Caller, manager: Caller):
        acme, process = await given.company(), await a_process(given)
        sale = await a_sale(given, process, company=acme, owner=await given.user())
        body = self.body(acme, company_product_id=sale.id)
        with pytest.raises(NotYourFlag):
            await flags.raise_flag(tx, rep, body)
        assert (await flags.raise_flag(tx, manager, body)).flag.company_product_id == sale.id

    async def test_refuses_a_company_that_does_not_exist(self, tx: Tx, given: Given, rep: Caller):
        gone = await given.company(deleted_at=given.ago(days=1))
        with pytest.raises(flags.CompanyUnknown):
            await flags.raise_flag(tx, rep, self.body(gone))


class TestWhoMayWrite:
    @pytest.mark.parametrize("deed", ["resolve", "snooze", "unsnooze"])
    async def test_the_owner_managers_and_anybody_while_nobody_owns_it(
        self, tx: Tx, given: Given, rep: Caller, manager: Caller, deed: str
    ):
        process = await a_process(given)
        until = given.ahead(days=1)

        async def do(caller: Caller, owner: Caller | None) -> None:
            sale = await a_sale(given, process, owner=owner)
            flag = await given.flag(
                company=await given.fetch("companies", sale.company_id), company_product_id=sale.id,
                **({"status": "snoozed", "snoozed_until": until} if deed == "unsnooze" else {}),
            )  # fmt: skip
            if deed == "resolve":
                await flags.resolve_flag(tx, caller, flag.id, ResolveFlagIn())
            elif deed == "snooze":
                await flags.snooze_flag(tx, caller, flag.id, SnoozeFlagIn(snooze_until=until))
            else:
                await flags.unsnooze_flag(tx, caller, flag.id)

        with pytest.raises(NotYourFlag):
            await do(rep, await given.user())
        for caller, owner in ((rep, rep), (rep, None), (manager, rep), (SYSTEM, rep)):
            await do(caller, owner)

    async def test_there_is_no_such_flag(self, tx: Tx, rep: Caller):
        with pytest.raises(FlagNotFound):
            await flags.resolve_flag(tx, rep, uuid4(), ResolveFlagIn())


class TestResolveFlag:
    async def test_is_written_beside_the_communication(self, tx: Tx, given: Given, rep: Caller):
        mail = await given.communication(user=rep, company=await given.company())
        flag = await given.flag(communication=mail)
        resolved = (await flags.resolve_flag(tx, rep, flag.id, ResolveFlagIn(resolution_notes="By phone"))).flag
        assert (resolved.status, resolved.resolved_at, resolved.resolved_by, resolved.resolution_notes) == (
            "resolved", tx.now, rep.user_id, "By phone",
        )  # fmt: skip
        assert await tx.many(
            str, "SELECT action_type || ' ' || content || ' ' || attention_flag_id FROM communication_notes"
        ) == [f"resolved_flag By phone {flag.id}"]

    async def test_the_second_time_changes_nothing(self, tx: Tx, given: Given, rep: Caller, manager: Caller):
        flag = await given.flag(communication=await given.communication(user=rep, company=await given.company()))
        first = (await flags.resolve_flag(tx, rep, flag.id, ResolveFlagIn(resolution_notes="One"))).flag
        second = (await flags.resolve_flag(tx, manager, flag.id, ResolveFlagIn(resolution_notes="Two"))).flag
        assert first == second
        assert await tx.one(int, "SELECT count(*) FROM communication_notes") == 1

    async def test_a_source_that_is_no_id_has_no_notes(self, tx: Tx, given: Given, rep: Caller):
        for source_id in ("mailbox 7", str(uuid4())):
            flag = await given.flag(source_type="communication", source_id=source_id)
            assert (await flags.resolve_flag(tx, rep, flag.id, ResolveFlagIn())).flag.status == "resolved"


class TestSnoozeFlag:
    async def test_sleeps_until_its_time_and_wakes_by_itself(self, tx: Tx, given: Given, rep: Caller):
        flag = await given.flag(communication=await given.communication(user=rep, company=await given.company()))
        until = given.ahead(hours=1)
        snoozed = (await flags.snooze_flag(tx, rep, flag.id, SnoozeFlagIn(snooze_until=until, reason="Holiday"))).flag
        assert (snoozed.status, snoozed.snoozed_until, snoozed.snooze_reason) == ("snoozed", until, "Holiday")
        assert await tx.many(str, "SELECT action_type FROM communication_notes") == ["snoozed"]
        assert await flags.wake_snoozed(tx) == 0
        later = Tx(tx.connection, until + timedelta(seconds=1))
        assert (await flags.wake_snoozed(later), await flags.wake_snoozed(later)) == (1, 0)
        woken = await given.fetch("attention_flags", flag.id)
        assert (woken.status, woken.snoozed_until, woken.snooze_reason) == ("open", None, None)

    async def test_refuses_a_resolved_flag_and_the_past(self, tx: Tx, given: Given, rep: Caller):
        flag = await given.flag(status="resolved")
        with pytest.raises(FlagResolved):
            await flags.snooze_flag(tx, rep, flag.id, SnoozeFlagIn(snooze_until=given.ahead(days=1)))
        with pytest.raises(flags.NotLater):
            await flags.snooze_flag(tx, rep, flag.id, SnoozeFlagIn(snooze_until=tx.now))

    def test_refuses_the_end_of_time(self):
        with pytest.raises(ValueError, match="too far ahead"):
            SnoozeFlagIn(snooze_until=datetime(9999, 12, 31, tzinfo=UTC))

    async def test_is_brought_back_by_hand(self, tx: Tx, given: Given, rep: Caller):
        flag = await given.flag(status="snoozed", snoozed_until=given.ahead(days=1), snooze_reason="Later")
        back = (await flags.unsnooze_flag(tx, rep, flag.id)).flag
        assert (back.status, back.snoozed_until, back.snooze_reason) == ("open", None, None)
        with pytest.raises(flags.NotSnoozed):
            await flags.unsnooze_flag(tx, rep, flag.id)
