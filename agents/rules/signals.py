"""Signals of a deal, the competitors and products a message names, and the facts it states about the business."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.rules.sentences import Sentence

Context = Literal["currently_using", "evaluating", "mentioned"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a sentence shows: `name` of a known kind, in `sentence`, this surely."""

    name: str
    sentence: Sentence
    confidence: float
    detail: str = ""


# What stands for <time> in the patterns: a deadline names a day, not a person.
_TIME = r"(?:the )?(?:end|monday|tuesday|wednesday|thursday|friday|january|february|march|april|may|june|july|august|september|october|november|december|next|this|tomorrow|today|q[1-4]|early|late|mid|spring|summer|autumn|fall|winter|year|month|eod|\d)"
# Signals that only a buyer's own words give.
_SIGNALS: tuple[tuple[str, float, str], ...] = (
    ("ready_to_proceed", 0.90, r"\b(?:(?:we|i)(?:'re| are|'d| would|'m| am)? (?:\w+ )?(?:ready|like|happy|want|excited|keen|good|set|prepared|cleared|decided|pleased|going) to (?:move (?:forward|ahead)|go ahead|proceed|get started|sign|buy|purchase|place (?:the|an|our) order|close|start (?:the )?(?:contract|subscription|onboarding))|please (?:go ahead|proceed|move ahead)|(?:the |our )?(?:signed (?:copy|contract|agreement|order form|offer)|(?:contract|agreement|order form|offer) (?:is|are) signed)|let's (?:do it|do this|move (?:forward|ahead)|go ahead|proceed|get (?:this|it) (?:signed|done)|sign)|(?:^|please |you |just |then )send (?:me |us |over )?(?:\w+ ){0,2}(?:contract|order form|agreement|paperwork|docusign|msa|sow)(?: over| across)?(?: (?:to sign|for signature|so we can sign))?|we(?:'ve| have) (?:decided|chosen|selected|agreed) (?:to go )?(?:with )?(?:you|your)|you(?:'ve| have) got (?:a deal|yourself)|(?:wir m\u00f6chten|wir wollen) (?:bestellen|beauftragen|starten)|nous souhaitons (?:commander|avancer)|queremos (?:avanzar|contratar))\b"),
    ("budget_confirmed", 0.88, r"\b(?:(?:budget|funding|spend|funds|investment)\b[^.?!]{0,25}\b(?:is |was |has been |have been |are |got )?(?:approved|confirmed|allocated|secured|signed off|in place|set aside|available|cleared|released)|(?:approved|allocated|secured|set aside|confirmed|released) (?:a |the |our |an |some )?(?:\w+ )?budget\b(?! (?:cut|freeze|issue|constraint|concern|problem|meeting|review|talk|round|cycle))|(?:have|got) (?:a |the |our )?(?:\w+ )?budget (?:for|of|approved))"),
    ("timeline_urgent", 0.84, r"\b(?:need(?:s|ed)? (?:this|it|to be|to have|to go|a solution|something|to start|to launch)[^.?!]{0,40}\b(?:(?:by|before|within) <time>|this (?:week|month|quarter)|asap|live|immediately|urgently)|(?:go[- ]?live|launch|roll ?out|deadline|start date|kick-?off)\b[^.?!]{0,30}\b(?:(?:by|before|is|is on|on|in) <time>|must|cannot slip)|time is (?:tight|of the essence|short)|contract (?:ends|expires|runs out|is up))\b"),
    ("competitor_evaluating", 0.84, r"\b(?:(?:evaluat|compar|consider|look(?:ing)? at|shortlist|talk(?:ing)? to|demo)\w* (?:\w+ ){0,3}(?:other |several |two |three |a few |some |alternative |different |competing )(?:vendors?|providers?|options?|solutions?|suppliers?|tools?|products?|quotes?|systems?|companies)|(?:competing|other) (?:bids?|quotes?|proposals?|offers?)|rfp)\b"),
    ("deal_at_risk", 0.88, r"\b(?:(?:want|need|wish|would like|decided|going|plan(?:ning)?|forced|considering|thinking (?:about|of)|have|like) (?:to )?(?:\w+ )?(?:cancel(?:l?ing)?|terminat(?:e|ing)|end(?:ing)? (?:our|the) (?:contract|subscription|agreement|relationship)|not renew(?:ing)?|leav(?:e|ing) (?:you|your|the (?:platform|service|product)|as a customer)|switch(?:ing)? (?:away|to|vendors?|providers?)|walk(?:ing)? away|discontinu(?:e|ing)|downgrad(?:e|ing))|(?:won't|will not|not going to|decided not to|don't plan to|do not (?:plan|intend) to) (?:be )?(?:renew|renewing|continue|continuing|move forward|moving forward|proceed|proceeding|extend|extending)|decided to (?:go|move) (?:with|in|to) (?:another|a different|someone)|no longer (?:interested|need|require|moving forward|a fit)|not interested|take (?:me|us) off (?:your|the) (?:mailing )?list|stop (?:e-?mailing|writing|contacting|calling) (?:me|us)|do not (?:write|contact|e-?mail|call)(?: (?:me|us))? again|(?:have to|must|had to|decided to) (?:stop|cancel|end) (?:all projects|the project|this project|your)|please cancel|k\u00fcndigen|r\u00e9silier|cancelar (?:el|nuestro|la))\b"),
    ("expansion_interest", 0.84, r"\b(?:(?:add|adding|need|want|purchase|buy|order|get|include|extend(?:ing)? to|roll(?:ing)? (?:it |this )?out to|expand(?:ing)? to|deploy(?:ing)? to) (?:\w+ ){0,3}(?:more|additional|extra|another|\d+ (?:more|additional|new)|other) (?:\w+ )?(?:seats?|licen[cs]es?|users?|locations?|offices?|branches|teams?|departments?|sites?|modules?|units?|regions?|stores?)|upgrad(?:e|ing) (?:to|our|the)|(?:renew|extend) (?:our|the) (?:contract|subscription|agreement|plan) (?:for|early|and))\b"),
    ("decision_timeline", 0.80, r"\b(?:(?:final |make a |reach a |make the |our )decision (?:(?:by|on|in|before) <time>|next|this (?:week|month|quarter)|will be (?:made|taken)|is (?:due|expected|planned))|decide (?:(?:by|on|in|before) <time>|next (?:week|month|quarter)|this (?:week|month|quarter))|(?:board|committee|leadership|management) (?:meets (?:on|next|this|in)|meeting (?:is|on|next)|will (?:decide|review|vote|approve))|decision is (?:taken|made)|decision[- ]?makers?|(?:procurement|legal) (?:review|process|team (?:is|will)|is reviewing|needs))\b"),
    ("champion_identified", 0.78, r"\b(?:(?:i|we)(?:'ll| will|'m| am|'ve| have)? (?:be )?(?:push(?:ing|ed)?|champion(?:ing|ed)?|advocat(?:e|ing|ed)|(?:make|making|made) the case|sell(?:ing)? (?:it|this) internally|present(?:ing)? (?:it|this) to (?:our|the|my) (?:board|team|cfo|ceo|leadership|management|boss))|big fan of (?:your|the)|the team loves?|everyone (?:here )?(?:loves?|likes?|is impressed|is excited))\b"),
    ("positive_feedback", 0.80, r"\b(?:(?:really |very |so |quite |truly |extremely )(?:impressed|happy|pleased|helpful|useful)|(?:we|i|they|team|everyone|crew|users|people|staff) (?:\w+ )?(?:love|loved|loving) (?:the|your|it|this|how|what)|(?:great|excellent|fantastic|amazing|good) (?:demo|presentation|product|work|job|support|service|results?|call|session|tool)|works? (?:great|perfectly|really well|beautifully)|exactly what we (?:need|were looking|wanted))\b"),
    ("demo_request", 0.86, r"\b(?:(?:see|get|have|schedule|book|arrange|request|set up|give (?:us|me)|show (?:us|me)|join|like|want|do) (?:\w+ ){0,4}(?:demo|demonstration|product tour|walk-?through|vorf\u00fchrung|d\u00e9mo|demostraci\u00f3n))\b"),
    ("trial_request", 0.84, r"\b(?:(?:start|get|try|request|want|like|begin|sign up for) (?:\w+ ){0,4}(?:free trial|trial|pilot|proof of concept|poc)|try (?:it|this|the product|the platform|the software) (?:out|ourselves|first|before))\b"),
)  # fmt: skip
_SIGNAL_PATTERNS = tuple(
    (name, confidence, re.compile(pattern.replace("<time>", _TIME))) for name, confidence, pattern in _SIGNALS
)
_UNDONE = re.compile(
    r"\b(?:not|isn't|aren't|wasn't|hasn't|haven't|don't|doesn't|didn't|never|no|nicht|pas) (?:\w+ ){0,2}$"
)
_NOT = re.compile(r"\b(?:not|never|nicht|pas)\b|n't\b")
_NEGATIVE_ITSELF = frozenset({"deal_at_risk"})
AGAINST = frozenset({"deal_at_risk", "competitor_evaluating"})
"""Signals that speak against the deal."""
_HYPOTHETICAL = re.compile(r"^(?:if|should|in case|unless|whether)\b|\bif you\b")

