"""
Prompt templates over HTTP.

The catalogue's operations take a prompt's id. What belongs to releasing takes its key, which is also what the evals and
the books name it by.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from agents import prompt_trials
from agents.prompt_trials import DryRunIn, DryRunOut, PreviewIn, PreviewOut
from api.deps import Reading, Services, StartsModel, Transaction, User
from api.schemas import Done
from memory.db import clock
from memory.rows import Row
from tools import ai_prompts
from tools.ai_prompts import ReleaseRow

router = APIRouter(prefix="/api/ai-prompts", tags=["AI"])
Key = Annotated[str, Path(max_length=150, description="A prompt's key, such as `deal_summary`.")]
Version = Annotated[int, Path(ge=1, le=2**31 - 1)]


class ReleasedOut(Row):
    """A release, and the prompt as it answers from now on."""

    success: bool = True
    release: ReleaseRow
    prompt: ai_prompts.PromptRow


@router.get("", summary="List prompts")
async def list_prompts(
    filter: Annotated[ai_prompts.PromptFilter, Query()], user: User, tx: Reading
) -> ai_prompts.PromptsOut:
    """List every prompt by key, with its active version and the default it came with."""
    return await ai_prompts.list_prompts(tx, user, filter)


@router.post("", summary="Create a prompt", status_code=201)
async def create_prompt(
    body: ai_prompts.CreatePromptIn, user: User, tx: Transaction, services: Services
) -> ai_prompts.PromptOut:
    """
    Create a prompt and its first version; declared and used variables must agree.

    The version is a draft, until it is released; an admin's `override_reason` releases it at once.
    """
    writers, offer = services.settings.prompt_write_roles, prompt_trials.find_offer(body.key)
    return ai_prompts.PromptOut(prompt=await ai_prompts.create_prompt(tx, user, body, writers, offer))


@router.get("/{prompt_id}", summary="Get a prompt")
async def get_prompt(prompt_id: UUID, user: User, tx: Reading) -> ai_prompts.PromptOut:
    """Get one prompt with its active version, or with its newest draft while none is active."""
    return ai_prompts.PromptOut(prompt=await ai_prompts.get_prompt(tx, user, prompt_id))


@router.put("/{prompt_id}", summary="Edit a prompt")
async def update_prompt(
    prompt_id: UUID, body: ai_prompts.UpdatePromptIn, user: User, tx: Transaction, services: Services
) -> ai_prompts.PromptOut:
    """
    Add a version, and answer with the prompt as that version has it. A `lock_version` that is not the present one is a conflict.

    The version is a draft, and `active_version` answers on, until it is released: by `POST .../release` on the verdicts
    of the evals, or at once by an admin's `override_reason`.
    """
    key = (await ai_prompts.get_prompt(tx, user, prompt_id)).key
    writers, offer = services.settings.prompt_write_roles, prompt_trials.find_offer(key)
    return ai_prompts.PromptOut(prompt=await ai_prompts.update_prompt(tx, user, prompt_id, body, writers, offer))


@router.delete("/{prompt_id}", summary="Switch a prompt off")
async def deactivate_prompt(prompt_id: UUID, user: User, tx: Transaction, services: Services) -> Done:
    """Switch a prompt off. Prompts that the service needs stay on."""
    await ai_prompts.deactivate_prompt(tx, user, prompt_id, services.settings.prompt_write_roles)
    return Done()


@router.get("/{prompt_id}/history", summary="List a prompt's versions")
async def list_history(
    prompt_id: UUID, filter: Annotated[ai_prompts.HistoryFilter, Query()], user: User, tx: Reading
) -> ai_prompts.HistoryOut:
    """List the versions of a prompt, newest first."""
    return await ai_prompts.list_history(tx, user, prompt_id, filter)


# By key -----------------------------------------------------------------------------------------------------------


@router.get("/{key}/versions", summary="List the versions of a key")
async def list_versions(
    key: Key, filter: Annotated[ai_prompts.HistoryFilter, Query()], user: User, tx: Reading
) -> ai_prompts.HistoryOut:
    """List the versions of a prompt, newest first, with how each of them stands."""
    return await ai_prompts.list_versions(tx, user, key, filter)


@router.get("/{key}/versions/{version}", summary="Get a version of a prompt")
async def get_version(key: Key, version: Version, user: User, tx: Reading) -> ai_prompts.VersionDetail:
    """Get one version with its words, its author and whether it is a draft, active, or was active before."""
    return await ai_prompts.get_version(tx, user, key, version)


@router.get("/{key}/diff", summary="Compare two versions of a prompt")
async def diff_versions(
    key: Key, filter: Annotated[ai_prompts.DiffFilter, Query()], user: User, tx: Reading
) -> ai_prompts.DiffOut:
    """Get what differs between two versions: the words line by line, the settings by name."""
    return await ai_prompts.diff_versions(tx, user, key, filter)


@router.get("/{key}/lookup", summary="Which version answers")
async def look_up(
    key: Key, filter: Annotated[ai_prompts.LookupFilter, Query()], user: User, tx: Reading
) -> ai_prompts.LookupOut:
    """Get which version answers for a key with these suffixes, and why: `key__suffix` for each, then the key itself."""
    return await ai_prompts.look_up(tx, user, key, filter)


@router.post("/{key}/preview", summary="Preview a prompt")
async def preview(key: Key, body: PreviewIn, user: User, services: Services) -> PreviewOut:
    """
    Get what a model would read: a version, or words that are not saved yet, with a sample or a real record put in.

    Real records are read with your own rights. Nothing is asked and nothing is written.
    """
    return await prompt_trials.preview(services.db, user, key, body, clock())


@router.post("/{key}/dry-run", summary="Ask once with a version", dependencies=[StartsModel])
async def dry_run(key: Key, body: DryRunIn, user: User, services: Services) -> DryRunOut:
    """Ask the model once with a version, released or not. It is paid for and booked as a trial; no record is written."""
    return await prompt_trials.dry_run(services.settings, services.db, user, key, body, clock())


@router.get("/{key}/versions/{version}/readiness", summary="May a version be released?")
async def get_readiness(
    key: Key, version: Version, user: User, tx: Reading, services: Services
) -> ai_prompts.ReadinessOut:
    """Get the checks of a version, what the evals say of it against the active one, and whether it may be released."""
    writers, offer = services.settings.prompt_write_roles, prompt_trials.find_offer(key)
    return await ai_prompts.get_readiness(tx, user, key, version, offer, writers)


@router.get("/{key}/releases", summary="List a prompt's releases")
async def list_releases(
    key: Key, filter: Annotated[ai_prompts.HistoryFilter, Query()], user: User, tx: Reading
) -> ai_prompts.ReleasesOut:
    """List which version became active when, on whose word and on what evidence, newest first."""
    return await ai_prompts.list_releases(tx, user, key, filter)


@router.post("/{key}/release", summary="Release a version")
async def release_version(
    key: Key, body: ai_prompts.ReleaseIn, user: User, tx: Transaction, services: Services
) -> ReleasedOut:
    """
    Make a version the one that answers. Every check must pass, and every suite that holds the prompt must have found that
    it does not regress against what answers now; without that, only an admin's `override_reason` releases it.
    """
    writers, offer = services.settings.prompt_write_roles, prompt_trials.find_offer(key)
    release = await ai_prompts.release_version(tx, user, key, body, writers, offer)
    return ReleasedOut(release=release, prompt=await ai_prompts.get_prompt_by_key(tx, user, key))


@router.post("/{key}/rollback", summary="Roll a prompt back")
async def rollback_prompt(
    key: Key, body: ai_prompts.RollbackIn, user: User, tx: Transaction, services: Services
) -> ReleasedOut:
    """Let a version answer again that was active before; without `version`, the one before the active one."""
    writers, offer = services.settings.prompt_write_roles, prompt_trials.find_offer(key)
    release = await ai_prompts.rollback_prompt(tx, user, key, body, writers, offer)
    return ReleasedOut(release=release, prompt=await ai_prompts.get_prompt_by_key(tx, user, key))


@router.post("/{key}/restore", summary="Restore the shipped default")
async def restore_default(
    key: Key, body: ai_prompts.RestoreIn, user: User, tx: Transaction, services: Services
) -> ReleasedOut:
    """Let the default that the service ships answer again."""
    writers, offer = services.settings.prompt_write_roles, prompt_trials.find_offer(key)
    release = await ai_prompts.restore_default(tx, user, key, body, writers, offer)
    return ReleasedOut(release=release, prompt=await ai_prompts.get_prompt_by_key(tx, user, key))


@router.post("/{key}/revert", summary="Take an old version up again", status_code=201)
async def revert_version(
    key: Key, body: ai_prompts.RevertIn, user: User, tx: Transaction, services: Services
) -> ai_prompts.PromptOut:
    """Add a new version with the words and the model settings of an old one. It is a draft like any other."""
    writers = services.settings.prompt_write_roles
    return ai_prompts.PromptOut(prompt=await ai_prompts.revert_version(tx, user, key, body, writers))
