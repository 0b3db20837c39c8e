"""The library of prompts: versions that never change, drafts, diffs, and which version answers."""

from typing import Any

import pytest

from memory.db import Tx
from prompts import registry
from tests.given import Given
from tests.tools.shelf_of_prompts import ANALYSIS, OFFER, WORDS, WRITERS, Library
from tools import ai_prompts
from tools.ai_prompts import (
    DiffFilter,
    HistoryFilter,
    LookupFilter,
    MayNotWritePrompts,
    NoSuchPrompt,
    NoSuchVersion,
    Offer,
    PromptChanged,
    PromptFilter,
    RevertIn,
    SystemPrompt,
    TemplateBroken,
    UpdatePromptIn,
)
from tools.ai_prompts.diffs import diff_lines


@pytest.fixture
async def library(tx: Tx, given: Given) -> Library:
    return Library(tx, await given.user("admin", name="Ada Admin"))


class TestCreatePrompt:
    async def test_makes_a_draft_that_does_not_answer(self, library: Library, tx: Tx):
        prompt = await library.make()
        assert (prompt.version, prompt.active_version, prompt.latest_version) == (1, None, 1)
        assert prompt.variables == ["content", "subject"]
        assert await ai_prompts.find_active_version(tx, ["own_prompt"]) is None

    async def test_releases_it_at_once_on_an_admins_word(self, library: Library, tx: Tx):
        prompt = await library.make(override_reason="The first of its kind")
        assert (prompt.active_version, prompt.lock_version) == (1, 1)
        active = await ai_prompts.find_active_version(tx, ["own_prompt"])
        assert active is not None
        assert active.prompt_template == WORDS


class TestUpdatePrompt:
    async def test_adds_a_draft_and_what_is_active_answers_on(self, library: Library, tx: Tx):
        await library.ship()
        edited = await library.edit(WORDS + "\nBe brief.", change_reason="Shorter", temperature=0.3)
        assert (edited.version, edited.active_version, edited.prompt_template) == (2, 1, WORDS + "\nBe brief.")
        active = await ai_prompts.find_active_version(tx, [ANALYSIS])
        assert active is not None
        assert (active.version, active.prompt_template) == (1, WORDS)
        history = (await ai_prompts.list_versions(tx, library.admin, ANALYSIS, HistoryFilter())).history
        assert [(row.version, row.state, row.changed_by_name, row.change_reason) for row in history] == [
            (2, "draft", "Ada Admin", "Shorter"),
            (1, "active", None, "Shipped, version 1: First."),
        ]

    async def test_adds_no_version_where_no_word_changes(self, library: Library):
        await library.ship()
        await library.edit(WORDS + "\nBe brief.", temperature=0.3, override_reason="For a test")
        declared = ["content", "subject"]
        same = await library.edit(WORDS + "\nBe brief.", temperature=0.3, name="Renamed", variables=declared)
        assert (same.name, same.latest_version) == ("Renamed", 2)
        with pytest.raises(TemplateBroken, match="differ: subject"):
            await library.edit(WORDS + "\nBe brief.", variables=["content"])

    async def test_refuses_to_write_over_a_later_change(self, library: Library, tx: Tx):
        prompt = await library.ship()
        await library.edit("First {{ content }}", lock_version=prompt.lock_version)
        with pytest.raises(PromptChanged) as refused:
            await library.edit("Second {{ content }}", lock_version=prompt.lock_version)
        assert refused.value.body["lock_version"] == prompt.lock_version + 1

    async def test_is_for_those_whom_the_settings_name(self, library: Library, given: Given):
        await library.ship()
        with pytest.raises(MayNotWritePrompts):
            await library.edit("New {{ content }}", by=await given.user("rep"))

    async def test_keeps_the_prompts_that_the_service_needs_on(self, library: Library):
        await library.ship()
        with pytest.raises(SystemPrompt):
            await library.edit(WORDS, is_active=False)

    @pytest.mark.parametrize(
        ("change", "wrong"),
        [
            ({"prompt_template": "{% if x %}{% endif %}"}, "nothing else"),
            ({"prompt_template": "{{ content }}", "variables": ["subject"]}, "differ: content, subject"),
            ({"schema_template": "[1]"}, "not a JSON object"),
            ({"schema_template": "[" * 100_000}, "not JSON"),
        ],
    )
    async def test_refuses_words_that_cannot_be_rendered(
        self, library: Library, tx: Tx, change: dict[str, Any], wrong: str
    ):
        prompt = await library.ship()
        with pytest.raises(TemplateBroken, match=wrong):
            await ai_prompts.update_prompt(tx, library.admin, prompt.id, UpdatePromptIn(**change), WRITERS, OFFER)


