"""A letter leaves once, also when its sender is killed between any two steps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from memory.db import Tx
from tests.tools.desk import Desk
from tools import outbound
from tools.outbound import MailUnderway, OutcomeUnknown, SendMailIn


class Killed(BaseException):
    """The process ended here: nothing after this line ran."""


class Fate:
    """Kills at the nth of all moments between two steps: before and after every commit and every request."""

    def __init__(self, desk: Desk, at: int) -> None:
        self.left = at
        self.desk = desk
        desk.exchange.before = desk.exchange.after = lambda _: self.step()

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

    def begin(self) -> AbstractAsyncContextManager[Tx]:
        @asynccontextmanager
        async def transaction() -> AsyncIterator[Tx]:
            self.step()
            async with self.desk.db.transaction() as tx:
                yield tx
            self.step()

        return transaction()

    def spare(self) -> None:
        self.desk.exchange.before = self.desk.exchange.after = lambda _: None


MOMENTS = 14
"""Moments of one letter that nothing happens to, the token's apart; a test below counts them."""


async def die(desk: Desk, letter: SendMailIn, at: int, act: Callable[[Fate], Any]) -> bool:
    """Carry on until the nth moment; tell whether it came to that."""
    fate = Fate(desk, at)
    try:
        await act(fate)
    except Killed:
        return True
    finally:
        fate.spare()
    return False


class TestKilled:
    async def test_moments_are_counted_rightly(self, desk: Desk):
        await desk.send(desk.letter("First."))  # and the token is known from here on
        fate = Fate(desk, 10_000)
        await desk.send(desk.letter(), begin=fate.begin)
        assert 10_000 - fate.left == MOMENTS

    @pytest.mark.parametrize("again", ["job", "click", "both"])
    async def test_between_any_two_steps_it_is_one_mail(self, desk: Desk, again: str):
        await desk.send(desk.letter("First."))
        for at in range(1, MOMENTS + 1):
            letter = desk.letter(f"Killed at {at}.")
            assert await die(desk, letter, at, lambda fate, letter=letter: desk.send(letter, begin=fate.begin))
            if again in {"job", "both"}:
                await desk.later()
            if again in {"click", "both"} or at == 1:  # at 1 nothing was promised yet
                await self._click(desk, letter)
            await self._assert_once(desk, letter)

    async def test_twice_in_a_row_it_is_one_mail(self, desk: Desk):
        await desk.send(desk.letter("First."))
        for first in range(2, MOMENTS + 1):
            for second in range(1, MOMENTS + 8, 3):
                letter = desk.letter(f"Killed at {first}, then at {second}.")
                await die(desk, letter, first, lambda fate, letter=letter: desk.send(letter, begin=fate.begin))
                key = (await desk.effect(letter)).key
                await self._expire(desk)
                await die(
                    desk, letter, second, lambda fate, key=key: outbound.resume_mail(fate.begin, desk.mailboxes, key)
                )
                await self._expire(desk)
                await outbound.resume_mail(desk.db.transaction, desk.mailboxes, key)
                await self._assert_once(desk, letter)

    @staticmethod
    async def _expire(desk: Desk) -> None:
        async with desk.db.transaction() as tx:
            await tx.run("UPDATE effects SET lease_until = clock_timestamp() - interval '1 second'")

    async def _click(self, desk: Desk, letter: SendMailIn) -> None:
        """Click again until it is sent, as people do; time passes between the clicks."""
        for _ in range(3):
            await self._expire(desk)
            try:
                await desk.send(letter)
            except (MailUnderway, OutcomeUnknown):
                await desk.later()
            else:
                return

    async def _assert_once(self, desk: Desk, letter: SendMailIn) -> None:
        sent = [message for message in desk.exchange.sent if letter.body in message["body"]["content"]]
        assert len(sent) == 1, letter.body
        assert await desk.many(
            "SELECT count(*) FROM communications WHERE full_content = %(body)s", body=letter.body
        ) == [1]
        assert (await desk.effect(letter)).status == "confirmed"
        left = [
            one for one in desk.exchange.messages.values() if one["isDraft"] and letter.body in one["body"]["content"]
        ]
        assert left == [], "no draft is left lying about"


class TestTakeOver:
    async def test_a_worker_that_sleeps_through_its_lease_sends_nothing(self, desk: Desk):
        """It wakes up with a draft in its hand, after another has sent the letter."""
        async with desk.db.transaction() as tx:
            effect = await outbound.promise_mail(tx, desk.rep, desk.letter(), waited_for=True)
        asleep, awake = asyncio.Event(), asyncio.Event()
        turns = 0

        @asynccontextmanager
        async def slow() -> AsyncIterator[Tx]:
            nonlocal turns
            turns += 1
            if turns == 2:  # about to say that the draft leaves
                asleep.set()
                await awake.wait()
            async with desk.db.transaction() as tx:
                yield tx

        sleeper = asyncio.create_task(outbound.deliver(slow, desk.mailboxes, effect))
        await asleep.wait()
        async with desk.db.transaction() as tx:
            await tx.run("UPDATE effects SET lease_until = %(past)s", past=tx.now - timedelta(minutes=1))
        assert (await outbound.resume_mail(desk.db.transaction, desk.mailboxes, effect.key)) is not None
        awake.set()
        with pytest.raises(MailUnderway):
            await sleeper
        assert len(desk.exchange.sent) == 1
        assert (await desk.effect(desk.letter())).status == "confirmed"
