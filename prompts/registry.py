"""
Prompts as files: `<agent>/<purpose>.vN.md`, front matter, then the words.

    ---
    key: deal_summary
    description: What somebody who takes over the deal must know.
    tier: strong
    category: summaries
    inputs: [dealInfo, companyInfo]
    output: DealSummary
    changed: First version.
    ---
    === system ===
    You prepare ...
    === user ===
    The deal:
    {{ dealInfo }}

Beside the files of a purpose, `<purpose>.sample.yaml` holds an example of every input, for previews.

`{{ name }}` is all there is: no filters, no conditions, no loops. Values are put in once and never read again as a
template. `active.toml` says which version of a key is the shipped one; older files stay as its history.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.sandbox import SandboxedEnvironment

FOLDER = Path(__file__).parent
SYSTEM = "core_system"
CATEGORIES = (
    "general", "meetings", "email", "communications", "scheduler", "intelligence", "summaries", "command_center",
)  # fmt: skip
_FILE = re.compile(r"^(?P<name>[a-z0-9_]+)\.v(?P<version>[1-9][0-9]{0,3})\.md$")
_KEY = re.compile(r"^[a-z][a-z0-9_]{1,79}$")
_FRONT = re.compile(r"\A---\n(?P<front>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_PART = re.compile(r"^=== (?P<part>system|user) ===[ \t]*$", re.MULTILINE)
_FIELDS = {"key", "description", "tier", "category", "inputs", "output", "changed"}
_environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


class PromptError(Exception):
    """A prompt is not what it should be."""


class PromptBroken(PromptError):
    """A prompt's file or template is not valid."""


class PromptMissing(PromptError):
    """There is no prompt of this key."""


class VariablesMissing(PromptError):
    """A prompt was rendered without a value it needs, or with one it does not know."""


@dataclass(frozen=True)
class Prompt:
    """
    One version of a prompt. `system` is empty when the default system message is meant.

    The settings at the end belong to versions kept in the database; None means what the deployment configures.
    """

    key: str
    version: int
    user: str
    system: str = ""
    source: Literal["file", "database"] = "file"
    description: str = ""
    tier: Literal["strong", "cheap"] = "cheap"
    category: str = "general"
    inputs: tuple[str, ...] = ()
    output: str = ""
    changed: str = ""
    folder: str = ""
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    fallback_model: str | None = None

    @property
    def variables(self) -> frozenset[str]:
        """The names that the words ask for."""
        return variables(self.system) | variables(self.user)

    def render(self, values: Mapping[str, str]) -> tuple[str, str]:
        """
        Return system and user message with the values put in.

        Raises `VariablesMissing`; values that these words do not use are left out.
        """
        if missing := sorted(self.variables - values.keys()):
            raise VariablesMissing(f"{self.key} v{self.version} needs {', '.join(missing)}")
        return render(self.system, values), render(self.user, values)


@dataclass(frozen=True)
class Shelf:
    """Every prompt file: the shipped version of each key, and all versions there are."""

    active: Mapping[str, Prompt]
    versions: Mapping[str, Sequence[Prompt]] = field(default_factory=dict[str, Sequence[Prompt]])

    def find(self, *keys: str) -> Prompt | None:
        """Return the shipped prompt of the first key that has one."""
        return next((self.active[key] for key in keys if key in self.active), None)

    def get(self, *keys: str) -> Prompt:
        """
        Return the shipped prompt of the first key that has one.

        Raises `PromptMissing`.
        """
        found = self.find(*keys)
        if found is None:
            raise PromptMissing(f"there is no prompt {' or '.join(keys)}")
        return found

    @property
    def system(self) -> Prompt:
        """The default system message."""
        return self.get(SYSTEM)


# Templates --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def variables(template: str) -> frozenset[str]:
    """
    Return the names in a template.

    Raises `PromptBroken` when it holds anything but words and `{{ name }}`.
    """
    try:
        tree = _environment.parse(template)
    except TemplateError as failure:
        raise PromptBroken(str(failure)) from failure
    if "{#" in template:
        raise PromptBroken("a template has no comments")
    if "{%" in template:
        raise PromptBroken("a template is words and {{ name }}, nothing else")
    names: set[str] = set()
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            raise PromptBroken(f"line {node.lineno}: a template is words and {{{{ name }}}}, nothing else")
        for part in node.nodes:
            if isinstance(part, nodes.Name):
                names.add(part.name)
            elif not isinstance(part, nodes.TemplateData):
                raise PromptBroken(f"line {part.lineno}: only a name may stand between the braces")
    return frozenset(names)


@lru_cache(maxsize=512)
def _compiled(template: str) -> Any:
    variables(template)
    return _environment.from_string(template)


def render(template: str, values: Mapping[str, str]) -> str:
    """
    Return the template with its names replaced, in one pass.

    Raises `PromptBroken`, `VariablesMissing`.
    """
    if not template:
        return ""
    try:
        return str(_compiled(template).render(values))
    except TemplateError as failure:
        raise VariablesMissing(str(failure)) from failure


# Files ------------------------------------------------------------------------------------------------------------


def read_prompt(path: Path, folder: Path = FOLDER) -> Prompt:
    """
    Return the prompt of one file.

    Raises `PromptBroken`, naming the file.
    """
    place = path.relative_to(folder).as_posix()
    try:
        return _read(path, folder)
    except (PromptError, yaml.YAMLError, UnicodeDecodeError) as failure:
        raise PromptBroken(f"{place}: {failure}") from failure