_USING = re.compile(
    r"\b(?:currently|already|today|at the moment|presently|existing|incumbent|current|still) (?:\w+ ){0,2}(?:use|using|on|run|running|with|have|vendor|provider|supplier|system|contract)?|\b(?:we|they|our team) (?:use|run|have|are on|work with|moved to|switched to|rely on)\b|\b(?:contract|license|subscription) with\b"
)
_EVALUATING = re.compile(
    r"\b(?:evaluat\w+|compar\w+|consider\w*|look(?:ing|ed)? at|shortlist\w*|versus|vs\.?|against|alternative\w*|demo\w*|talk(?:ing|ed)? to|quote\w*|offer\w*|pitch\w*|trial\w*|pilot\w*|between|rfp|switch(?:ing)? to|leaning)\b"
)

_FACTS: tuple[tuple[str, float, str], ...] = (
    ("size", 0.86, r"\b(?:we|our (?:company|team|group|department|business))(?:'re| are| is| have| has|'ve got| got| employ| run| operate| manage)?(?: (?:a|about|around|roughly|over|nearly|approximately|some|currently|now|almost|team of|up to|the))* \d[\d,.]*\+? (?:\w+ )?(?:employees|people|users|seats|reps|agents|locations|offices|branches|sites|technicians|drivers|engineers|stores|trucks|vehicles|customers|clients|properties|staff|licen[cs]es|countries|warehouses)\b|\bteam of \d+\b"),
    ("budget", 0.86, r"\b(?:our |the |a |total |annual )budget (?:is|of|for this is|will be|would be)(?: (?:about|around|roughly|up to|approximately|capped at|between))? ?(?:[$\u20ac\u00a3]|usd|eur|gbp)? ?\d[\d,.]*"),
    ("contract", 0.86, r"\b(?:our|the|my) (?:current |existing |present )?(?:\w+ )?(?:contract|subscription|agreement|licen[cs]e|lease|renewal) (?:with \w+ )?(?:ends|expires|runs (?:until|through|out)|is up|is due|renews|comes up)\b"),
    ("current_solution", 0.82, r"\b(?:we|our team|our company)(?:'re| are)? (?:currently |already |now |still )+(?:use|using|run|running|work with|working with|on|rely on|relying on|manage|managing|track|tracking|do|doing)\b"),
    ("role", 0.80, r"\b(?:i(?:'m| am) (?:the|our|your|now|a) (?:new |acting )?(?:\w+ ){0,3}(?:manager|director|head|owner|ceo|cfo|cto|coo|vp|president|lead|partner|controller|buyer)|i(?:'ve| have) (?:taken over|joined|been promoted)|(?:has|have) left the company|(?:new|taking over as) (?:ceo|cfo|cto|coo|vp|head|director|owner|manager))\b"),
    ("fiscal", 0.80, r"\b(?:our fiscal year|fiscal year (?:ends|starts|begins)|budget (?:cycle|year|planning) (?:is|starts|ends|begins|closes)|year[- ]end (?:is|falls|closes))\b"),
    ("change", 0.80, r"\b(?:we(?:'re| are| have|'ve)? (?:just |recently )?(?:opening|opened|acquir(?:ed|ing)|merg(?:ed|ing)|hir(?:ed|ing)|relocat(?:ed|ing)|expand(?:ed|ing)|launch(?:ed|ing)|rais(?:ed|ing)) (?:a |an |our |two |three |\d+ |new |in |into |with )+)"),
)  # fmt: skip
_FACT_PATTERNS = tuple((name, confidence, re.compile(pattern)) for name, confidence, pattern in _FACTS)


