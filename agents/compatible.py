"""
Any server that speaks OpenAI's chat completions: OpenAI, Azure, vLLM, Ollama, llama.cpp.

One call, one try: whoever calls decides what to do next, from the `kind` of `CallFailed`. LangChain's own retries are
off, and its clients are classic httpx, so that time-outs are ours and tests can stand at the wire.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import openai
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from agents.calls import CallFailed, Form, Reply, Request
from memory.settings import Settings

OPENAI = "https://api.openai.com/v1"
_THEIR_OWN = ("api.openai.com", ".openai.azure.com", ".azure.com")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_REFUSED_FORM = re.compile(
    r"response_format|json_schema|structured output|guided|grammar|tool_choice|tools?\b.{0,40}(support|enabl|allow)"
    r"|function.?call|strict",
    re.IGNORECASE,
)


class Compatible:
    """The clients of one process and one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet; connections are made by the first call."""
        self.base_url = (settings.openai_base_url or OPENAI).rstrip("/")
        self.host = urlsplit(self.base_url).hostname or ""
        self.provider = "openai" if self.host == "api.openai.com" else self.host
        # Servers without a key want none, but the client library insists on something.
        self._key = settings.openai_api_key or SecretStr("none")
        self._timeout = settings.model_timeout_s
        timeout = httpx.Timeout(settings.model_timeout_s, connect=min(10.0, settings.model_timeout_s))
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        self._async_http = httpx.AsyncClient(timeout=timeout, limits=limits)
        self._http = httpx.Client(timeout=timeout)
        self._models: dict[str, ChatOpenAI] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._async_http.aclose()
        self._http.close()

    async def call(self, request: Request) -> Reply:
        """
        Ask once.

        Raises `CallFailed`; with kind `invalid_output` when the answer was cut off or refused by the model.
        """
        try:
            async with asyncio.timeout(self._timeout):
                message = await self._model(request.model).ainvoke(_messages(request), **self._options(request))
        except Exception as failure:
            raise _failed(failure) from failure
        reply = _reply(message, request)
        if refusal := message.additional_kwargs.get("refusal"):
            raise CallFailed("invalid_output", f"the model refused: {str(refusal)[:300]}", reply=reply)
        return reply

    async def stream(self, request: Request) -> AsyncGenerator[Reply, None]:
        """
        Ask once for text, piece by piece; the last piece carries the usage.

        Raises `CallFailed`, also between pieces.
        """
        options = self._options(request)
        try:
            async with asyncio.timeout(self._timeout):
                async for chunk in self._model(request.model).astream(_messages(request), stream_usage=True, **options):
                    yield _piece(chunk)
        except Exception as failure:
            raise _failed(failure) from failure

    def _model(self, name: str) -> ChatOpenAI:
        found = self._models.get(name)
        if found is None:
            found = self._models[name] = ChatOpenAI(
                model=name,
                base_url=self.base_url,
                api_key=self._key,
                http_client=self._http,
                http_async_client=self._async_http,
                timeout=self._timeout,
                max_retries=0,
                use_responses_api=False,
                stream_chunk_timeout=None,
            )
        return found

    def _options(self, request: Request) -> dict[str, Any]:
        options: dict[str, Any] = {"max_tokens": request.max_output_tokens}
        if request.temperature is not None:
            options["temperature"] = request.temperature
        if not self.host.endswith(_THEIR_OWN):
            # Older compatible servers know the limit only by its former name.
            options["extra_body"] = {"max_tokens": request.max_output_tokens}
        if request.schema is not None:
            options |= _form_options(request.schema, request.form)
        return options


# Forms ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=128)
def strict_schema(model: type[BaseModel]) -> tuple[dict[str, Any], bool]:
    """
    Return the model's JSON schema, and whether it is one that strict structured output allows.

    Strict: every object names all its properties and requires them; free-form objects are not possible.
    """
    schema = model.model_json_schema()
    return schema, _tighten(schema)


def _tighten(node: object) -> bool:
    """Make every object of the schema closed and complete, in place; False when one cannot be."""
    if isinstance(node, list):
        return _tighten_all(cast("list[object]", node))
    if not isinstance(node, dict):
        return True
    schema = cast("dict[str, Any]", node)
    schema.pop("default", None)
    strict = True
    if schema.get("type") == "object":
        properties: dict[str, Any] = schema.setdefault("properties", {})
        strict = bool(properties) and schema.get("additionalProperties", False) is False
        if strict:
            schema["additionalProperties"] = False
            schema["required"] = list(properties)
        inside = _tighten_all([*properties.values(), schema.get("$defs", {})])
        return strict and inside
    if "$ref" in schema and len(schema) > 1:
        for key in [key for key in schema if key != "$ref"]:
            del schema[key]  # beside a reference nothing else may stand
    return _tighten_all(list(schema.values()))


def _tighten_all(children: list[Any]) -> bool:
    """Do not stop at the first that is not strict: all of them are changed."""
    verdicts = [_tighten(child) for child in children]
    return all(verdicts)


@lru_cache(maxsize=256)
def _form_options_of(schema: type[BaseModel], form: Form) -> str:
    described, strict = strict_schema(schema)
    name = schema.__name__[:64]
    if form == "schema":
        format_ = {"type": "json_schema", "json_schema": {"name": name, "schema": described, "strict": strict}}
        return json.dumps({"response_format": format_})
    function = {"name": name, "description": "Give the answer.", "parameters": described, "strict": strict}
    choice = {"type": "function", "function": {"name": name}}
    return json.dumps({"tools": [{"type": "function", "function": function}], "tool_choice": choice})


def _form_options(schema: type[BaseModel], form: Form) -> dict[str, Any]:
    return {} if form == "text" else json.loads(_form_options_of(schema, form))


@lru_cache(maxsize=128)
def _schema_in_words(schema: type[BaseModel]) -> str:
    described = json.dumps(strict_schema(schema)[0], ensure_ascii=False)
    return f"Answer with one JSON object and nothing else. It must satisfy this JSON schema:\n{described}"


def _messages(request: Request) -> list[BaseMessage]:
    turns = list(request.turns)
    if request.schema is not None and request.form == "text":
        role, text = turns[0]
        words = _schema_in_words(request.schema)
        turns = [("system", f"{text}\n\n{words}"), *turns[1:]] if role == "system" else [("system", words), *turns]
    kinds: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[role](content=text) for role, text in turns]


# Replies ----------------------------------------------------------------------------------------------------------


def _reply(message: BaseMessage, request: Request) -> Reply:
    text = _text(message)
    if request.schema is not None and isinstance(message, AIMessage):
        text = _arguments(message) or _json_in(text)
    usage: Any = getattr(message, "usage_metadata", None) or {}
    details: Any = usage.get("input_token_details") or {}
    return Reply(text, usage.get("input_tokens", 0), usage.get("output_tokens", 0), details.get("cache_read", 0) or 0)


def _piece(chunk: AIMessageChunk) -> Reply:
    usage: Any = chunk.usage_metadata or {}
    return Reply(_text(chunk), usage.get("input_tokens", 0), usage.get("output_tokens", 0))


def _text(message: BaseMessage) -> str:
    content: Any = message.content
    return content if isinstance(content, str) else str(message.text)


def _arguments(message: AIMessage) -> str:
    if message.tool_calls:
        return json.dumps(message.tool_calls[0]["args"])
    if message.invalid_tool_calls:
        return message.invalid_tool_calls[0]["args"] or ""
    return ""


def _json_in(text: str) -> str:
    """Return the object in a text that may stand in a code block, between other words, or behind thoughts."""
    text = _THOUGHTS.sub("", text)
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


# Failures ---------------------------------------------------------------------------------------------------------


def _failed(failure: Exception) -> CallFailed:
    match failure:
        case TimeoutError() | openai.APITimeoutError() | httpx.TimeoutException():
            return CallFailed("timeout", "no answer in time")
        case openai.APIConnectionError() | httpx.TransportError():
            return CallFailed("unreachable", f"the server cannot be reached: {failure.__cause__ or failure}"[:300])
        case openai.LengthFinishReasonError():
            return CallFailed("invalid_output", "the answer was cut off at the length limit", reply=_usage_of(failure))
        case openai.APIStatusError():
            return _refused(failure)
        case _:
            return CallFailed("server_error", f"{type(failure).__name__}: {failure}"[:300])


def _refused(failure: openai.APIStatusError) -> CallFailed:
    status = failure.status_code
    message = f"{status}: {failure.message}"[:300]
    if status in (408, 504):
        return CallFailed("timeout", message)
    if status == 429 and failure.code != "insufficient_quota":
        return CallFailed("rate_limited", message, retry_after=_retry_after(failure.response.headers))
    if status >= 500:
        return CallFailed("server_error", message, retry_after=_retry_after(failure.response.headers))
    if status in (400, 404, 415, 422) and _REFUSED_FORM.search(failure.message):
        return CallFailed("form_refused", message)
    return CallFailed("refused", message)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _usage_of(failure: openai.LengthFinishReasonError) -> Reply:
    usage = failure.completion.usage
    return Reply("", usage.prompt_tokens, usage.completion_tokens) if usage else Reply("")
