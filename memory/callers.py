"""Who is asking: a person, a job or an agent, and what of the workspace they may see."""

from dataclasses import dataclass, replace
from typing import Literal, Self
from uuid import UUID

Role = Literal["rep", "manager", "admin"]
Kind = Literal["user", "system", "ai"]


@dataclass(frozen=True, slots=True)
class Caller:
    """
    One principal. `user_id` is the row in `users`; `auth_id` is the subject at the issuer.

    An agent acts with the rights of the person it works for: `kind` is `ai` and `run_id` is its evidence.
    """

    user_id: UUID | None
    role: Role
    name: str = ""
    email: str = ""
    auth_id: str = ""
    kind: Kind = "user"
    run_id: UUID | None = None

    @property
    def sees_all(self) -> bool:
        """Whether rows of other people are visible: managers, admins and the service itself."""
        return self.kind == "system" or self.role in ("manager", "admin")

    @property
    def scope(self) -> UUID | None:
        """The owner whose rows are visible; `None` means everybody's."""
        return None if self.sees_all else self.user_id

    def for_run(self, run_id: UUID) -> Self:
        """Return this caller as the agent of one run, with the same rights."""
        return replace(self, kind="ai", run_id=run_id)


SYSTEM = Caller(user_id=None, role="admin", name="system", kind="system")
