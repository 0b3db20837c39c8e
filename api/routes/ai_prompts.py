"""Prompt templates over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.deps import Reading, Services, Transaction, User
from api.schemas import Done
from tools import ai_prompts

router = APIRouter(prefix="/api/ai-prompts", tags=["AI"])


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
    """Create a prompt and its first version; declared and used variables must agree."""
    writers = services.settings.prompt_write_roles
    return ai_prompts.PromptOut(prompt=await ai_prompts.create_prompt(tx, user, body, writers))


@router.get("/{prompt_id}", summary="Get a prompt")
async def get_prompt(prompt_id: UUID, user: User, tx: Reading) -> ai_prompts.PromptOut:
    """Get one prompt with its active version."""
    return ai_prompts.PromptOut(prompt=await ai_prompts.get_prompt(tx, user, prompt_id))


@router.put("/{prompt_id}", summary="Edit a prompt")
async def update_prompt(
    prompt_id: UUID, body: ai_prompts.UpdatePromptIn, user: User, tx: Transaction, services: Services
) -> ai_prompts.PromptOut:
    """Add a version and make it active. A `lock_version` that is not the present one is a conflict."""
    writers = services.settings.prompt_write_roles
    return ai_prompts.PromptOut(prompt=await ai_prompts.update_prompt(tx, user, prompt_id, body, writers))


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
