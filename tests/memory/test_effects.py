"""The effect ledger: once is once, under concurrency and after a crash."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from memory import effects
from memory.db import Database, Tx
from memory.effects import EffectElsewhere, EffectRow, NotReserved, OtherContent

HASH = effects.hash_content("send", {"to": "ann@their.example"})


async def expire(tx: Tx) -> None:
    await tx.run("UPDATE effects SET lease_until = clock_timestamp() - interval '1 s'")


async def reserve(tx: Tx, key: str = "mail:1", content: str = HASH) -> EffectRow:
    return await effects.reserve(tx, key, "mail", content, request={"to": "ann@their.example"})


class TestOnce:
    async def test_goes_on_the_first_time_and_remembers(self, tx: Tx) -> None:
        assert await effects.once(tx, "run:note") is None
        await effects.keep(tx, "run:note", {"id": "7"})
        assert await effects.once(tx, "run:note") == {"id": "7"}

    async def test_without_a_result_it_is_done_all_the_same(self, tx: Tx) -> None:
        assert await effects.once(tx, "run:note") is None
        assert await effects.once(tx, "run:note") == {}

    async def test_what_was_undone_is_not_done(self, db: Database) -> None:
        async def break_off() -> None:
            async with db.transaction() as tx:
                assert await effects.once(tx, "b") is None
                raise InterruptedError

        with pytest.raises(InterruptedError):
            await break_off()
        async with db.transaction() as tx:
            assert await effects.once(tx, "b") is None

    async def test_of_many_at_once_one_goes_on(self, db: Database) -> None:
        async def attempt(number: int) -> dict[str, Any] | None:
            async with db.transaction() as tx:
                done = await effects.once(tx, "race")
                if done is None:
                    await asyncio.sleep(0.01)
                    await effects.keep(tx, "race", {"by": number})
                return done

        found = await asyncio.gather(*(attempt(number) for number in range(8)))
        assert found.count(None) == 1
        assert {str(done) for done in found if done is not None} == {str({"by": found.index(None)})}


class TestReserve:
    async def test_then_send_then_confirm(self, tx: Tx) -> None:
        effect = await reserve(tx)
        assert (effect.status, effect.attempts, effect.request) == ("reserved", 1, {"to": "ann@their.example"})
        await effects.mark_sent(tx, effect)
        settled = await effects.settle(tx, effect, "confirmed", result={"id": "m1"})
        assert (settled.status, settled.result) == ("confirmed", {"id": "m1"})
        assert (await reserve(tx)).status == "confirmed"

    async def test_refuses_while_somebody_else_is_at_it(self, tx: Tx) -> None:
        await reserve(tx)
        with pytest.raises(EffectElsewhere):
            await reserve(tx)

    async def test_refuses_other_content_under_the_same_key(self, tx: Tx) -> None:
        await reserve(tx)
        with pytest.raises(OtherContent):
            await reserve(tx, content=effects.hash_content("send", {"to": "eve@evil.example"}))

    async def test_takes_over_what_was_never_sent(self, tx: Tx) -> None:
        first = await reserve(tx)
        await expire(tx)
        second = await reserve(tx)
        assert (second.status, second.attempts) == ("reserved", 2)
        with pytest.raises(NotReserved):
            await effects.mark_sent(tx, first)
        with pytest.raises(NotReserved):
            await effects.settle(tx, first, "confirmed")

    async def test_what_failed_may_be_tried_again(self, tx: Tx) -> None:
        effect = await reserve(tx)
        await effects.mark_sent(tx, effect)
        await effects.settle(tx, effect, "failed", error="refused")
        assert (await reserve(tx)).attempts == 2

    async def test_what_may_have_happened_is_never_repeated(self, tx: Tx) -> None:
        effect = await reserve(tx)
        await effects.mark_sent(tx, effect)
        assert await effects.doubt_stale(tx) == 0
        await expire(tx)
        assert (await reserve(tx)).status == "sent"
        assert await effects.doubt_stale(tx) == 1
        found = await effects.find_effect(tx, "mail:1")
        assert found is not None
        assert (found.status, found.error) == ("unknown", "the process ended while the act was under way")
        assert (await reserve(tx)).status == "unknown"

    async def test_of_many_at_once_one_has_it(self, db: Database) -> None:
        async def attempt() -> str:
            async with db.transaction() as tx:
                try:
                    return (await reserve(tx)).status
                except EffectElsewhere:
                    return "elsewhere"

        found = await asyncio.gather(*(attempt() for _ in range(8)))
        assert sorted(found) == ["elsewhere"] * 7 + ["reserved"]


class TestHashContent:
    def test_is_about_content_and_not_about_order(self) -> None:
        assert effects.hash_content("a", {"x": 1, "y": 2}) == effects.hash_content("a", {"y": 2, "x": 1})
        assert effects.hash_content("a", {"x": 1}) != effects.hash_content("a", {"x": 2})
        assert effects.hash_content("a", timedelta(1)) == effects.hash_content("a", timedelta(1))