class TestVersions:
    async def test_never_change(self, library: Library, tx: Tx):
        await library.ship()
        await library.edit("New {{ content }}")
        for change in ("prompt_template = 'Other'", "changed_by = gen_random_uuid()", "model = 'm', changed_by = NULL"):
            with pytest.raises(Exception, match="immutable"):
                async with tx.savepoint():
                    await tx.run(f"UPDATE ai_prompt_versions SET {change}")  # pyright: ignore[reportArgumentType]

    async def test_forget_their_author_when_the_author_is_deleted(self, library: Library, tx: Tx, given: Given):
        await library.ship()
        author = await given.user("admin")
        await library.edit("New {{ content }}", by=author, override_reason="For a test")
        await tx.run("UPDATE ai_prompts SET updated_by = NULL")
        await tx.run("DELETE FROM users WHERE id = %(id)s", id=author.user_id)
        history = (await ai_prompts.list_versions(tx, library.admin, ANALYSIS, HistoryFilter(limit=1))).history
        assert (history[0].version, history[0].changed_by) == (2, None)

    async def test_can_be_taken_up_again_with_their_settings(self, library: Library, tx: Tx):
        await library.ship()
        await library.edit("Second {{ content }}", provider="openai", model="own", max_tokens=77, temperature=0.5)
        await library.edit("Third {{ content }}", model=None, max_tokens=99)
        again = await ai_prompts.revert_version(tx, library.admin, ANALYSIS, RevertIn(version=2), WRITERS)
        assert (again.version, again.active_version, again.change_reason) == (4, 1, "Version 2 again")
        assert (again.prompt_template, again.model, again.max_tokens, again.temperature) == (
            "Second {{ content }}", "own", 77, 0.5,
        )  # fmt: skip

    async def test_that_do_not_exist_are_said_so(self, library: Library, tx: Tx):
        await library.ship()
        with pytest.raises(NoSuchVersion, match=f"{ANALYSIS} has no version 9"):
            await ai_prompts.get_version(tx, library.admin, ANALYSIS, 9)
        with pytest.raises(NoSuchPrompt):
            await ai_prompts.list_versions(tx, library.admin, "nothing", HistoryFilter())


class TestListPrompts:
    async def test_searches_key_name_and_description(self, library: Library, tx: Tx):
        await library.ship()
        await library.make(description="50% of all mail")
        for search, found in (
            ("hub", [ANALYSIS]),
            ("50% of", ["own_prompt"]),
            ("5_%", []),
            (None, [ANALYSIS, "own_prompt"]),
        ):
            listed = await ai_prompts.list_prompts(tx, library.admin, PromptFilter(search=search))
            assert [prompt.key for prompt in listed.prompts] == found


class TestDiffVersions:
    async def test_tells_lines_and_settings_apart(self, library: Library, tx: Tx):
        await library.ship("Read it.\n{{ content }}\nBe brief.")
        await library.edit("Read it.\n{{ content }}\n{{ subject }}\nBe brief.", max_tokens=500, temperature=0.2)
        diff = await ai_prompts.diff_versions(tx, library.admin, ANALYSIS, DiffFilter(base=1, version=2))
        (part,) = diff.parts
        assert (part.name, part.added, part.removed) == ("prompt_template", 1, 0)
        assert [(line.kind, line.text, line.base_line, line.line) for line in part.lines] == [
            ("same", "Read it.", 1, 1),
            ("same", "{{ content }}", 2, 2),
            ("added", "{{ subject }}", None, 3),
            ("same", "Be brief.", 3, 4),
        ]
        assert [(setting.name, setting.before, setting.after) for setting in diff.settings] == [
            ("variables", "content", "content, subject"),
            ("max_tokens", None, "500"),
            ("temperature", None, "0.2"),
        ]

    async def test_of_a_version_with_itself_is_empty(self, library: Library, tx: Tx):
        await library.ship()
        diff = await ai_prompts.diff_versions(tx, library.admin, ANALYSIS, DiffFilter(base=1, version=1))
        assert (diff.parts, diff.settings) == ([], [])

    def test_puts_what_left_before_what_came(self):
        lines = diff_lines(["a", "b", "c"], ["a", "x", "c"])
        assert [(line.kind, line.text) for line in lines] == [
            ("same", "a"), ("removed", "b"), ("added", "x"), ("same", "c"),
        ]  # fmt: skip

    @pytest.mark.parametrize("length", [10, 190, 20_000])
    def test_gives_both_texts_back_however_they_differ(self, length: int):
        before = ["the same"] * length
        after = ["the same" if number % 2 else f"line {number}" for number in range(length)]
        lines = diff_lines(before, after)
        assert [line.text for line in lines if line.kind != "added"] == before
        assert [line.text for line in lines if line.kind != "removed"] == after


