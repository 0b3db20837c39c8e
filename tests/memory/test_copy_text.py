"""COPY of ready text: whatever a text holds arrives as it is."""

import pytest

from memory.db import NULL, Tx

ODD = ["plain", "a\tb", "a\nb\r\nc\r", "back\\slash \\N \\. \\t", "quote ' \"", "", "é 日本 🎉", "\\"]


async def store(tx: Tx, texts: list[str]) -> list[tuple[int, str]]:
    await tx.run("CREATE TEMP TABLE shelf (place int, body text, other text NOT NULL)")
    await tx.copy_text("shelf", ("place", "body", "other"), [(str(n), text, "x") for n, text in enumerate(texts)])
    found = await tx.many(str, "SELECT coalesce('=' || body, 'null') || '|' || other FROM shelf ORDER BY place")
    return list(enumerate(found))


class TestCopyText:
    async def test_keeps_every_text(self, tx):
        assert await store(tx, ODD) == [(n, f"={text}|x") for n, text in enumerate(ODD)]

    async def test_writes_null(self, tx):
        assert await store(tx, [NULL, "null"]) == [(0, "null|x"), (1, "=null|x")]

    @pytest.mark.parametrize("mark", ["\x1d", "\x1f", "\x1f\x1d"])
    async def test_keeps_text_that_holds_its_own_separators(self, tx, mark):
        odd = [f"a{mark}b", *ODD, NULL]
        assert await store(tx, odd) == [
            *((n, f"={text}|x") for n, text in enumerate(odd[:-1])),
            (len(odd) - 1, "null|x"),
        ]
