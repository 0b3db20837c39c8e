"""A product with its processes, and what one company has of it: where tests of lifecycles start."""

from typing import Any

from tools import lifecycle

SALES = (
    {"name": "Lead", "sla_warning_days": 2, "sla_days": 4},
    "Demo",
    {"name": "Won", "terminal_type": "won"},
    {"name": "Lost", "terminal_type": "lost"},
)
ONBOARDING = ({"name": "Setup", "sla_days": 10}, {"name": "Done", "terminal_type": "completed"})


class Shop:
    """A product with its processes, and one company's row of it."""

    def __init__(self, given: Any) -> None:
        self.given = given

    async def open(self) -> "Shop":
        self.product = await self.given.product("Plan")
        self.sales = await self.given.process(self.product, stages=SALES)
        self.onboarding = await self.given.process(self.product, "onboarding", stages=ONBOARDING)
        self.company = await self.given.company("Acme")
        self.row = await self.given.held(self.product, company=self.company)
        self.me = await self.given.user()
        return self

    @property
    def start(self) -> lifecycle.StartSaleIn:
        return lifecycle.StartSaleIn(processId=self.sales.id)
