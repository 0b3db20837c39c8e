"""Jobs of outbound mail: every promised letter leaves once, and what became of each is found out."""

from datetime import timedelta

from api.jobs.kit import Later, Run, job
from memory.effects import EffectElsewhere
from tools import outbound

AGAIN = timedelta(minutes=2)


@job(outbound.JOB, queue="mail", attempts=8, first_pause=timedelta(seconds=30))
async def send_mail(run: Run, *, effect_key: str, **_: object) -> None:
    """Send a promised letter, or find out what became of it when its sender was not heard of again."""
    try:
        await outbound.resume_mail(run.transaction, run.mailboxes, effect_key)
    except (EffectElsewhere, outbound.MailUnderway) as elsewhere:
        raise Later(elsewhere.message, wait=AGAIN) from elsewhere
