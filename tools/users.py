"""The people who work with this service, and who they are to it."""

from collections.abc import Sequence
from uuid import UUID

from memory.callers import Caller, Role
from memory.db import Tx
from memory.rows import Row

CALLER = "u.id AS user_id, u.role, u.name, u.email, u.auth_id"


class CallerRow(Row):
    """What is needed of a user to act for them."""

    user_id: UUID
    role: Role
    name: str
    email: str
    auth_id: str


class ProfileOut(Row):
    """One user as they see themselves."""

    id: UUID
    auth_id: str
    name: str
    email: str
    role: Role


def _caller(row: CallerRow | None) -> Caller | None:
    if row is None:
        return None
    return Caller(user_id=row.user_id, role=row.role, name=row.name, email=row.email, auth_id=row.auth_id)


async def find_caller(tx: Tx, subjects: Sequence[str]) -> Caller | None:
    """Return the active user whom one of these subjects names, the first subject first; None when there is none."""
    return _caller(
        await tx.maybe(
            CallerRow,
            f"""
            SELECT {CALLER} FROM users u
             WHERE u.auth_id = ANY(%(subjects)s) AND u.is_active
             ORDER BY array_position(%(subjects)s::text[], u.auth_id)
             LIMIT 1
            """,
            subjects=list(subjects),
        )
    )


async def find_caller_by_id(tx: Tx, user_id: UUID) -> Caller | None:
    """Return the active user with this id; None when there is none."""
    return _caller(
        await tx.maybe(
            CallerRow, f"SELECT {CALLER} FROM users u WHERE u.id = %(user_id)s AND u.is_active", user_id=user_id
        )
    )


async def find_caller_by_role(tx: Tx, role: Role) -> Caller | None:
    """Return the active user of this role who has been there longest; None when there is none."""
    return _caller(
        await tx.maybe(
            CallerRow,
            f"SELECT {CALLER} FROM users u WHERE u.role = %(role)s AND u.is_active ORDER BY u.created_at, u.id LIMIT 1",
            role=role,
        )
    )


def profile_of(caller: Caller) -> ProfileOut:
    """Return what a caller may read of themselves."""
    assert caller.user_id is not None
    return ProfileOut(id=caller.user_id, auth_id=caller.auth_id, name=caller.name, email=caller.email, role=caller.role)
