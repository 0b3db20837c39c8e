"""
What happened to customers' products and in their support cases, told by the commands that people would have sent.

Nothing here writes a read model: every stage, amount and case stands in the events, at the moment at which it happened.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Refusal
from tools import cases, lifecycle
from tools.cases import commands as asked
from tools.demo import offers
from tools.demo.accounts import company_product_id
from tools.demo.cast import Cast, Person, id_of
from tools.demo.lives import Life
from tools.demo.material import CaseEntry, ProductEntry
from tools.demo.threads import Message, Thread
from tools.lifecycle import Ask

WON = ("closed_won", "closed_converted")
ONBOARDING: tuple[tuple[str, int], ...] = (("setup", 6), ("training", 28), ("golive", 60))
"""Stages of an onboarding after the kickoff, and the days after the signature at which they are reached."""
RUNNING = timedelta(days=85)
GROWN = timedelta(days=120)
STILL_TALKING = timedelta(days=5)
"""A case whose thread moved within this time is not closed yet."""


@dataclass(frozen=True)
class Step:
    """One command, when, and by whom."""

    at: datetime
    by: str
    ask: Ask


class Chronicle:
    """Tells what deals and threads mean for products and cases."""

    def __init__(self, cast: Cast, lives: Sequence[Life], threads: Sequence[Thread], now: datetime) -> None:
        self.cast = cast
        self.lives = lives
        self.threads = threads
        self.now = now
        self.products = {product.slug: product for product in cast.material.products}

    async def write(self, tx: Tx) -> None:
        """Send every command; the transaction's clock goes with them and is back at its present in the end."""
        present = tx.now
        for (company, slug), lives in self._sales().items():
            for step in sorted(self._steps(slug, lives), key=lambda step: step.at):
                tx.now = step.at
                # A second deal may come to a product that is being introduced already; what it cannot change stays.
                with suppress(Refusal):
                    await lifecycle.execute(tx, self._caller(step.by), company_product_id(company, slug), step.ask)
            await tx.finish()
        for thread in self.threads:
            entry = self.cast.material.cases.get(thread.story.id)
            if entry is not None and thread.company is not None:
                await self._tell_case(tx, thread, entry, thread.company)
                await tx.finish()
        tx.now = present

    def _caller(self, key: str) -> Caller:
        person = self.cast.people[key]
        return Caller(person.user_id, "manager", person.name, person.email)

    # Products -------------------------------------------------------------------------------------------------------

    def _sales(self) -> dict[tuple[str, str], list[Life]]:
        """Return the deals about each company's product, oldest first."""
        found: dict[tuple[str, str], list[Life]] = defaultdict(list)
        for life in sorted(self.lives, key=lambda life: life.created_at):
            for slug in life.deal.entry.products:
                found[life.deal.entry.co, slug].append(life)
        return found

    def _steps(self, slug: str, lives: Sequence[Life]) -> Iterator[Step]:
        owned = False
        for life in lives:
            if owned:
                yield from self._grow(slug, life)
            else:
                yield from self._sell(slug, life)
                if life.deal.entry.stage in WON:
                    owned = True
                    yield from self._introduce(slug, life)

    def _sell(self, slug: str, life: Life) -> Iterator[Step]:
        """A sale from its first stage to where it stands, with the amounts once it is won."""
        owner = life.deal.owner
        began = life.created_at
        yield Step(began, owner, lifecycle.StartSaleIn(processId=offers.process_id(slug, "sales")))
        yield Step(began + timedelta(minutes=1), owner, lifecycle.SetOwnerIn(ownerId=_user(self.cast.people[owner])))
        yield Step(began + timedelta(minutes=2), owner, lifecycle.SetTierIn(tier=self._tier(life)))
        for stage, at in life.entered[1:]:
            mapped = self.cast.material.stage_of.get(stage)
            if mapped is not None:
                yield Step(at, owner, lifecycle.AdvanceStageIn(toStageId=offers.stage_id(slug, "sales", mapped)))
        stage, at = life.entered[-1]
        if stage in WON:
            yield Step(at, owner, lifecycle.SetMrrIn(mrr=self._monthly(slug, life)))
            yield Step(at, owner, lifecycle.SetSeatsIn(seats=life.deal.entry.seats))
            yield Step(at + timedelta(minutes=1), owner, lifecycle.CompleteSaleStartOnboardingIn(notes=life.deal.name))
        elif stage == "closed_lost":
            yield Step(at, owner, lifecycle.CloseSaleIn(outcome="lost", reason=self._reason(life)))
        else:
            yield from self._follow_up(life)

    def _follow_up(self, life: Life) -> Iterator[Step]:
        """What is to be done next in an open sale; a new lead has nothing yet."""
        entry = life.deal.entry
        if entry.stage == "new_lead":
            return
        choices = self.cast.material.next_steps[entry.mood]
        text, days = choices[sum(map(ord, life.deal.key)) % len(choices)]
        due = self.now + timedelta(days=days)
        yield Step(
            min(life.last_at, due - timedelta(days=1)),
            life.deal.owner,
            lifecycle.SetNextStepDueIn(nextStep=text, dueDate=due),
        )

    def _introduce(self, slug: str, life: Life) -> Iterator[Step]:
        """The onboarding after the signature, as far as it has come, and the care after that."""
        signed, lead = life.entered[-1][1] + timedelta(hours=3), "carla"
        plan: list[tuple[timedelta, Ask]] = []
        if "onboarding" in self.cast.material.offered[slug]:
            plan += [
                (timedelta(days=days), lifecycle.AdvanceStageIn(toStageId=offers.stage_id(slug, "onboarding", stage)))
                for stage, days in ONBOARDING
            ]
            plan.append((RUNNING, lifecycle.CompleteOnboardingStartEngagementIn()))
        else:
            plan.append((RUNNING, lifecycle.SetPhaseIn(toPhase="active", reason="In use")))
        if "engagement" in self.cast.material.offered[slug]:
            plan.append((GROWN, lifecycle.AdvanceStageIn(toStageId=offers.stage_id(slug, "engagement", "growth"))))
        for after, ask in plan:
            if signed + after < self.now:
                yield Step(signed + after, lead, ask)

    def _grow(self, slug: str, life: Life) -> Iterator[Step]:
        """A later deal about a product that they have: more seats and a higher amount when it is won."""
        stage, at = life.entered[-1]
        if stage in WON and life.deal.entry.type != "renewal":
            seats = life.deal.entry.seats
            yield Step(at + timedelta(minutes=3), life.deal.owner, lifecycle.SetSeatsIn(seats=seats * 2))
            yield Step(
                at + timedelta(minutes=4), life.deal.owner, lifecycle.SetMrrIn(mrr=self._monthly(slug, life) * 2)
            )

    def _monthly(self, slug: str, life: Life) -> Decimal:
        product: ProductEntry = self.products[slug]
        return Decimal(str(product.monthly)) * (life.deal.entry.seats if product.pricing == "per_seat" else 1)

    def _tier(self, life: Life) -> int:
        segment = self.cast.companies[life.deal.entry.co].segment
        return {"enterprise": 1, "mid_market": 2}.get(segment, 3)

    @staticmethod
    def _reason(life: Life) -> str:
        return next((thread.story.reason for thread in reversed(life.threads) if thread.story.reason), "No decision")

    # Cases ----------------------------------------------------------------------------------------------------------

    async def _tell_case(self, tx: Tx, thread: Thread, entry: CaseEntry, company: str) -> None:
        """A thread with the desk as a case: what they wrote, what we answered, and what came of it."""
        first, me = thread.messages[0], self._caller("carla")
        writer = next((message.sender for message in thread.messages if not message.sender.is_ours), first.to)
        tx.now = first.at
        opened = await cases.open_case(tx, me, self._opening(thread, entry, company, writer))
        await self._ask(
            tx, opened.caseId, asked.AssignCaseIn(command="assign", owner_id=_user(self.cast.people["carla"]))
        )
        for message in thread.messages[1:]:
            tx.now = message.at
            await self._ask(tx, opened.caseId, _spoken(message))
        last = thread.messages[-1].at
        if self.now - last > STILL_TALKING:
            tx.now = last + timedelta(minutes=20)
            await self._ask(tx, opened.caseId, asked.ResolveCaseIn(command="resolve", resolution_summary=entry.done))
            tx.now = min(tx.now + timedelta(days=2), self.now)
            await self._ask(tx, opened.caseId, asked.CloseCaseIn(command="close", close_reason="resolved"))
        elif entry.severity in ("urgent", "critical"):
            tx.now = last + timedelta(minutes=2)
            escalate = asked.EscalateCaseIn(
                command="escalate", reason="They wait and say so", escalated_to_team="Operations"
            )
            await self._ask(tx, opened.caseId, escalate)

    def _opening(self, thread: Thread, entry: CaseEntry, company: str, writer: Person) -> asked.CreateCaseIn:
        first = thread.messages[0]
        main = next(
            (deal.products[0] for deal in self.cast.material.deals if deal.co == company and deal.stage in WON), None
        )
        return asked.CreateCaseIn(
            company_id=id_of("company", company),
            company_product_id=company_product_id(company, main) if main else None,
            title=first.subject,
            severity=entry.severity,
            category=entry.category,
            source="email",
            external_id=thread.key,
            contact_id=writer.contact_id,
        )

    async def _ask(self, tx: Tx, case_id: UUID, command: asked.Command) -> None:
        await cases.execute(tx, self._caller("carla"), case_id, command)


def _spoken(message: Message) -> asked.Command:
    channel = "phone" if message.channel in ("call", "meeting") else "email"
    said = message.letter.text[:200] or None
    if message.sender.is_ours:
        return asked.LogResponseIn(command="log_response", channel=channel, content_preview=said)
    return asked.LogMessageIn(
        command="log_message", channel=channel, content_preview=said, sender_email=message.sender.email,
        sender_name=message.sender.name, received_at=message.at,
    )  # fmt: skip


def _user(person: Person) -> UUID:
    assert person.user_id is not None
    return person.user_id
