"""What must hold of a version before it may answer: each check by name, with what it found."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

from memory.errors import Invalid
from memory.rows import Row
from prompts import registry

Name = Literal[
    "words_parse", "variables_declared", "variables_offered", "material_apart", "sample_renders", "schema_parses",
    "inputs_read", "schema_fits", "model_known",
]  # fmt: skip
OUR_PROVIDERS = (None, "openai")


class TemplateBroken(Invalid):
    """The template is not valid: {reason}."""


@dataclass(frozen=True)
class Offer:
    """
    What code puts into a prompt of this key.

    `sample` is an example of every value, `untrusted` names those that other people wrote, `answer` the fields of the
    answer. The door sets values in as they stand in `sample`.
    """

    sample: Mapping[str, str]
    untrusted: frozenset[str] = frozenset()
    answer: frozenset[str] = field(default_factory=frozenset[str])


class Check(Row):
    """What one check found; a version that fails a `blocking` one cannot be released, whoever asks."""

    name: Name
    passed: bool
    blocking: bool
    detail: str


class Checkable(Protocol):
    """The words of a version."""

    @property
    def variables(self) -> Sequence[str]: ...
    @property
    def prompt_template(self) -> str: ...
    @property
    def system_template(self) -> str | None: ...
    @property
    def schema_template(self) -> str | None: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def fallback_provider(self) -> str | None: ...


def check_words(prompt: str, system: str | None, schema: str | None, declared: Iterable[str] | None) -> list[str]:
    """
    Return the variables that the words use.

    Raises `TemplateBroken` when they do not parse, differ from what was declared, or the schema is no JSON object.
    """
    try:
        used = registry.variables(prompt) | registry.variables(system or "")
    except registry.PromptError as failure:
        raise TemplateBroken(reason=str(failure)) from failure
    if declared is not None and (unlike := frozenset(declared) ^ used):
        raise TemplateBroken(reason=f"declared and used variables differ: {', '.join(sorted(unlike))}")
    if schema and (wrong := schema_problem(schema)):
        raise TemplateBroken(reason=wrong)
    return sorted(used)


def schema_problem(schema: str) -> str | None:
    """Return what is wrong with a schema; None when it is a JSON object."""
    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError) as failure:
        return f"the schema is not JSON: {failure}"
    return None if isinstance(parsed, dict) else "the schema is not a JSON object"


def check_version(version: Checkable, offer: Offer | None) -> list[Check]:
    """Return what every check finds; without an `offer` nobody asks for the key, and only the words are looked at."""
    try:
        system, user = registry.variables(version.system_template or ""), registry.variables(version.prompt_template)
    except registry.PromptError as failure:
        return [_check("words_parse", f"They do not parse: {failure}.", passed=False)]
    checks = [
        _check("words_parse", "Words and variables, nothing else."),
        _declared(version.variables, system | user),
        _schema_parses(version.schema_template),
        _model_known(version),
    ]
    if offer is None:
        said = "No agent asks for this key, so there is nothing to hold the variables against."
        return [*checks, _check("variables_offered", said)]
    return [
        *checks,
        _offered(system | user, offer),
        _material_apart(system, offer),
        _sample_renders(version, offer),
        _inputs_read(system | user, offer),
        *_schema_fits(version.schema_template, offer),
    ]


def blocked(checks: Iterable[Check]) -> list[Check]:
    """Return the checks that stand in the way of a release."""
    return [check for check in checks if check.blocking and not check.passed]


def _check(name: Name, detail: str, *, passed: bool = True, blocking: bool = True) -> Check:
    return Check(name=name, passed=passed, blocking=blocking, detail=detail)


def _declared(declared: Sequence[str], used: frozenset[str]) -> Check:
    if unlike := sorted(frozenset(declared) ^ used):
        return _check("variables_declared", f"Declared and used variables differ: {', '.join(unlike)}.", passed=False)
    return _check("variables_declared", f"Declared and used: {', '.join(sorted(used)) or 'none'}.")


def _offered(used: frozenset[str], offer: Offer) -> Check:
    if strange := sorted(used - offer.sample.keys()):
        said = (
            f"The agent has nothing for {', '.join(strange)}; it offers {', '.join(sorted(offer.sample)) or 'nothing'}."
        )
        return _check("variables_offered", said, passed=False)
    return _check("variables_offered", "The agent has a value for every variable.")


def _material_apart(system: frozenset[str], offer: Offer) -> Check:
    """What outsiders wrote has no place where the model takes its orders from."""
    if inside := sorted(system & offer.untrusted):
        said = f"Other people's words stand in the system message: {', '.join(inside)}."
        return _check("material_apart", said, passed=False)
    return _check("material_apart", "The system message holds no words of other people.")


def _sample_renders(version: Checkable, offer: Offer) -> Check:
    try:
        user = registry.render(version.prompt_template, offer.sample)
        system = registry.render(version.system_template or "", offer.sample)
    except registry.PromptError as failure:
        return _check("sample_renders", f"The sample does not render: {failure}.", passed=False)
    if not user.strip() and offer.sample:
        return _check("sample_renders", "With the sample put in, nothing is left to say.", passed=False)
    return _check("sample_renders", f"The sample renders to {len(system) + len(user):,} characters.")


def _schema_parses(schema: str | None) -> Check:
    if not schema:
        return _check("schema_parses", "There is none; the answer has the agent's own form.")
    wrong = schema_problem(schema)
    return _check("schema_parses", f"{(wrong or 'it is a JSON object')[:300].capitalize()}.", passed=wrong is None)


def _inputs_read(used: frozenset[str], offer: Offer) -> Check:
    left = sorted(offer.sample.keys() - used)
    if not left:
        return _check("inputs_read", "Everything that the agent offers is read.", blocking=False)
    unread = [name for name in left if name in offer.untrusted]
    said = f"Not read: {', '.join(left)}."
    return _check("inputs_read", said, passed=not unread, blocking=False)


def _schema_fits(schema: str | None, offer: Offer) -> list[Check]:
    if not schema or schema_problem(schema) or not offer.answer:
        return []
    properties: Any = json.loads(schema).get("properties")
    named = set(cast("dict[str, Any]", properties)) if isinstance(properties, dict) else set[str]()
    if strange := sorted(named - offer.answer):
        said = f"The agent's answer has no field {', '.join(strange)}; its own form is what is asked for."
        return [_check("schema_fits", said, passed=False, blocking=False)]
    return [_check("schema_fits", "Its fields are fields of the agent's answer.", blocking=False)]


def _model_known(version: Checkable) -> Check:
    foreign = sorted(
        {name for name in (version.provider, version.fallback_provider) if name not in OUR_PROVIDERS and name}
    )
    if foreign:
        said = f"No engine here asks {', '.join(foreign)}: the deployment's model answers."
        return _check("model_known", said, passed=False, blocking=False)
    return _check("model_known", "The version's model settings are followed.", blocking=False)
