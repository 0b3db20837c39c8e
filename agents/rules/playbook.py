"""What a message calls for: its kind, what is requested, and the trigger of the playbook that fits."""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from agents.analysis.outputs import CommunicationType, RequestType, Trigger, Urgency
from agents.rules.questions import Ask
from agents.rules.sentences import Sentence

_BILLING = re.compile(
    r"\b(?:invoices?|billing|payments?|remittance|purchase order|po number|overdue balance|refund|credit note|past due|rechnung|facture|factura)\b"
)
_SUPPORT = re.compile(
    r"\b(?:not working|doesn't work|does not work|isn't working|error(?: message)?s?|bugs?|broken|(?:is|been|are|went) down|ticket|crash\w*|outage|is down|log ?in (?:issue|problem)s?|can't (?:log|access)|troubleshoot\w*|support (?:case|request|team))\b"
)
_ONBOARDING = re.compile(
    r"\b(?:onboarding|kick-?off|implementation|go[- ]?live|data migration|training (?:session|date|plan)s?|set ?up (?:our|the|your) account|roll ?out)\b"
)
_SUCCESS = re.compile(
    r"\b(?:renewal|renew|qbr|business review|adoption|usage (?:report|review)|account review|success plan|upsell|additional seats)\b"
)
_MEETING = re.compile(
    r"\b(?:meet(?:ing)?|call|demo|appointment|calendar|availab\w+|reschedul\w+|schedul\w+|time (?:slot|to (?:talk|meet|chat))|catch up|termin|rendez-vous|reuni\u00f3n|zoom|teams|"
    r"what time|when (?:would|are|can|could|works))\b"
)
_PRICE_ASK = re.compile(
    r"\b(?:pric\w+|cost\w*|quot(?:e|es|ation)|how much|rates?|discount\w*|budget\w*|proposal|estimate|angebot|preis\w*|devis|tarif\w*|prix|precio\w*|presupuesto|cotizaci\u00f3n)\b"
)
_TECHNICAL = re.compile(
    r"\b(?:api|integrat\w+|webhook|sso|saml|export|import|sync\w*|database|server|encrypt\w*|configur\w+|data model|endpoint|browser|firewall|security questionnaire|uptime|backup\w*)\b"
)
_INTRODUCTION = re.compile(
    r"\b(?:introduc(?:e|ing)|meet my colleague|(?:i'm|i am) cc'?ing|looping in|connecting you with|please meet|wanted to connect you|my name is|i'm reaching out|i am reaching out|i am the new)\b"
)
_FOLLOW_UP = re.compile(
    r"\b(?:follow(?:ing)?[- ]?up|checking in|circling back|any (?:update|news|word)|touching base|just a reminder|gentle reminder|did you (?:get|have) a chance|have you had a chance|still waiting|haven't heard)\b"
)
_COMPLAINT = re.compile(
    r"\b(?:complain\w*|unacceptable|disappointed|frustrat\w+|not happy|unhappy|dissatisfied|refund|escalat\w+|let down|terrible|poor service)\b"
)
_SHARING = re.compile(
    r"\b(?:attached|attaching|enclosed|here (?:is|are)|please find|fyi|for your (?:information|records)|see below|sharing|anbei|ci-joint|adjunto)\b"
)
_GO_LIVE = re.compile(r"\bgo[- ]?live\b")
_RISK_WORDS = re.compile(
    r"\b(?:delay\w*|slip\w*|at risk|blocked|blocker|behind schedule|can't|cannot|postpon\w*|not ready|won't be ready)\b"
)
_AWAY = re.compile(
    r"\b(?:out of (?:the )?office|automatic reply|auto(?:matic)?[- ]?(?:reply|response)|on (?:vacation|annual leave|parental leave|maternity leave)|abwesenheit\w*|r\u00e9ponse automatique|respuesta autom\u00e1tica)\b"
)
_LOGISTIC = re.compile(
    r"\b(?:works for (?:me|us)|see you (?:then|there|on|at|tomorrow|next)|confirm(?:ed|ing)|sounds good|that's fine|that is fine|got it|received|noted|"
    r"running (?:a few minutes )?late|will be there|thank you|thanks|perfect|great|no problem|all set|looking forward|ok(?:ay)?|passt|merci|gracias|danke|talk (?:then|soon))\b"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything the other rules have found out about a message."""

    text: str
    subject: str
    sentences: Sequence[Sentence]
    asked: Sequence[Ask]
    signals: AbstractSet[str]
    objections: AbstractSet[str]
    competitors: AbstractSet[str]
    promised: bool
    mood: str
    urgency: Urgency
    direction: Literal["inbound", "outbound", "internal"]
    stage: str = "none"
    is_customer: bool = False
    is_known: bool = True
    is_reply: bool = False

    @property
    def answers_expected(self) -> list[str]:
        """What is asked outright, lower-cased: questions and requests, not mere proposals to meet."""
        return [ask.sentence.lower for ask in self.asked if ask.kind != "proposal"]

    @property
    def head(self) -> str:
        """The text, with its subject where that is the sender's own, lower-cased."""
        return (self.text if self.is_reply else f"{self.subject} {self.text}").lower()


def is_away_notice(subject: str, text: str) -> bool:
    """Whether this is an automatic reply of somebody who is away."""
    return _AWAY.search(subject.lower()) is not None or (
        len(text) < 1_500 and _AWAY.search(text.lower()[:400]) is not None
    )


def is_simple_logistics(scene: Scene, *, priced: bool) -> bool:
    """
    Whether this is a short confirmation: at most fifty words, nothing asked, priced or objected.

    Every sentence confirms, thanks or is too short to say anything else.
    """
    if (
        not scene.sentences
        or priced
        or scene.objections
        or scene.answers_expected
        or scene.mood in ("negative", "concerned")
    ):
        return False
    confirming = [_LOGISTIC.search(sentence.lower) is not None for sentence in scene.sentences]
    plain = [
        says or len(sentence.text.split()) <= 4 for says, sentence in zip(confirming, scene.sentences, strict=True)
    ]
    return any(confirming) and all(plain) and len(scene.text.split()) <= 50


def communication_type(scene: Scene) -> CommunicationType:
    """Return which part of the business the message belongs to."""
    if scene.direction == "internal":
        return "internal"
    head = scene.head
    weights: dict[CommunicationType, int] = {
        "billing": len(_BILLING.findall(head)),
        "support": len(_SUPPORT.findall(head)),
        "onboarding": len(_ONBOARDING.findall(head)),
        "success": len(_SUCCESS.findall(head)),
    }
    best = max(weights, key=lambda kind: weights[kind])
    # A word in passing does not take a running deal out of sales.
    needed = 1 if scene.is_customer else 2
    if weights[best] >= needed:
        return best
    return "success" if scene.is_customer and scene.stage == "none" else "sales"


def request_type(scene: Scene) -> RequestType:
    """Return what the sender wants."""
    asked = " ".join(scene.answers_expected)
    for kind, wanted in (
        ("demo_request", "demo_request" in scene.signals),
        ("complaint", scene.mood in ("negative", "concerned") and _COMPLAINT.search(scene.head) is not None),
        ("pricing_question", _PRICE_ASK.search(asked) is not None),
        ("meeting_request", _wants_to_meet(scene)),
        ("introduction", not scene.is_reply and _INTRODUCTION.search(scene.head[:600]) is not None),
        ("follow_up", _FOLLOW_UP.search(scene.head) is not None),
        ("general_question", bool(asked)),
        ("info_share", _SHARING.search(scene.head) is not None),
    ):
        if wanted:
            return kind  # pyright: ignore[reportReturnType] - the names above are the type's own
    return "other"


def _wants_to_meet(scene: Scene) -> bool:
    return any(_MEETING.search(ask.sentence.lower) for ask in scene.asked if ask.probability >= 0.6)


def playbook_trigger(scene: Scene, kind: CommunicationType, wanted: RequestType) -> str:
    """
    Return the trigger that fits best, `general` when nothing does.

    What the other rules have found decides, first hit wins: what a buyer is ready to do, what would be lost, what is asked.
    """
    if scene.direction == "internal":
        return "internal_request" if scene.answers_expected else "informational"
    if scene.direction == "outbound":
        return "promise_made" if scene.promised else "informational"
    asked = " ".join(scene.answers_expected)
    onboarding = kind == "onboarding"
    ladder: tuple[tuple[str, bool], ...] = (
        ("ready_to_proceed", "ready_to_proceed" in scene.signals),
        ("demo_request", "demo_request" in scene.signals),
        ("trial_request", "trial_request" in scene.signals),
        ("risk_signal", "deal_at_risk" in scene.signals),
        ("pricing_request", _PRICE_ASK.search(asked) is not None),
        (
            "go_live_risk",
            onboarding and _GO_LIVE.search(scene.head) is not None and _RISK_WORDS.search(scene.head) is not None,
        ),
        ("onboarding_blocker", onboarding and _RISK_WORDS.search(scene.head) is not None),
        ("objection_raised", bool(scene.objections)),
        ("competitor", bool(scene.competitors) or "competitor_evaluating" in scene.signals),
        ("meeting_request", wanted == "meeting_request"),
        ("unknown_sender", not scene.is_known),
        ("urgency_signal", scene.urgency == "high" and not asked),
        ("technical_question", _TECHNICAL.search(asked) is not None),
        ("direct_question", bool(asked)),
        ("buying_signal", bool(scene.signals & {"expansion_interest", "champion_identified"})),
        ("budget_discussed", "budget_confirmed" in scene.signals),
        ("introduction", wanted == "introduction"),
        ("follow_up", wanted == "follow_up"),
        ("concern_unresolved", scene.mood in ("negative", "concerned")),
        ("informational", wanted == "info_share"),
    )
    return next((trigger for trigger, fits in ladder if fits), "general")


def potential_triggers(scene: Scene, wanted: RequestType) -> list[Trigger]:
    """Return everything that this message may set off, `none` when nothing."""
    asked = " ".join(scene.answers_expected)
    found: tuple[tuple[Trigger, bool], ...] = (
        ("inbound_inquiry", scene.direction == "inbound" and not scene.is_reply and bool(asked)),
        ("demo_request", wanted == "demo_request"),
        ("pricing_request", scene.direction == "inbound" and _PRICE_ASK.search(asked) is not None),
        ("commitment_made", scene.promised),
        ("competitor_mentioned", bool(scene.competitors) or "competitor_evaluating" in scene.signals),
        ("objection_raised", bool(scene.objections)),
        ("deal_at_risk", "deal_at_risk" in scene.signals),
        ("follow_up_needed", wanted == "follow_up"),
        ("question_asked", bool(asked)),
        ("positive_signal", bool(scene.signals - {"deal_at_risk", "competitor_evaluating"}) or scene.mood == "excited"),
        ("negative_signal", scene.mood in ("negative", "concerned")),
        ("escalation_needed", scene.direction == "inbound" and scene.mood == "negative" and scene.urgency == "high"),
    )
    return [trigger for trigger, fits in found if fits] or ["none"]
