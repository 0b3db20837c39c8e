"""
What can be answered instead of a result.

    Refusal                the caller asked for something that is not to be had
    ├── Invalid       400  the request contradicts itself, the rules or the schema
    ├── Unknown       401  who is asking is not known
    ├── Forbidden     403  known, but not allowed
    ├── NotFound      404  it does not exist, or not for this caller
    ├── Conflict      409  the state of the row forbids it
    ├── TooLarge      413  more than is accepted at once
    └── TooMany       429  more often, or dearer, than is allowed
    Outage            503  something this service stands on is not there
    └── BadGateway    502  a vendor answered wrongly

A refusal is defined beside the function that raises it; its docstring is its message.
"""

from typing import Any, ClassVar


class Rendered(Exception):
    """The request was refused."""

    status: ClassVar[int] = 400
    shows: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *details: str, **facts: Any) -> None:
        self.details = list(details)
        self.facts = facts
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The docstring of the class with the facts filled in."""
        return " ".join((type(self).__doc__ or "Refused.").split()).format(**self.facts)

    @property
    def body(self) -> dict[str, Any]:
        """`{error, details?}` and the facts that the class shows, as every door renders it."""
        body: dict[str, Any] = {"error": self.message}
        if self.details:
            body["details"] = self.details
        return body | {name: self.facts[name] for name in self.shows if name in self.facts}


class Refusal(Rendered):
    """The request was refused."""


class Invalid(Refusal):
    """The request is not valid."""

    status = 400


class Unknown(Refusal):
    """Sign in first."""

    status = 401


class Forbidden(Refusal):
    """This is not allowed for your role."""

    status = 403


class NotFound(Refusal):
    """There is no such thing."""

    status = 404


class Conflict(Refusal):
    """The present state does not allow this."""

    status = 409


class TooLarge(Refusal):
    """The request is larger than is accepted."""

    status = 413


class TooMany(Refusal):
    """Too many requests; try again later."""

    status = 429


class Outage(Rendered):
    """A service that this needs is not available now."""

    status = 503


class BadGateway(Outage):
    """A service that this needs answered wrongly."""

    status = 502
