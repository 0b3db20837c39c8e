"""
The mount table: every router of the service, in the order of the documentation.

A noun's module makes `router = APIRouter(prefix="/api/<noun>", tags=["<Noun>"])` and stands here once. Order does not
decide which route answers: a path is matched by its segments, literal ones before parameters.
"""

from fastapi import APIRouter
from starlette.routing import BaseRoute

from api.console import pages
from api.routes import (
    activities,
    admin_projections,
    ai_activity,
    ai_prompts,
    analytics,
    attention,
    auth,
    cases,
    communications,
    companies,
    company_products,
    contacts,
    deals,
    evaluations,
    health,
    jobs,
    legacy_deals,
    lifecycle,
    process,
    products,
    relationships,
    runs,
    signals,
    summaries,
    tasks,
    triage,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    auth.router,
    activities.router,
    admin_projections.router,
    signals.router,
    summaries.router,
    ai_activity.router,
    ai_prompts.router,
    analytics.router,
    attention.router,
    cases.router,
    communications.router,
    companies.router,
    company_products.router,
    contacts.router,
    deals.router,
    evaluations.router,
    process.router,
    products.router,
    jobs.router,
    legacy_deals.router,
    lifecycle.router,
    relationships.router,
    runs.router,
    tasks.router,
    triage.router,
    *pages.ROUTERS,
)

MOUNTS: tuple[BaseRoute, ...] = pages.MOUNTS
