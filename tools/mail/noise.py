"""Mail that nobody waits for an answer to: notetakers, calendars, campaigns and machines."""

import re
from collections.abc import Collection
from typing import Literal

from tools.mail.messages import Mail

Noise = Literal["ai_notetaker", "calendar", "marketing", "system"]

NOTETAKERS = (
    "fireflies.ai",
    "otter.ai",
    "grain.com",
    "grain.co",
    "fathom.video",
    "avoma.com",
    "gong.io",
    "chorus.ai",
    "tldv.io",
    "fellow.app",
    "read.ai",
    "meetgeek.ai",
    "sembly.ai",
    "krisp.ai",
)
CALENDARS = (
    "calendar-notification@google.com",
    "calendar-server.bounces.google.com",
    "calendly.com",
    "invite.calendly.com",
    "chilipiper.com",
    "cal.com",
    "doodle.com",
    "savvycal.com",
    "bookings.microsoft.com",
)
_CALENDAR_SUBJECT = re.compile(
    r"^\s*(?:(?:re|fwd?|aw|wg):\s*)?(?:accepted|declined|tentative(?:ly accepted)?|cancell?ed(?: event)?|updated(?: invitation)?|invitation|new time proposed|"
    r"zugesagt|abgesagt|abgelehnt|mit vorbehalt|einladung|aktualisierte einladung|accepté|refusé|annulé|aceptad[oa]|rechazad[oa]|cancelad[oa]|accettato|rifiutato|annullato|"
    r"geaccepteerd|geweigerd|geannuleerd)\s*:",
    re.IGNORECASE,
)
_MACHINE = re.compile(
    r"^(?:(?:no|do|donot|dont)[-_.]?(?:not[-_.]?)?reply|mailer-daemon|postmaster|bounces?|daemon|root|notifications?|alerts?|automated|autoconfirm|system|jira|confluence|github|gitlab)(?:[+\-_.].*)?$"
)
_CAMPAIGN = re.compile(
    r"^(?:newsletters?|marketing|news|mailing|updates?|digest|promo(?:tions?)?|offers?|deals?|events?|webinars?|e?mail|campaigns?|community|info|hello|team)(?:[+\-_.].*)?$"
)
_AWAY = re.compile(
    r"^\s*(?:auto(?:matic)?[- ]?(?:reply|response)|out of (?:the )?office|ooo\b|automatische antwort|abwesenheit|réponse automatique|absence|respuesta automática|risposta automatica|"
    r"resposta automática|automatisch antwoord|autosvar|autosvar|odpowiedź automatyczna|автоответ|自动答复|自動回覆|自動応答)",
    re.IGNORECASE,
)
_BOUNCE = re.compile(
    r"^\s*(?:undeliver(?:able|ed)|delivery (?:status notification|has failed|failure)|mail delivery (?:failed|subsystem)|returned mail|unzustellbar|failure notice|non remis|no se puede entregar)",
    re.IGNORECASE,
)
_UNSUBSCRIBE = re.compile(
    r"unsubscribe|view (?:this email )?in (?:your )?browser|email preferences|abmelden|abbestellen|désabonner|désinscrire|darse de baja|annulla l'iscrizione|descadastr|uitschrijven|отписаться|退订",
    re.IGNORECASE,
)
_FOOTER = 1500


def kind_of(mail: Mail, text: str = "", *, notetakers: Collection[str] = NOTETAKERS) -> Noise | None:
    """
    Return what kind of noise the mail is, or None for mail between people.

    `text` is its readable text; only the last lines count, where campaigns say how to leave the list.
    """
    email = mail.sender.email if mail.sender else ""
    local, _, domain = email.rpartition("@")
    if domain and within(domain, notetakers):
        return "ai_notetaker"
    if _is_calendar(mail, email, domain):
        return "calendar"
    if _is_machine(mail, local):
        return "system"
    if _is_campaign(mail, local, text[-_FOOTER:]):
        return "marketing"
    return "system" if _MACHINE.match(local) else None


def within(domain: str, domains: Collection[str]) -> bool:
    """Whether the domain is one of these or lies below one."""
    while domain:
        if domain in domains:
            return True
        domain = domain.partition(".")[2]
    return False


def _is_calendar(mail: Mail, email: str, domain: str) -> bool:
    if mail.calendar_method in ("REQUEST", "REPLY", "CANCEL", "COUNTER", "DECLINECOUNTER", "REFRESH"):
        return True
    known = email in CALENDARS or within(domain, CALENDARS)
    with_ics = bool(mail.calendar_method) or (
        bool(mail.attachments)
        and any(part.name.lower().endswith(".ics") or part.content_type == "text/calendar" for part in mail.attachments)
    )
    return known or (with_ics and _CALENDAR_SUBJECT.match(mail.subject) is not None)


def _is_machine(mail: Mail, local: str) -> bool:
    headers = mail.headers
    if headers:
        submitted = headers.get("auto-submitted", "no").strip().lower()
        if submitted and not submitted.startswith("no"):
            return True
        if "x-autoreply" in headers or "x-autorespond" in headers or "x-failed-recipients" in headers:
            return True
        if (
            headers.get("content-type", "").lower().startswith("multipart/report")
            or headers.get("precedence", "").lower() == "auto_reply"
        ):
            return True
    return (
        local in ("mailer-daemon", "postmaster")
        or _AWAY.match(mail.subject) is not None
        or _BOUNCE.match(mail.subject) is not None
    )


def _is_campaign(mail: Mail, local: str, end: str) -> bool:
    headers = mail.headers
    if "list-post" in headers:  # people discuss there
        return False
    if (
        "list-unsubscribe" in headers
        or "x-campaign-id" in headers
        or headers.get("precedence", "").lower() in ("bulk", "junk")
    ):
        return True
    return (_MACHINE.match(local) is not None or _CAMPAIGN.match(local) is not None) and _UNSUBSCRIBE.search(
        end
    ) is not None
