"""
Every setting there is, read once from the environment and `.env`.

Names that other programs know already keep them (DATABASE_URL, OPENAI_API_KEY ...); the rest begins with RAINMAKER_.
Secrets that nobody has set are made once and kept in the data folder, so that a restart does not sign everybody out.
"""

import base64
import os
import secrets
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from memory.errors import Outage

Words = Annotated[tuple[str, ...], NoDecode]
"""Several values, written with commas between them."""


class Misconfigured(Outage):
    """The configuration is not valid: {reason}"""


class Settings(BaseSettings):
    """What the environment says; a field's description is its line in `.env.example`."""

    model_config = SettingsConfigDict(
        env_prefix="RAINMAKER_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    # Where it runs
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every network.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port of API and console.")
    data: Path = Field(
        default=Path(".rainmaker"), description="Folder of the embedded Postgres, the broker and made secrets."
    )
    public_url: str | None = Field(
        default=None, description="Address that people reach this under, when a proxy is between."
    )
    worker_concurrency: int = Field(default=2, ge=1, le=64, description="Worker processes per `python -m api work`.")
    log_format: Literal["console", "json"] = Field(default="console", description="console or json.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error."
    )
    debug: bool = Field(default=False, description="Log SQL and rendered prompts. Not for real customers' data.")

    # What it stands on
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="Postgres >= 15 with pgvector >= 0.8. Empty: an embedded one in the data folder.",
    )
    database_pool: int = Field(default=10, ge=2, le=200, description="Connections per process.")
    broker_url: SecretStr | None = Field(
        default=None,
        validation_alias="CELERY_BROKER_URL",
        description="Redis or RabbitMQ. Empty: a Redis of its own, started with the rest.",
    )
    broker_visibility_s: int = Field(
        default=3600,
        ge=60,
        description="Seconds after which Redis hands a lost worker's job to another; above the longest job.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="OpenTelemetry collector for traces (HTTP). Empty: none.",
    )

    # The model
    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="OPENAI_API_KEY",
        description="Empty (and no base URL): the rules engine answers.",
    )
    openai_base_url: str | None = Field(
        default=None,
        validation_alias="OPENAI_BASE_URL",
        description="Any OpenAI-compatible server: Azure, vLLM, Ollama, llama.cpp. Empty: OpenAI.",
    )
    model_strong: str = Field(default="gpt-4.1", description="Model for judgement.")
    model_cheap: str = Field(default="gpt-4.1-mini", description="Model for sorting and extraction.")
    model_fallback: str | None = Field(
        default=None, description="Model tried when the first one fails, before the rules."
    )
    model_timeout_s: float = Field(default=60.0, gt=0, le=600, description="Seconds a model may take to answer.")
    model_prices: dict[str, tuple[float, float]] = Field(
        default={},
        description='USD per million input and output tokens, over the built-in list; "*" is every other model: {"my-model": [0.5, 1.5]}.',
    )

    # Embeddings
    embedding_engine: Literal["local", "openai", "hashing"] = Field(
        default="local",
        description="local (MiniLM, no network), openai (any compatible server) or hashing (tests only).",
    )
    embedding_model: str = Field(
        default="all-MiniLM-L6-v2", description="Model name; stands beside each stored vector."
    )
    embedding_dimensions: int = Field(default=384, ge=8, le=4000, description="Length of its vectors.")

    # Money: USD; a database row in ai_budgets narrows these
    budget_run_usd: float = Field(default=0.50, ge=0, description="Most that one agent run may cost, in USD.")
    budget_user_day_usd: float = Field(default=5.0, ge=0, description="Most that one user's runs may cost a day.")
    budget_org_day_usd: float = Field(default=50.0, ge=0, description="Most that all runs together may cost a day.")
    budget_soft_ratio: float = Field(default=0.8, gt=0, le=1, description="Share of a budget after which runs wrap up.")

    # Who may come in
    jwt_secret: SecretStr | None = Field(
        default=None,
        description="Signs tokens of `python -m api token`, >= 32 characters. Empty: made in the data folder.",
    )
    jwt_lifetime_h: float = Field(default=12.0, gt=0, le=24 * 366, description="Hours such a token is valid.")
    oidc_issuers: Words = Field(
        default=(), description="Issuers whose tokens are accepted too (Entra ID, Supabase), commas."
    )
    oidc_audience: str | None = Field(default=None, description="Audience those tokens must name.")
    cron_secret: SecretStr | None = Field(
        default=None,
        validation_alias="CRON_SECRET",
        description="Header value for /api/cron/*. Empty: they refuse everybody.",
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="Bearer token that /metrics asks for. Empty: only this machine may read it."
    )
    vault_keys: SecretStr | None = Field(
        default=None,
        description="Key ring for stored credentials: id:base64 of 32 bytes, newest first, commas. Empty: made likewise.",
    )
    prompt_write_roles: Words = Field(default=("admin",), description="Roles that may edit prompts, with commas.")
    cors_origins: Words = Field(default=(), description="Browser origins that may call the API, with commas.")
    rate_limit_per_minute: int = Field(default=600, ge=1, description="Requests per principal and minute.")
    rate_limit_ai_per_minute: int = Field(
        default=60, ge=1, description="Requests that start a model, per principal and minute."
    )
    body_limit_bytes: int = Field(default=10_485_760, ge=1024, description="Largest request body.")

    # Vendors
    microsoft_client_id: str | None = Field(
        default=None, description="App registration that mailboxes are connected through. Empty: no mail is sent."
    )
    microsoft_client_secret: SecretStr | None = Field(default=None, description="Its secret. Empty: a public client.")
    microsoft_tenant: str = Field(
        default="organizations", description="Its tenant: an id, or organizations for every company's."
    )

    @field_validator("oidc_issuers", "prompt_write_roles", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("prompt_write_roles")
    @classmethod
    def _known_roles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - {"rep", "manager", "admin"}:
            raise ValueError(f"there is no role {min(unknown)}")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters")
        return value

    @field_validator("vault_keys")
    @classmethod
    def _key_ring(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_key_ring(value.get_secret_value())
        return value

    @property
    def key_ring(self) -> dict[str, bytes]:
        """The vault's keys by their ids, the one to seal with first."""
        return parse_key_ring(self.vault_keys.get_secret_value()) if self.vault_keys else {}

    @property
    def model_engine(self) -> Literal["openai", "rules"]:
        """Which engine answers when nothing is wrong."""
        return "openai" if self.openai_api_key or self.openai_base_url else "rules"

    @property
    def url(self) -> str:
        """The address that people use."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104 - compared, not bound
        return self.public_url or f"http://{host}:{self.port}"


def parse_key_ring(text: str) -> dict[str, bytes]:
    """
    Return the keys of `id:base64,id:base64` by id.

    Raises `ValueError`.
    """
    ring: dict[str, bytes] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, key = entry.partition(":")
        try:
            ring[name] = base64.b64decode(key, validate=True)
        except ValueError:
            ring[name] = b""
        if not name or len(ring[name]) != 32:
            raise ValueError("each key is an id, a colon and 32 bytes in base64")
    return ring


def read_settings(*, make_secrets: bool = True, **overrides: Any) -> Settings:
    """
    Return the settings of this process; secrets that nobody has set are made unless told otherwise.

    Raises `Misconfigured`.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as failure:
        raise Misconfigured(reason=_reason(failure)) from None
    return _with_made_secrets(settings) if make_secrets else settings


@lru_cache(maxsize=1)
def current() -> Settings:
    """
    Return the settings, read at the first call.

    Raises `Misconfigured`.
    """
    return read_settings()


def variable(field: str) -> str:
    """Return the name of the environment variable that sets this field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"RAINMAKER_{field.upper()}"


def _reason(failure: ValidationError) -> str:
    """Say it without the values: some are secrets."""
    names = {name for field in Settings.model_fields for name in (field, variable(field))}
    said: list[str] = []
    for error in failure.errors(include_url=False, include_input=False, include_context=False):
        field = str(error["loc"][0]) if error["loc"] else ""
        name = variable(field) if field in Settings.model_fields else field
        message = error["msg"].removeprefix("Value error, ")
        said.append(f"{name if field in names else 'settings'}: {message[:1].lower()}{message[1:]}")
    return "; ".join(said) + "."


def _with_made_secrets(settings: Settings) -> Settings:
    missing = [name for name in ("jwt_secret", "vault_keys") if getattr(settings, name) is None]
    if not missing:
        return settings
    try:
        made = _made_secrets(settings.data / "secrets.json")
    except (OSError, ValueError) as failure:
        raise Misconfigured(reason=f"secrets cannot be kept in {settings.data}: {failure}.") from failure
    return settings.model_copy(update={name: SecretStr(made[name]) for name in missing})


def _made_secrets(path: Path) -> dict[str, str]:
    """Return the secrets of the file, made when there is none; whoever makes it first makes it for all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        made = {"jwt_secret": secrets.token_urlsafe(48), "vault_keys": f"k1:{key}"}
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(made))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return orjson.loads(path.read_bytes())
