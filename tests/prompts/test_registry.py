"""Prompt files: what they say, what they may hold, and that ours are in order."""

from pathlib import Path
from typing import Any

import pytest

from agents import registry as agents
from agents import rules
from agents.purposes import Purpose, list_purposes
from prompts import registry
from prompts.registry import PromptBroken, PromptMissing, VariablesMissing

FRONT = """---
key: {key}
description: Sorts mail.
tier: cheap
category: general
inputs: {inputs}
output: Sorted
changed: First version.
---
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "active.toml").write_text("[active]\nsort_mail = 1\n")
    write(tmp_path, "mail/sort.v1.md", "=== system ===\nSort.\n=== user ===\nThe mail: {{ body }}\n")
    return tmp_path


def write(folder: Path, name: str, words: str, *, key: str = "sort_mail", inputs: str = "[body]") -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(FRONT.format(key=key, inputs=inputs) + words)


class TestReadShelf:
    def test_reads_front_matter_and_words(self, folder: Path) -> None:
        prompt = registry.read_shelf(folder).get("sort_mail")
        assert (prompt.key, prompt.version, prompt.folder, prompt.tier) == ("sort_mail", 1, "mail/sort", "cheap")
        assert (prompt.system, prompt.user, prompt.inputs) == ("Sort.", "The mail: {{ body }}", ("body",))

    def test_ships_the_version_that_is_named(self, folder: Path) -> None:
        write(folder, "mail/sort.v2.md", "=== user ===\nNew: {{ body }}")
        assert registry.read_shelf(folder).get("sort_mail").version == 1
        (folder / "active.toml").write_text("[active]\nsort_mail = 2\n")
        shelf = registry.read_shelf(folder)
        assert shelf.get("sort_mail__onboarding", "sort_mail").version == 2
        assert [prompt.version for prompt in shelf.versions["sort_mail"]] == [1, 2]

    def test_says_what_is_missing(self, folder: Path) -> None:
        with pytest.raises(PromptMissing):
            registry.read_shelf(folder).get("nothing")

    @pytest.mark.parametrize(
        ("words", "inputs", "wrong"),
        [
            ("=== user ===\n{{ other }}", "[body]", "differ: body, other"),
            ("=== user ===\n{{ body | upper }}", "[body]", "only a name"),
            ("=== user ===\n{{ body.__class__ }}", "[body]", "only a name"),
            ("=== user ===\n{% if body %}x{% endif %}", "[body]", "nothing else"),
            ("=== user ===\n{# note #}{{ body }}", "[body]", "no comments"),
            ("=== user ===\n{{ body", "[body]", "end of"),
            ("stray\n=== user ===\n{{ body }}", "[body]", "must begin"),
            ("{{ body }}", "[body]", "must begin"),
            ("=== user ===\n{{ body }}\n=== system ===\nx", "[body]", "must begin"),
            ("=== user ===\n{{ body }}", "body", "list of names"),
        ],
    )
    def test_refuses_what_is_not_a_prompt(self, folder: Path, words: str, inputs: str, wrong: str) -> None:
        write(folder, "mail/sort.v1.md", words, inputs=inputs)
        (complaint, *_) = registry.check(folder)
        assert complaint.startswith("mail/sort.v1.md: ")
        assert wrong in complaint

    def test_refuses_two_files_for_one_version_and_strays(self, folder: Path) -> None:
        write(folder, "mail/other.v1.md", "=== user ===\n{{ body }}")
        write(folder, "mail/stray.v1.md", "=== user ===\n{{ body }}", key="stray")
        write(folder, "mail/final.md", "=== user ===\n{{ body }}", key="named_wrongly")
        complaints = "; ".join(registry.check(folder))
        assert "sort_mail is taken" in complaints
        assert "stray is not listed" in complaints
        assert "not called <purpose>.vN.md" in complaints

    def test_refuses_unknown_front_matter(self, folder: Path) -> None:
        path = folder / "mail/sort.v1.md"
        path.write_text(path.read_text().replace("tier: cheap", "tier: huge"))
        assert "tier must be" in registry.check(folder)[0]
        path.write_text(path.read_text().replace("tier: huge\n", ""))
        assert "front matter must say" in registry.check(folder)[0]


class TestRender:
    def test_values_are_never_read_as_templates(self) -> None:
        said = registry.render("{{ a }} and {{ b }}", {"a": "{{ b }}", "b": "{% for x in y %}"})
        assert said == "{{ b }} and {% for x in y %}"

    def test_a_missing_value_is_an_error(self, folder: Path) -> None:
        with pytest.raises(VariablesMissing, match="needs body"):
            registry.read_shelf(folder).get("sort_mail").render({"subject": "x"})

    def test_json_in_the_words_is_left_alone(self) -> None:
        assert registry.render('{"a": {"b": {{ n }} }}', {"n": "1"}) == '{"a": {"b": 1 }}'

    def test_what_is_not_a_template_is_refused(self) -> None:
        for words in ("{{ 1 + 1 }}", "{{ f() }}", "{{ a[0] }}", "{% set a = 1 %}", "{{ a ~ b }}"):
            with pytest.raises(PromptBroken):
                registry.variables(words)


def purposes() -> list[Purpose[Any, Any]]:
    """Every purpose that an agent of ours declares."""
    for spec in agents.list_agents():
        agents.build_graph(spec)
    rules.load()
    return [purpose for purpose in list_purposes() if not purpose.key.startswith(PRIVATE)]


PRIVATE = ("test_", "errand_", "bench_", "eval_", "nowhere")


class TestOurs:
    def test_are_in_order(self) -> None:
        assert registry.check() == []

    def test_fit_the_purposes_they_are_for(self) -> None:
        shelf = registry.read_shelf()
        found = purposes()
        assert found
        for purpose in found:
            prompt = shelf.get(purpose.key)
            assert prompt.folder == purpose.folder
            assert prompt.tier == purpose.tier, purpose.key
            assert prompt.output == purpose.output.__name__, purpose.key
            assert prompt.variables <= set(purpose.input.model_fields), purpose.key

    def test_every_purpose_has_an_answer_without_a_model(self) -> None:
        assert [purpose.key for purpose in purposes() if rules.find_rule(purpose) is None] == []


class TestSamples:
    def test_are_read_from_beside_the_words(self, folder: Path) -> None:
        (folder / "mail/sort.sample.yaml").write_text("body: We accept.\nnumbers: [1, 2]\n")
        assert registry.find_sample("mail/sort", folder) == {"body": "We accept.", "numbers": [1, 2]}
        assert registry.find_sample("mail/other", folder) is None

    @pytest.mark.parametrize("text", ["- a list", "a: [", "word"])
    def test_are_mappings(self, folder: Path, text: str) -> None:
        (folder / "mail/sort.sample.yaml").write_text(text)
        with pytest.raises(PromptBroken, match=r"mail/sort\.sample\.yaml"):
            registry.find_sample("mail/sort", folder)

    def test_lie_below_the_folder(self, folder: Path) -> None:
        (folder.parent / "secret.sample.yaml").write_text("a: 1\n")
        assert registry.find_sample("../secret", folder) is None


class TestWordsAndNames:
    @pytest.mark.parametrize("template", ["{% raw %}{{ x }}{% endraw %}", "{%- raw -%}{%- endraw -%}", "a {# b #}"])
    def test_are_all_that_a_template_holds(self, template: str) -> None:
        with pytest.raises(PromptBroken):
            registry.variables(template)
