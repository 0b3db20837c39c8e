"""The version that a change was decided on, as a header or in the body: a change of anything newer is refused."""

from typing import Annotated

from fastapi import Header

from api.errors import BadRequest

IfMatch = Annotated[
    str | None,
    Header(
        pattern=r'^"?\d{1,9}"?$',
        description="The version that the command was decided on; the same as `expectedVersion` in the body.",
    ),
]


class TwoVersions(BadRequest):
    """If-Match and expectedVersion name two different versions."""


def expected_version(if_match: str | None, in_body: int | None) -> int | None:
    """
    Return the one version that header and body name, or None when neither does.

    Raises `TwoVersions`.
    """
    if if_match is None:
        return in_body
    version = int(if_match.strip('"'))
    if in_body not in (None, version):
        raise TwoVersions
    return version