def _read(path: Path, folder: Path) -> Prompt:
    name = _FILE.match(path.name)
    parts = _FRONT.match(path.read_text(encoding="utf-8"))
    if name is None:
        raise PromptBroken("the file is not called <purpose>.vN.md")
    if parts is None:
        raise PromptBroken("the front matter does not stand between two lines of ---")
    front = _front_of(yaml.safe_load(parts["front"]))
    system, user = _words_of(parts["body"])
    prompt = Prompt(
        **front,
        system=system,
        user=user,
        version=int(name["version"]),
        folder=(path.parent.relative_to(folder) / name["name"]).as_posix(),
    )
    if frozenset(prompt.inputs) != prompt.variables:
        unlike = ", ".join(sorted(set(prompt.inputs) ^ prompt.variables))
        raise PromptBroken(f"declared inputs and used variables differ: {unlike}")
    return prompt


def _front_of(front: Any) -> dict[str, Any]:
    said = cast("dict[str, Any]", front if isinstance(front, dict) else {})
    if set(said) != _FIELDS:
        raise PromptBroken(f"the front matter must say {', '.join(sorted(_FIELDS))}, and nothing else")
    names = cast("list[object]", said["inputs"] if isinstance(said["inputs"], list) else [None])
    if not all(isinstance(name, str) for name in names):
        raise PromptBroken("inputs must be a list of names")
    said["inputs"] = tuple(map(str, names))
    for name in _FIELDS - {"inputs"}:
        said[name] = str(said[name] or "").strip()
    if not _KEY.match(said["key"]):
        raise PromptBroken(f"{said['key']!r} is not a key")
    if said["tier"] not in ("strong", "cheap") or said["category"] not in CATEGORIES:
        raise PromptBroken("tier must be strong or cheap, category one of " + ", ".join(CATEGORIES))
    if not said["description"] or not said["changed"]:
        raise PromptBroken("description and changed must not be empty")
    return said


def _words_of(body: str) -> tuple[str, str]:
    """Return the parts of the body; words before the first mark belong to nobody and are refused."""
    marks = list(_PART.finditer(body))
    names = [mark["part"] for mark in marks]
    if names not in (["user"], ["system", "user"], ["system"]) or body[: marks[0].start()].strip():
        raise PromptBroken("the words must begin with === system === or === user ===, each at most once, in this order")
    ends = [*(mark.start() for mark in marks[1:]), len(body)]
    words = {mark["part"]: body[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)}
    return words.get("system", ""), words.get("user", "")


def read_shelf(folder: Path = FOLDER) -> Shelf:
    """
    Read every prompt file and choose the shipped version of each key.

    Raises `PromptBroken`, saying everything that is wrong.
    """
    versions, wrong = _read_all(folder)
    active: dict[str, Prompt] = {}
    chosen = tomllib.loads((folder / "active.toml").read_text(encoding="utf-8")).get("active", {})
    for key, version in chosen.items():
        found = [prompt for prompt in versions.get(key, []) if prompt.version == version]
        if found:
            active[key] = found[0]
        else:
            wrong.append(f"active.toml: there is no version {version} of {key}")
    wrong += [f"active.toml: {key} is not listed" for key in sorted(versions.keys() - chosen.keys())]
    if wrong:
        raise PromptBroken("; ".join(wrong))
    return Shelf(active, versions)


def _read_all(folder: Path) -> tuple[dict[str, list[Prompt]], list[str]]:
    versions: dict[str, list[Prompt]] = {}
    wrong: list[str] = []
    for path in sorted(folder.rglob("*.md")):
        try:
            prompt = read_prompt(path, folder)
        except PromptBroken as failure:
            wrong.append(str(failure))
            continue
        known = versions.setdefault(prompt.key, [])
        if any(other.version == prompt.version or other.folder != prompt.folder for other in known):
            wrong.append(f"{prompt.folder}.v{prompt.version}.md: {prompt.key} is taken")
        known.append(prompt)
    return versions, wrong


@lru_cache(maxsize=256)
def _sample(folder: Path, purpose: str) -> str | None:
    path = (folder / f"{purpose}.sample.yaml").resolve()
    return path.read_text(encoding="utf-8") if path.is_relative_to(folder) and path.is_file() else None


def find_sample(purpose: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """
    Return the example inputs of a purpose, by the place of its files (`<agent>/<purpose>`); None when there are none.

    Raises `PromptBroken` when they are no mapping.
    """
    text = _sample(folder, purpose)
    if text is None:
        return None
    try:
        sample = yaml.safe_load(text)
    except yaml.YAMLError as failure:
        raise PromptBroken(f"{purpose}.sample.yaml: {failure}") from failure
    if not isinstance(sample, dict):
        raise PromptBroken(f"{purpose}.sample.yaml: it is no mapping")
    return cast("dict[str, Any]", sample)


@lru_cache(maxsize=1)
def shelf() -> Shelf:
    """
    Return the prompts that this version ships, read once.

    Raises `PromptBroken`.
    """
    return read_shelf()


def check(folder: Path = FOLDER) -> list[str]:
    """Return what is wrong with the files, one line each; nothing is a good sign."""
    try:
        read_shelf(folder)
    except PromptBroken as failure:
        return str(failure).split("; ")
    return []


def with_default_system(prompt: Prompt, system: Prompt) -> Prompt:
    """Return the prompt with the default system message where it has none of its own."""
    return prompt if prompt.system else replace(prompt, system=system.system or system.user)
