"""A command is whole or has never been, wherever the database dies under it."""

import pytest

from memory.callers import SYSTEM
from memory.db import Database, RaisedByServer
from tests.given import Given
from tests.memory.crashes import dying_at
from tests.tools.shop import Shop
from tools import lifecycle


class TestCrash:
    async def test_between_any_two_statements_of_a_command_leaves_no_half(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        db = await Database.open(fresh_url, size=2)
        async with db.transaction() as tx:
            shop = await Shop(Given(tx)).open()
        before = after = await held(db)
        nth, died = 0, True
        while died:
            nth += 1
            async with dying_at(nth, fresh_url, monkeypatch) as happened:
                try:
                    async with db.transaction() as tx:
                        await lifecycle.execute(tx, SYSTEM, shop.row.id, shop.start, lifecycle.SetTierIn(tier=1))
                        await tx.enqueue("health.evaluate", key=str(shop.row.id), company_product_id=shop.row.id)
                except RaisedByServer:
                    pass
            died = happened()
            after = await held(db)
            if after != before:
                break
            assert died, "the command that nothing disturbed did nothing"
        assert after == {
            "streams": 3,
            "events": 3,
            "rows": 3,
            "facts": 1,
            "commands": 1,
            "promises": before["promises"] + 1,
        }
        assert nth > 6
        await db.close()


async def held(db: Database) -> dict[str, int]:
    """Count what a command writes; `rows` is how far the read model is."""
    counts = {
        "streams": "SELECT coalesce(sum(version), 0)::int FROM event_streams",
        "events": "SELECT count(*) FROM event_store",
        "rows": "SELECT coalesce(sum(last_event_sequence), 0)::int FROM company_product_read_model",
        "facts": "SELECT count(*) FROM company_product_stage_facts",
        "commands": "SELECT count(*) FROM command_log",
        "promises": "SELECT count(*) FROM outbox",
    }
    async with db.reading() as tx:
        return {name: await tx.one(int, statement) for name, statement in counts.items()}  # pyright: ignore[reportArgumentType]
