"""
Prompts that are edited over the API: immutable versions, of which one answers.

    rows.py       what a prompt looks like, and who may change it
    library.py    list, create, edit, switch off
    versions.py   the versions of a prompt; taking an old one up again
    checks.py     what must hold of a version before it may answer
    weighing.py   what speaks for a version, and against it
    releases.py   drafts become active: the gate, rollback, the shipped default
    answering.py  which version answers for a key and its suffixes
    diffs.py      what differs between two versions
    shipped.py    the files that the service ships, kept as versions
"""

from tools.ai_prompts.answering import (
    ActivePrompt,
    LookupFilter,
    LookupOut,
    find_active_version,
    look_up,
    stamp_prompts,
)
from tools.ai_prompts.checks import Check, Offer, TemplateBroken, check_version
from tools.ai_prompts.diffs import DiffFilter, DiffOut, diff_versions
from tools.ai_prompts.library import (
    PromptExists,
    SystemPrompt,
    create_prompt,
    deactivate_prompt,
    list_prompts,
    update_prompt,
)
from tools.ai_prompts.releases import (
    AlreadyActive,
    ChecksFailed,
    MayNotOverride,
    NeverReleased,
    NothingBefore,
    NotReleasable,
    NotShipped,
    ReleaseIn,
    ReleaseRow,
    ReleasesOut,
    RestoreIn,
    RollbackIn,
    get_readiness,
    list_releases,
    release_version,
    restore_default,
    rollback_prompt,
)
from tools.ai_prompts.rows import (
    Category,
    CreatePromptIn,
    MayNotWritePrompts,
    NoSuchPrompt,
    NoSuchVersion,
    PromptChanged,
    PromptFilter,
    PromptNotFound,
    PromptOut,
    PromptRow,
    PromptsOut,
    PromptWords,
    UpdatePromptIn,
    check_writer,
    get_prompt,
    get_prompt_by_key,
)
from tools.ai_prompts.shipped import sync_shipped
from tools.ai_prompts.versions import (
    HistoryFilter,
    HistoryOut,
    PromptWordsRow,
    RevertIn,
    VersionDetail,
    VersionRow,
    find_words,
    get_version,
    list_history,
    list_versions,
    revert_version,
)
from tools.ai_prompts.weighing import ReadinessOut

__all__ = [
    "ActivePrompt", "AlreadyActive", "Category", "Check", "ChecksFailed", "CreatePromptIn", "DiffFilter", "DiffOut",
    "HistoryFilter", "HistoryOut", "LookupFilter", "LookupOut", "MayNotOverride", "MayNotWritePrompts", "NeverReleased",
    "NoSuchPrompt", "NoSuchVersion", "NotReleasable", "NotShipped", "NothingBefore", "Offer", "PromptChanged",
    "PromptExists", "PromptFilter", "PromptNotFound", "PromptOut", "PromptRow", "PromptWords", "PromptWordsRow",
    "PromptsOut", "ReadinessOut", "ReleaseIn", "ReleaseRow", "ReleasesOut", "RestoreIn", "RevertIn", "RollbackIn",
    "SystemPrompt", "TemplateBroken", "UpdatePromptIn", "VersionDetail", "VersionRow", "check_version", "check_writer", "create_prompt",
    "deactivate_prompt", "diff_versions", "find_active_version", "find_words", "get_prompt", "get_prompt_by_key",
    "get_readiness", "get_version", "list_history", "list_prompts", "list_releases", "list_versions", "look_up",
    "release_version", "restore_default", "revert_version", "rollback_prompt", "stamp_prompts", "sync_shipped",
    "update_prompt",
]  # fmt: skip
