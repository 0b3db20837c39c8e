"""
What a message asks of its reader: questions, requests and proposals to meet, and how sure that is.

`asks` sums the weights of the cues that a sentence shows and answers with a probability. The weights are log-odds,
fitted once on general business mail and rounded; a cue is a habit of the language, never a topic.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.rules.sentences import Sentence

VERBS = (
    "accept|activate|add|address|adjust|advise|allow|amend|answer|apply|approve|arrange|ask|assign|assist|attach|attend|be|"
    "book|bring|browse|call|cancel|change|chat|check|choose|circulate|clarify|click|close|come|comment|compare|complete|"
    "confirm|connect|consider|contact|coordinate|copy|correct|create|decide|define|delete|deliver|describe|discuss|"
    "distribute|do|download|draft|drop|edit|email|e-mail|enable|enclose|ensure|enter|evaluate|examine|expect|explain|"
    "explore|extend|fax|file|fill|find|finalize|finalise|fix|follow|forward|get|give|go|grab|handle|have|head|help|hold|"
    "identify|ignore|implement|include|indicate|inform|install|introduce|invite|invoice|issue|join|keep|leave|let|list|"
    "listen|log|look|mail|make|mark|meet|mention|move|name|note|notify|offer|open|order|organize|organise|outline|page|"
    "pass|pay|phone|pick|ping|place|plan|point|post|prepare|print|proceed|process|propose|provide|pull|push|put|quote|"
    "rate|reach|read|recommend|record|refer|register|remember|remind|remove|replace|reply|report|request|resend|reserve|"
    "resolve|respond|restart|resubmit|return|review|revise|run|save|scan|schedule|search|see|select|send|set|share|show|"
    "sign|sort|speak|specify|start|stay|stop|submit|suggest|supply|support|switch|take|talk|tell|test|think|touch|track|"
    "transfer|translate|try|turn|update|upgrade|upload|use|verify|view|visit|wait|watch|work|write"
)
_MEET = r"(?:meet|meeting|talk|speak|chat|discuss(?:ion|ing|ed)?|catch up|get together|connect|touch base|lunch|dinner|coffee|call)"
_LEAD = r"(?:(?:and|also|then|so|just|now|first|next|finally|\w+[,:]|-|but),? )*"
_SENDS = r"give|send|tell|show|get|drop|shoot|forward|call|e-?mail|contact|ask|remind|join|page|ping|text|meet|help|copy|fax|advise|inform|invite|allow"
_ASKED_DIRECTLY = "can|could|would|will|do|did|have|let|i|you|we|are|what|when|any|attached|please"

# (name, weight in log-odds, habit of the language); sentences are matched lower-cased, on one line.
_CUES: tuple[tuple[str, float, str], ...] = (
    ("please", 2.07, r"\b(?:please|pls|plz|kindly)\b"),
    ("can you", 1.93, r"\b(?:can|could|would|will|won't|can't|couldn't) (?:you|u|y'all|someone|somebody|anyone|one of you)\b"),
    ("opens with please", 1.68, r"^(?:so |and |also |then |first|second|next|if possible)?,? ?(?:please|pls|kindly)\b"),
    ("question mark", 1.66, r"\?[\"')\s]*$"),
    ("would be great", 1.48, r"\b(?:would|will|'d) be (?:\w+ )?(?:great|good|nice|helpful|useful|wonderful|appreciated|fantastic|perfect|awesome|terrific|best|better|interested)\b|\bappreciate (?:it|any|your|a|if)\b|\bappreciated\b"),
    ("let me know", 1.48, r"\blet (?:me|us) know\b|\bkeep (?:me|us) (?:posted|updated|informed)"),
    ("wondering", 1.40, r"\b(?:wondering|wonder|curious) (?:if|whether|about|what|when|how|who)\b|\bwants? to know\b|\bany (?:chance|thoughts|ideas|news|update|word|interest|feedback)\b|\bwanted to (?:see|know|check|ask|find out)"),
    ("let us", 1.37, r"\b(?:let's|lets|let us)\b(?! know)"),
    ("opens with a verb", 1.28, rf"^{_LEAD}(?:do not |don't |never |always |just |simply |kindly )?(?:{VERBS})\b(?!'s|:| (?:is|are|was|were|has|have|will|would|can|from)\b)"),
    ("will meet", 1.27, rf"\b(?:will|'ll|can|could|should|shall|may|might|would|let's|to|need to|want to) (?:\w+ ){{0,2}}{_MEET}\b"),
    ("discuss", 1.19, r"\b(?:discuss|talk|get together|catch up|touch base)\b"),
    ("suggests", 1.17, r"\b(?:perhaps|maybe|why don't|why not|how about|what about|suggest|propose|recommend)\b"),
    ("meet", 1.09, r"\b(?:meet|meeting|call|join|lunch|dinner)\b"),
    ("we should", 1.06, r"\bwe(?:'ll)? (?:should|need to|have to|must|ought)\b"),
    ("invites", 0.97, r"\b(?:invite|invited|invitation|rsvp|welcome to|join)\b"),
    ("and then a verb", 0.78, rf"(?:,|;| -+|\.\.+| and| so| or| then) (?:please |then |just )?(?:{VERBS}) (?:me|us|the|your|a|an|this|it|that|these|any|all|in|to|with|if)\b"),
    ("would like to meet", 0.76, rf"\b(?:like|love|want|wanted|hope|happy|glad|need|able|available|time|pleased) (?:you )?to (?:\w+ ){{0,2}}{_MEET}\b"),
    ("give me", 0.69, rf"\b(?:{_SENDS}) (?:it |them |this |these |that |those )?(?:to )?(?:me|us)\b"),
    ("soon", 0.68, r"\b(?:asap|as soon as possible|by (?:tomorrow|today|monday|tuesday|wednesday|thursday|friday|the end|cob|eod|close)|at your (?:earliest )?convenience|when you (?:get|have) (?:a )?(?:chance|minute|time|moment))\b"),
    ("addresses someone", 0.63, rf"^(?!so|and|also|yes|no|thanks|however|finally|unfortunately|hi|hello|but|ok|okay|today|well|again|first|now|then|if)[a-z]+(?: and [a-z]+)?(?:, | - | -- |: )(?=(?:{_ASKED_DIRECTLY})\b)"),
    ("needs", 0.62, r"\b(?:i|we) (?:\w+ )?need (?:to know|your|you|some|the|a|an|it|this)\b|\bi(?:'m| am) looking for\b|\bi was hoping\b|\bi hope you\b"),
    ("looks forward", 0.55, r"\b(?:look|looking) forward to (?:\w+ ){0,2}(?:meeting|seeing|talking|speaking|discussing|discussion|your|our|chatting|catching|working|connecting|visiting)\b"),
    ("you can", 0.54, r"\byou (?:can|may)\b"),
    ("can we", 0.50, r"\b(?:can|could|shall|should|may|might) (?:we|i)\b"),
    ("you", 0.49, r"\b(?:you|your)\b"),
    ("sets up a meeting", 0.49, r"\b(?:(?:set|setting) up|schedul\w+|arrang\w+|organi[sz]e|plan|have|hold|do|grab|get|join)\b(?: \w+){0,4} (?:meeting|call|conference|lunch|dinner|coffee|drink|drinks|appointment|discussion|chat|session|demo|visit)s?\b"),
    ("expects an answer", 0.47, r"\bi(?:'d)? (?:expect|need|want|require|hope for) (?:an?|your|the|some|any) (?:answer|reply|response|copy|decision|update|confirmation|feedback|approval|input)"),
    ("would like", 0.33, r"\b(?:i|we)(?:'d| would| should)(?: also| really| very much)? (?:like|love|prefer|want|appreciate|be grateful)\b"),
    ("you should", 0.19, r"\byou(?:'ll| will)? (?:should|need to|must|have to|might want|may want|may wish|might|ought|could|want to)\b"),
    ("says of oneself", -0.22, r"\bi (?:am|was|have|had|did|got|saw|know|understand|believe|think|thought|just|also|will|'ll)\b|\bi'm\b|\bi've\b"),
    ("advertises", -0.27, r"\b(?:free|offer|win|earn|unsubscribe|subscribe|newsletter|sweepstakes|deal|sale|save|% off|coupon|discount|prize|bonus|address book|safe sender|spam|receive (?:these|this|future|more|our) |notifications?|e-?mails? from|password|account|opt[- ]out|privacy|policy|terms)\b"),
    ("courtesy", -0.29, r"\b(?:hesitate|feel free|don't be afraid)\b"),
    ("numbers and codes", -0.30, r"\d{4,}|[=@]"),
    ("lets somebody else", -0.36, r"\blet (?:me|him|her|them)\b(?! know)"),
    ("refers back", -0.39, r"\b(?:as|we|you|i) (?:discussed|mentioned|requested|noted|agreed|spoke|talked)\b"),
    ("exclaims", -0.42, r"!"),
    ("opens with if", -0.44, r"^(?:\W*|and |but |so )if\b"),
    ("somebody does", -0.46, r"\b(?!it would be)(?:he|she|they|it|this|that|there|who|which|\w+s) (?:will|would|has|have|had|is|are|was|were)\b"),
    ("past", -0.46, r"\b(?:(?:was|were)(?! (?:just |also )?wondering)|had|been|did|didn't|wasn't|said|told|sent|received|discussed|got|went|came|thought|made)\b"),
    ("thanks", -0.50, r"\b(?:thanks|thank you|sorry|congrat\w*|happy (?:birthday|monday|friday|holidays|new))\b"),
    ("very short", -0.55, r"^.{0,22}$"),
    ("very long", -0.62, r"^.{220,}"),
    ("cannot", -0.74, r"\b(?:i|we) (?:don't|do not|didn't|did not|can't|cannot|haven't|have not|won't|will not)\b"),
    ("about others", -0.86, r"^(?!it would be)(?:the|this|these|that|those|it|he|she|they|there|a|an|our|my|his|her|in|at|on|as|since|because|although|while|given)\b"),
    ("opens with -ing", -0.89, r"^\w+ing\b"),
    ("so as to ensure", -1.09, r"^to (?:ensure|make sure|guarantee)\b"),
    ("polite button", -1.19, r"^(?=.*\bplease\b)(?=.*\b(?:click|link|visit|address book|spam|e-?mails|account|website|questions|password)\b)"),
    ("opting out", -1.59, r"\b(?:don't|do not|no longer|not) (?:want|wish|like) to (?:receive|get|hear)|\bunsubscribe|\baddress book|\bsafe sender|\bignore this|\bturn off|\bopt[- ]out\b"),
)  # fmt: skip
_BIAS = -1.37
_COMPILED = tuple((weight, re.compile(pattern)) for _, weight, pattern in _CUES)
_LONGEST = 600
"""Characters of a sentence that are weighed; what is longer is not one sentence."""

ASKED = 0.45
"""From this probability on a sentence counts as asking for something."""

# Other languages have no fitted weights: only forms that are requests by grammar.
_FOREIGN = re.compile(
    r"\b(?:k\u00f6nn(?:en|ten) sie|k\u00f6nnt(?:et)? ihr|kannst du|k\u00f6nntest du|w\u00fcrden sie|w\u00e4ren sie|bitte \w+|\w+en sie (?:uns|mir|bitte)|"
    r"bitten (?:wir )?(?:sie|um)|lassen sie (?:uns|mich)|geben sie (?:uns|mir))\b"
    r"|\b(?:pou(?:vez|rriez)[- ]vous|peux[- ]tu|veuillez|merci de \w+er\b|merci de bien vouloir|nous (?:aimerions|souhaiterions)|s'il vous pla\u00eet|auriez[- ]vous)"
    r"|\b(?:podr[i\u00ed]as?(?:n)?|puedes?|pueden|por favor|le(?:s)? agradecer[i\u00ed]a|me gustar[i\u00ed]a que)\b",
)
_SMALL_TALK = re.compile(
    r"^(?:so |and |hey |hi |hello )?(?:how are (?:you|things)|how's it going|how (?:have|are) you been|how was your (?:weekend|trip|week|vacation)|"
    r"hope (?:you|all)|are you well|wie geht|comment (?:allez|vas|\u00e7a va)|c\u00f3mo est\u00e1|what do you think of that|isn't (?:it|that)|who knows|"
    r"right|okay|ok|really|why not)\b"
)
_COURTESY = re.compile(
    r"\b(?:hesitate|feel free)\b|^(?:and )?(?:if|should) you (?:have|need|require) any (?:\w+ )*(?:questions?|concerns?|help|assistance|information|issues?)\b"
    r"|\blet (?:me|us) know (?:if|should) (?:you|there) (?:have|are|need|is|require) (?:any(?:thing)?|questions?|further|more)\b"
    r"|\bany (?:further |other |more )?questions\b.{0,40}\blet (?:me|us) know\b|\bplease (?:note|see attached|find|be advised|be aware)\b|^have (?:a|an) \w+ (?:one|day|week|weekend|evening|afternoon|trip)\b"
)
_OWN_DOING = re.compile(
    r"^(?:(?:i|we)(?:'ll| will| shall|'m going to| am going to| can| plan to| look| am looking|'m looking)|looking forward|see you|talk (?:to you )?soon|thanks|thank you)\b"
)


_OWN_PLAN = re.compile(
    r"^(?:[\w' ]{0,20}, )?(?:i|we)(?:'ll| will| shall|'m going to| am going to|'re going to| are going to| have to| need to| must| can)\b"
)
_CLEAR = 0.70
_WISH = re.compile(
    r"\b(?:i|we)(?:'d| would) (?:\w+ )?like (?:an?|the|two|three|four|some|more|another|one|\d+) "
    r"|\b(?:i|we)(?:'m| am| was|'re| are| were) (?:just |also )?(?:wondering|curious) (?:if|whether|what|when|how|who)\b"
    r"|\b(?:wants?|like|need) to know (?:if|whether|what|when|how|who)\b"
)
_WISHED = 0.72


@dataclass(frozen=True, slots=True)
class Ask:
    """A sentence that wants something of the reader: an answer, a deed, or a date to meet."""

    sentence: Sentence
    kind: Literal["question", "request", "proposal"]
    probability: float


def asks(text: str) -> float:
    """Return how probable it is that the sentence asks somebody to do something or proposes to meet, 0 to 1."""
    lower = text.lower()[:_LONGEST]
    if _FOREIGN.search(lower):
        return 0.88
    score = _BIAS + sum(weight for weight, pattern in _COMPILED if pattern.search(lower))
    return 1 / (1 + math.exp(-score))


def find_asks(sentences: Sequence[Sentence]) -> list[Ask]:
    """
    Return the questions, the requests and the proposals to meet among the sentences, in order.

    Small talk, offers of help and courtesies are not among them; what the sender will do oneself is no request.
    """
    found: list[Ask] = []
    for sentence in sentences:
        lower = sentence.lower
        question = lower.rstrip("\"') ").endswith("?")
        if (question and _SMALL_TALK.search(lower)) or _COURTESY.search(lower):
            continue
        probability = max(asks(sentence.text), _WISHED if _WISH.search(lower) else 0.0)
        if question:
            found.append(Ask(sentence, "question", max(probability, 0.86)))
        elif probability >= ASKED:
            request = (_asks_by_form(lower) or _WISH.search(lower) is not None) and not _OWN_DOING.search(lower)
            found.append(Ask(sentence, "request" if request else "proposal", probability))
    return found


def wants_answer(ask: Ask) -> bool:
    """Whether somebody waits for an answer: a plan of the sender's own, or a faint proposal, needs none."""
    return ask.kind != "proposal" or (ask.probability >= _CLEAR and not _OWN_PLAN.search(ask.sentence.lower))


_FORMS = tuple(
    re.compile(pattern)
    for name, _, pattern in _CUES
    if name in {"please", "can you", "let me know", "wondering", "opens with a verb", "give me", "expects an answer", "needs",
                "let us", "suggests", "would be great"}
)  # fmt: skip


def _asks_by_form(lower: str) -> bool:
    """Whether the sentence has the form of a request; a proposal to meet alone is none."""
    return any(form.search(lower) for form in _FORMS) or _FOREIGN.search(lower) is not None
