"""Shapes that cross the floors: rows that come out, inputs that go in, documents that Postgres wrote."""

from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, PlainSerializer, TypeAdapter, model_validator

T = TypeVar("T")
NUL = "\x00"
Money = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]
"""An amount in the workspace's currency: numeric in Postgres, exact in Python, a number in JSON."""


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return NUL in value
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in cast("dict[Any, Any]", value).items())
    if isinstance(value, list | tuple):
        return any(map(_holds_nul, cast("list[Any]", value)))
    return False


class Row(BaseModel):
    """What a SELECT gives, and what a route answers."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Named(Row):
    """A row named beside another."""

    id: UUID
    name: str


class In(BaseModel):
    """A body, a filter, the arguments of a tool or the payload of a job: nothing unknown, nothing unprintable."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _refuses_nul(cls, data: Any) -> Any:
        if _holds_nul(data):
            raise ValueError("a NUL byte is not allowed in text")
        return data


class Doc(Generic[T]):
    """JSON text that Postgres built in one query; `model` documents its shape and can parse it."""

    __slots__ = ("body", "model")

    def __init__(self, model: type[T], body: bytes) -> None:
        self.model = model
        self.body = body

    def parse(self) -> T:
        """Return the document as its model."""
        return TypeAdapter(self.model).validate_json(self.body)
