"""Shapes that every noun answers with, and the way bytes that Postgres wrote go out as they are."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from memory.rows import Doc

JSON = (b"content-type", b"application/json")


class Done(BaseModel):
    """It is done; there is nothing to show."""

    success: Literal[True] = True


class Problem(BaseModel):
    """What every refusal and every failure looks like; some refusals put more facts beside it."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="What is wrong, in a sentence.", examples=["Company 7d0f... does not exist."])
    details: list[str] | None = Field(default=None, description="One line per field or cause.")


class DocResponse(Response):
    """JSON text that is ready: no model is built, nothing is validated again."""

    media_type = "application/json"

    def __init__(self, body: bytes, status: int = 200) -> None:
        """Take the bytes as the body; three headers need no normalising."""
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), JSON]


def doc_response(doc: Doc[Any], status: int = 200) -> DocResponse:
    """Answer with a document as it is; the route names its shape with `response_model=`."""
    return DocResponse(doc.body, status)