def find_signals(sentences: Sequence[Sentence]) -> list[Finding]:
    """Return the buying and risk signals of a buyer's sentences, each kind once, where it is surest."""
    best: dict[str, Finding] = {}
    for sentence in sentences:
        lower = sentence.lower[:600]
        if _HYPOTHETICAL.search(lower):
            continue
        question = lower.rstrip("\"') ").endswith("?")
        for name, confidence, pattern in _SIGNAL_PATTERNS:
            match = pattern.search(lower)
            if match is None or (name not in _NEGATIVE_ITSELF and _undone(lower, match)):
                continue
            asked = question and name not in {"demo_request", "trial_request", "expansion_interest", "ready_to_proceed"}
            sure = round(confidence - (0.2 if asked else 0), 2)
            if name not in best or best[name].confidence < sure:
                best[name] = Finding(name, sentence, sure)
    return list(best.values())


def _undone(lower: str, match: re.Match[str]) -> bool:
    return _UNDONE.search(lower[: match.start()]) is not None or _NOT.search(match[0]) is not None


def find_facts(sentences: Sequence[Sentence]) -> list[Finding]:
    """Return what the sentences state about the sender's business or role, one per sentence."""
    found: list[Finding] = []
    for sentence in sentences:
        lower = sentence.lower[:600]
        if lower.rstrip("\"') ").endswith("?") or _HYPOTHETICAL.search(lower):
            continue
        for name, confidence, pattern in _FACT_PATTERNS:
            if pattern.search(lower):
                found.append(Finding(name, sentence, confidence))
                break
    return found


