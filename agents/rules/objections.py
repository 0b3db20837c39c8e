"""Objections: what a buyer holds against going on, by kind, with the sentence that says it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.rules.sentences import Sentence

Kind = Literal["price", "timing", "competitor", "authority", "integration", "security", "trust", "feature"]


@dataclass(frozen=True, slots=True)
class Objection:
    """One objection; `addressed` when the same sentence says that it is settled."""

    kind: Kind
    sentence: Sentence
    confidence: float
    addressed: bool


_KINDS: tuple[tuple[Kind, float, str], ...] = (
    ("price", 0.90, r"\b(?:too|so|very|quite|rather|a bit|bit|pretty|really|still|more) (?:expensive|pricey|costly|steep|high for us|much for us|much money)\b|\b(?:exceeds?|beyond|over|above|outside|higher than|more than) (?:our|the|my|what we) (?:\w+ )?(?:budget|budgeted|afford|can spend|planned|expected to pay|wanted to (?:pay|spend))|\b(?:can't|cannot|can not|couldn't|unable to) (?:afford|justify (?:the|that|this|your)? ?(?:\w+ )?(?:price|cost|spend|expense|investment|increase))"),
    ("price", 0.86, r"\b(?:price|pricing|cost|costs|quote|fee|fees|number|rate|increase)\b[^.?!]{0,40}\b(?:too high|is high|are high|higher than|steep|hard to (?:justify|swallow|sell)|concern|concerns|a problem|an issue|a stretch|not competitive|doesn't work|does not work|sticker shock|out of (?:our )?reach|above)|\b(?:budget|money|funds?)\b[^.?!]{0,30}\b(?:cut|cuts|frozen|freeze|tight|gone|not approved|isn't there|is not there|an issue|a problem|constraint|constraints)|\bno budget\b|\bdon't have (?:the |a )?(?:budget|money)|\b(?:zu teuer|trop cher|demasiado caro|muy caro)\b"),
    ("timing", 0.86, r"\b(?:not (?:ready|the right time|a good time|a priority|right now|this (?:year|quarter|month))|bad timing|too (?:early|soon) (?:for us|to)|no (?:bandwidth|capacity|time) (?:to|for|right|this|until)|(?:don't|do not) have (?:the )?(?:bandwidth|capacity|resources|time)|hold(?:ing)? off|put (?:this|it|things|the project|everything) (?:on hold|on ice|on the back ?burner)|(?:put |is |are |are now |now )on hold|(?:have to|need to|must|had to|decided to|asked to|told to) (?:stop|pause|freeze|halt|postpone|delay|put off|shelve) (?:all|any|the|this|our|your|new|every)|(?:cannot|can't|can not|won't be able to) (?:start|do|begin|take (?:this|it|on)|put|add|look at)[^.?!]{0,45} (?:before|until|this (?:year|quarter|month))|(?:have|got|there are) (?:simply |just )?no (?:people|staff|team|hands|one) (?:for|to)|push(?:ed|ing)? (?:this|it|the \w+)? ?(?:back|out|to (?:next|q[1-4]))|postpon\w+ (?:the|this|it|until|our|any)|revisit (?:this |it |things )?(?:in|next|after|later)|not (?:until|before) (?:next (?:year|quarter|month|season)|q[1-4]|the (?:new year|end of|start of|summer|fall|autumn|spring)|january|february|march|april|june|july|august|september|october|november|december)|pausing|paused (?:all|the|our|this)|deprioriti[sz]ed)\b|\bnoch nicht (?:bereit|so ?weit)\b|\bpas le bon moment\b|\bno es (?:el|buen) momento\b"),
    ("competitor", 0.86, r"\b(?:go(?:ing|ne)?|went|lean\w*|mov(?:e|ing)|switch\w*|decided to go|inclined to go|prefer to go) (?:\w+ )?(?:with|toward|towards|to|in favou?r of) (?:a |an |the |your |another |some other )?(?:competitor|other vendor|other provider|another (?:vendor|provider|supplier|solution)|cheaper (?:\w+ )?(?:option|vendor|alternative)|different (?:vendor|provider|direction|supplier))|\b(?:competitor|other vendors?|other quotes?|alternative|another (?:vendor|provider|supplier))\b[^.?!]{0,40}\b(?:cheaper|better|lower|less|offers?|offered|included|quoted)\b|\b(?:cheaper|better (?:offer|price|deal)) (?:elsewhere|from (?:another|a competitor|someone))"),
    ("authority", 0.84, r"\b(?:not my (?:call|decision)|(?:above|over) my pay ?grade|(?:can't|cannot|not able to|don't have (?:the )?authority to) (?:sign|approve|decide|commit)\b[^.?!]{0,30}|(?:(?:we|i)(?:'d| would| will|'ll| still| first)? (?:need|have|require|want)|(?:it|this|that|everything|the (?:deal|contract|budget|purchase|spend|order|proposal|offer|project|decision)) (?:needs?|has|requires?|is (?:subject to|pending|waiting (?:on|for)))|pending|subject to|waiting (?:on|for)) (?:to (?:get|go through|run (?:it|this|that) (?:by|past)|be approved by|convince|ask|wait for) )?(?:\w+ ){0,3}(?:board|cfo|ceo|boss|procurement|legal|finance|management|director|steering committee|vp|approval|sign-?off|buy-?in)(?:'s)?(?: (?:approval|sign-?off|buy-?in|review|decision|first))?)\b|^needs [\w.' ]{2,30}(?:signature|approval|sign-?off)\b"),
    ("integration", 0.84, r"\b(?:(?:doesn't|does not|don't|won't|will not|can't|cannot|couldn't|not) (?:\w+ )?(?:integrate|sync|connect|work|talk|export|import)(?:s|ed)? (?:\w+ ){0,2}(?:with|to|into|from|natively)|no (?:native )?(?:integration|connector|api)|(?:integration|migration|api|data import)\b[^.?!]{0,40}\b(?:concern|concerns|issue|issues|problem|problems|difficult|hard|complex|complicated|worr\w+|blocker|painful|risk|too much work))\b"),
    ("security", 0.84, r"\b(?:security|privacy|gdpr|compliance|hipaa|soc ?2|iso ?27001|data (?:protection|residency|privacy|location)|dpa|infosec|datenschutz|rgpd)\b[^.?!]{0,60}\b(?:concern|concerns|concerned|worr\w+|issue|issues|problem|problems|blocker|risk|not (?:comfortable|approved|compliant)|fail\w*|require\w*|must|before we can|reject\w*|pushback|objection\w*)\b|\b(?:worried|concerned|concerns?|uneasy|nervous|issues?|objection\w*|pushback)\b[^.?!]{0,40}\b(?:security|privacy|gdpr|compliance|data (?:protection|residency|privacy)|where (?:our|the) data)\b"),
    ("trust", 0.82, r"\b(?:not (?:convinced|confident|persuaded|comfortable)|skeptical|sceptical|(?:have|had|having) (?:some |serious |my |our |a few )?(?:doubts|reservations|misgivings|second thoughts)|lost (?:confidence|trust|faith)|burned (?:before|by)|been burned|(?:hard|difficult) to trust|don't trust|worried (?:about|that) (?:your|the) (?:company|support|stability|size|track record)|too (?:small|young|new) a (?:company|vendor)|references? (?:before|first)|let down (?:before|by)|unproven)\b"),
    ("feature", 0.82, r"\b(?:(?:missing|lacks?|lacking|doesn't (?:have|support|offer|include|handle|cover)|does not (?:have|support|offer|include|handle|cover)|(?:there is|there's) no (?:support|option|way) (?:for|to)) (?:the |a |an |any |our |key |some )?(?:\w+ ){0,5}(?:feature|features|functionality|option|reporting|reports?|dashboards?|module|capabilit\w+|workflow|we need|we require|we rely on|we would need|for us)|deal ?breaker|show ?stopper|(?:isn't|is not|wasn't|not) (?:flexible|powerful|scalable|robust|customi[sz]able) enough|not (?:a good |the right |quite the right |a )fit)\b"),
)  # fmt: skip
_PATTERNS: tuple[tuple[Kind, float, re.Pattern[str]], ...] = tuple(
    (kind, confidence, re.compile(pattern)) for kind, confidence, pattern in _KINDS
)
_GENERAL = re.compile(
    r"\b(?:(?:my|our|one|the|main|biggest|only|another|remaining|big|key|real|major|a few|some|serious) (?:\w+ )?(?:concern|worry|objection|hesitation|reservation|sticking point|hurdle|blocker)s?|(?:i am|i'm|we are|we're|remain|still) (?:\w+ )?(?:worried|concerned|hesitant|nervous|reluctant)) (?:is|are|about|that|with|remains?|to|regarding|over)\b"
)
_TOPIC_WORDS: tuple[tuple[Kind, str], ...] = (
    ("price", r"\b(?:price|pricing|cost|costs|budget|expensive|fee|fees|roi|spend|money|discount)\b"),
    ("security", r"\b(?:security|privacy|gdpr|compliance|hosted|data protection|residency)\b"),
    ("integration", r"\b(?:integrat\w+|migrat\w+|api|sync|import|export|existing systems?|erp|crm)\b"),
    ("timing", r"\b(?:timeline|timing|deadline|schedule|rollout|roll-out|implementation time|go-live|capacity|bandwidth|resources)\b"),
    ("competitor", r"\b(?:competitor|alternative|other vendors?)\b"),
    ("authority", r"\b(?:board|procurement|approval|sign-?off|cfo|ceo|legal)\b"),
    ("feature", r"\b(?:feature|functionality|reporting|missing|customi[sz]\w+|adoption|usability|complex)\b"),
    ("trust", r"\b(?:support|references?|stability|reliab\w+|track record|company|team|accuracy|quality)\b"),
)  # fmt: skip
_TOPICS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple((kind, re.compile(pattern)) for kind, pattern in _TOPIC_WORDS)
_DENIED = re.compile(
    r"\b(?:no|not a|without any|isn't a|is not a|aren't any|don't have any|no longer (?:a|an)?) ?(?:\w+ )?(?:concerns?|issues?|problems?|objections?|blockers?|worries|reservations)\b|\bno longer (?:worried|concerned)\b"
)
_SETTLED = re.compile(
    r"\b(?:no longer|resolved|addressed|cleared up|settled|sorted(?: out)?|answered (?:my|our)|put to rest|was worried|were worried|used to be|not anymore)\b"
)
_HYPOTHETICAL = re.compile(
    r"^(?:if|in case|should|unless|let (?:me|us) know if|when)\b|\bif (?:you|there|any)\b[^.?!]{0,30}\b(?:concerns?|issues?|problems?|questions?|too)\b"
)


def find_objections(sentences: Sequence[Sentence]) -> list[Objection]:
    """Return the objections of a buyer's sentences, at most one of a kind per sentence; denials and offers are none."""
    found: list[Objection] = []
    for sentence in sentences:
        lower = sentence.lower[:600]
        if _HYPOTHETICAL.search(lower) or _DENIED.search(lower):
            continue
        addressed = _SETTLED.search(lower) is not None
        kinds: dict[Kind, float] = {}
        for kind, confidence, pattern in _PATTERNS:
            if pattern.search(lower):
                kinds[kind] = max(confidence, kinds.get(kind, 0))
        if not kinds and _GENERAL.search(lower):
            kinds[_topic(lower)] = 0.76
        question = lower.rstrip("\"') ").endswith("?")
        found.extend(
            Objection(kind, sentence, round(confidence - (0.12 if question else 0.0), 2), addressed)
            for kind, confidence in kinds.items()
        )
    return found


def _topic(lower: str) -> Kind:
    for kind, topic in _TOPICS:
        if topic.search(lower):
            return kind
    return "trust"
