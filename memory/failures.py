"""What Postgres says when it refuses, as a refusal of ours: doors render one kind of failure only."""

from psycopg import errors
from psycopg_pool import PoolTimeout, TooManyRequests

from memory.db import DatabaseDown, ForeignRow, RowExists
from memory.errors import Conflict, Invalid, Outage, Rendered


class ValueRefused(Invalid):
    """A value is out of range or not storable."""


class RuleBroken(Invalid):
    """The values do not fit together or to the rules."""


class StillReferred(Conflict):
    """Other rows still refer to this one."""


class Overtaken(Conflict):
    """Somebody else changed the same at the same time; try again."""


class DatabaseBusy(Outage):
    """The database is busy; try again in a moment."""


MEANINGS: tuple[tuple[tuple[type[BaseException], ...], type[Rendered]], ...] = (
    ((PoolTimeout, TooManyRequests, errors.QueryCanceled), DatabaseBusy),
    ((errors.UniqueViolation, errors.ExclusionViolation), RowExists),
    ((errors.CheckViolation, errors.NotNullViolation), RuleBroken),
    ((errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable), Overtaken),
    ((errors.ProgramLimitExceeded, errors.DataError), ValueRefused),
    ((errors.OperationalError, errors.InterfaceError), DatabaseDown),
)
"""The first that fits; the driver's tree has the broad ones last."""


def told(failure: BaseException) -> Rendered | None:
    """Return the refusal or outage that a failure of the driver means; None when it is a mistake of ours."""
    if isinstance(failure, Rendered):
        return failure
    if isinstance(failure, errors.ForeignKeyViolation):
        return StillReferred() if "still referenced" in str(failure) else ForeignRow()
    return next((meaning() for kinds, meaning in MEANINGS if isinstance(failure, kinds)), None)