def find_competitors(sentences: Sequence[Sentence], names: Sequence[str]) -> list[Finding]:
    """Return the competitors of the workspace that are named, each once, with what they are to the sender as `detail`."""
    best: dict[str, Finding] = {}
    rank: dict[str, int] = {"currently_using": 2, "evaluating": 1, "mentioned": 0}
    for name in names:
        pattern = _named(name)
        for sentence in sentences:
            match = pattern.search(sentence.text)
            if match is None:
                continue
            context = _context(sentence.lower)
            if name not in best or rank[context] > rank[best[name].detail]:
                best[name] = Finding(name, sentence, 0.92 if context != "mentioned" else 0.86, context)
    return list(best.values())


def find_products(text: str, names: Sequence[str]) -> list[str]:
    """Return the products of the workspace that the text names, in the order given."""
    return [name for name in names if _named(name).search(text)]


def _named(name: str) -> re.Pattern[str]:
    # A name that is one common-looking short word must be written as the workspace writes it.
    exact = name.isalpha() and len(name) <= 6
    spaced = r"[\s-]+".join(re.escape(word) for word in name.split())
    return re.compile(rf"(?<![\w@.-]){spaced}(?:'s)?(?![\w@])", 0 if exact else re.IGNORECASE)


def _context(lower: str) -> Context:
    if _EVALUATING.search(lower):
        return "evaluating"
    return "currently_using" if _USING.search(lower) else "mentioned"
