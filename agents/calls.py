"""One call of a model: what is asked, what comes back, and in which ways it can fail. Free of any client library."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

Form = Literal["schema", "tool", "text"]
"""How a structured answer is asked for: native JSON schema, a tool call, or JSON in the text."""
FORMS: tuple[Form, ...] = ("schema", "tool", "text")
Role = Literal["system", "user", "assistant"]
Turn = tuple[Role, str]
Kind = Literal["timeout", "rate_limited", "server_error", "unreachable", "form_refused", "refused", "invalid_output"]
RETRIED: tuple[Kind, ...] = ("timeout", "rate_limited", "server_error", "unreachable")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: text (JSON where a form was asked for) and usage, zero where the server did not say."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class CallFailed(Exception):
    """The call gave no answer; `kind` says in what way, `retry_after` how many seconds the server asked for."""

    def __init__(
        self, kind: Kind, message: str, *, retry_after: float | None = None, reply: Reply | None = None
    ) -> None:
        """`reply` is there when the server answered, and was paid, all the same."""
        self.kind: Kind = kind
        self.retry_after = retry_after
        self.reply = reply
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Request:
    """One try; `schema` is None when text is asked for."""

    model: str
    turns: tuple[Turn, ...]
    max_output_tokens: int
    schema: type[BaseModel] | None = None
    form: Form = "schema"
    temperature: float | None = None