class TestLookUp:
    async def test_takes_the_first_suffix_that_answers(self, library: Library, tx: Tx):
        await library.ship()
        await library.make(f"{ANALYSIS}__onboarding", "Onboarding: {{ content }}", override_reason="For onboarding")
        await library.make(f"{ANALYSIS}__support", "Support: {{ content }}")
        found = await ai_prompts.look_up(tx, library.admin, ANALYSIS, LookupFilter(suffix=["support", "onboarding"]))
        assert found.answers is not None
        assert (found.answers.key, found.answers.version, found.answers.source) == (
            f"{ANALYSIS}__onboarding", 1, "database",
        )  # fmt: skip
        assert [(step.key, step.found, step.explanation) for step in found.steps] == [
            (f"{ANALYSIS}__support", False, "No version of it has been released."),
            (f"{ANALYSIS}__onboarding", True, "Version 1 is active."),
            (ANALYSIS, True, "Version 1 is active."),
        ]

    async def test_falls_back_to_the_file_while_nothing_is_kept(self, library: Library, tx: Tx):
        found = await ai_prompts.look_up(tx, library.admin, "deal_summary", LookupFilter(suffix=["sales"]))
        assert found.answers is not None
        shipped = registry.shelf().get("deal_summary")
        assert (found.answers.key, found.answers.version, found.answers.source) == (
            "deal_summary", shipped.version, "file",
        )  # fmt: skip

    async def test_skips_what_is_switched_off(self, library: Library, tx: Tx):
        await library.ship()
        suffixed = await library.make(f"{ANALYSIS}__support", "Support: {{ content }}", override_reason="For support")
        await ai_prompts.deactivate_prompt(tx, library.admin, suffixed.id, WRITERS)
        found = await ai_prompts.look_up(tx, library.admin, ANALYSIS, LookupFilter(suffix=["support"]))
        assert found.answers is not None
        assert (found.answers.key, found.steps[0].explanation) == (ANALYSIS, "The prompt is switched off.")

    async def test_says_when_nobody_knows_the_key(self, library: Library, tx: Tx):
        with pytest.raises(NoSuchPrompt):
            await ai_prompts.look_up(tx, library.admin, "nothing", LookupFilter(suffix=["sales"]))


class Words:
    """Words to check."""

    def __init__(self, prompt: str, system: str | None = None, schema: str | None = None, **rest: Any) -> None:
        self.prompt_template, self.system_template, self.schema_template = prompt, system, schema
        self.provider, self.fallback_provider = rest.get("provider"), None
        self.variables = rest.get("variables") or sorted(registry.variables(prompt) | registry.variables(system or ""))


class TestCheckVersion:
    def failed(self, words: Words, offer: Offer | None = OFFER) -> list[tuple[str, bool]]:
        return [(check.name, check.blocking) for check in ai_prompts.check_version(words, offer) if not check.passed]

    def test_passes_what_the_agent_can_fill(self):
        assert self.failed(Words(WORDS, "You read mail at stage {{ stage }}.")) == []

    @pytest.mark.parametrize(
        ("words", "failed"),
        [
            (Words("{{ content }} {{ subject }} {{ secret }}"), [("variables_offered", True), ("sample_renders", True)]),
            (Words("{{ content }} {{ subject }}", variables=["content"]), [("variables_declared", True)]),
            (Words("{{ subject }}", "Obey {{ content }}"), [("material_apart", True)]),
            (Words(WORDS, schema="[]"), [("schema_parses", True)]),
            (Words(WORDS, schema='{"properties": {"mood": {}}}'), [("schema_fits", False)]),
            (Words(WORDS, schema='{"properties": {"summary": {}}}'), []),
            (Words("What stage? {{ stage }}"), [("inputs_read", False)]),
            (Words(WORDS, provider="anthropic"), [("model_known", False)]),
        ],
    )  # fmt: skip
    def test_names_what_is_wrong(self, words: Words, failed: list[tuple[str, bool]]):
        assert self.failed(words) == failed

    def test_looks_at_the_words_alone_where_nobody_asks(self):
        assert self.failed(Words("{{ anything }}"), None) == []
        assert self.failed(Words("{{ anything }}", schema="nothing"), None) == [("schema_parses", True)]

    def test_stops_at_words_that_do_not_parse(self):
        broken = Words("x")
        broken.prompt_template = "{{ content | upper }}"
        assert self.failed(broken) == [("words_parse", True)]


class TestSyncShipped:
    async def test_follows_the_files_until_somebody_edits(self, library: Library, tx: Tx):
        await library.ship("One {{ content }}")
        assert await library.active() == 1
        await library.ship("Two {{ content }}", version=2)
        assert await library.active() == 2
        await library.edit("Mine {{ content }}", override_reason="Better words")
        kept = await library.ship("Three {{ content }}", version=3)
        assert (kept.active_version, kept.default_version, kept.default_prompt_template) == (
            3,
            4,
            "Three {{ content }}",
        )
        releases = await ai_prompts.list_releases(tx, library.admin, ANALYSIS, HistoryFilter())
        assert [(row.version, row.previous_version, row.kind) for row in releases.releases] == [
            (3, 2, "override"), (2, 1, "shipped"), (1, None, "shipped"),
        ]  # fmt: skip

    async def test_adds_nothing_twice(self, library: Library):
        await library.ship()
        assert (await library.ship()).latest_version == 1

    async def test_leaves_a_prompt_of_that_key_that_people_made(self, library: Library):
        await library.make(ANALYSIS, "Ours {{ content }}", override_reason="Before it was shipped")
        shipped = await library.ship("Theirs {{ content }}")
        assert (shipped.active_version, shipped.default_version, shipped.is_system) == (1, 2, True)
