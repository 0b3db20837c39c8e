"""Chooses a tool without a model: by the verbs of the request, the records it names, and the words that a tool offers."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from agents import guards
from agents.choosing.checks import kind_of
from agents.choosing.outputs import CHOICE, Argument, Choice, ChoiceInputs, Record
from agents.rules import answers
from agents.rules.dates import Calendar, find_due

SURE, LIKELY = 0.9, 0.75
CLOSE_OF_DAY = 17
UNCLEAR = "It is not clear which record is meant."
_QUESTION = re.compile(
    r"^(?:what|which|who|whom|when|how|did|do|does|have|has|had|is|are|was|were|any|can you tell)\b|\?\s*$"
)
_LEFT_ALONE = re.compile(
    r"\b(?:don'?t|do not|never|not yet|please no|stop)\b(?!.{0,20}\bforget)|^(?:hm+|i wonder|thanks|thank you|hello|hi|good (?:morning|evening|afternoon)|great[.!]*$)"
    r"|\b(?:delete|remove|erase|buy|book me|order|pay|invite|transfer)\b|^(?:please )?(?:send|mail|write to|e-?mail|forward)\b"
)
_WORD = re.compile(r"\w[\w'&.-]*")
_COMMON = frozenset(
    ["a", "about", "add", "all", "and", "any", "are", "as", "at", "by", "call", "close", "create", "deal", "did", "do", "done", "for", "from", "have", "how", "i", "in", "is", "it", "list", "make", "mark", "me", "mail", "my", "new", "note", "of", "on", "our", "please", "show", "task", "tell", "that", "the", "this", "to", "up", "was", "we", "what", "which", "who", "will", "with", "you", "your", "message", "messages", "company", "contact", "mails"]
)  # fmt: skip
_FILLERS = re.compile(
    r"^(?:please |hey |ok(?:ay)?,? |great,? )*(?:remind me to |remember to |(?:please )?(?:create|add|make|put|open|set up) (?:an? |the )?(?:urgent |important |new )?"
    r"(?:task|to-?do|reminder)(?: for (?P<for>[^:]{2,40}?))?(?:: ?| to | that )|(?:new|urgent) (?:task|to-?do|reminder): ?|put (?:an? )?|i (?:need|have|want) to |don'?t let me forget to )"
)
_TAIL = re.compile(
    r"(?:,? (?:please|don'?t let me forget.*|thanks.*))$|\bon my (?:list|to-?do list|plate)\b|\b(?:by|until|before|on|for|to)? ?(?:the )?"
    r"(?:end of (?:this|next) (?:week|month)|(?:this|next) (?:week|month)|(?:next |this )?(?:mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|today)"
    r"(?: at \d{1,2}(?::\d\d)? ?(?:am|pm)?)?\b"
)

Rule = tuple[str, re.Pattern[str], bool]
# Tool, what the request says, and whether a question may ask for it. The first that fits is it.
_RULES: tuple[Rule, ...] = tuple(
    (tool, re.compile(words), asks)
    for tool, words, asks in (
        ("account_memory.get_memory", r"\b(?:remember|know|memory|learned)\b(?!.* at\b).*\b(?:about|of)\b", True),
        ("health.compute_health", r"\bhealth(?:y|ier)?\b|\bhow (?:is|are) .* (?:doing|going)\b", True),
        ("signals.list_signals", r"\bsignals?\b", True),
        ("promises.list_promises", r"\bpromis(?:e|es|ed)\b", True),
        ("contacts.create_contact", r"\b(?:add|create|enter)\b.*\b(?:contact|person)\b", False),
        ("communications.assign_company", r"\b(?:mail|message|call|this|it)\b.*\bbelongs? to\b|\b(?:link|assign|file) (?:this|the|it)\b", False),
        ("communications.add_note", r"\bnote\b.*\b(?:mail|message|thread|call)\b", False),
        ("relationships.add_note", r"\b(?:add|make|write|take|leave) a note\b|^note\b", False),
        ("contact_facts.add_fact", r"\b(?:remember|keep in mind|for the record)\b(?:,| that|:)(?! to\b)", False),
        ("tasks.update_task", r"\b(?:postpone|reschedule|move|push|delay|reassign|rename|hand)\b.*\b(?:task|to-?do|reminder)\b|\bset the (?:priority|due date|deadline)\b", False),
        ("communications.mark_answered", r"\bmark\b.*\b(?:answered|replied)\b|\b(?:answered|replied to)\b.*\b(?:take it off|done with it|by phone)\b", False),
        ("tasks.complete_task", r"\b(?:mark|tick|check)\b.*\b(?:done|off|complete|completed|finished)\b|\btick off\b|\b(?:close|complete|finish)\b.*\b(?:task|to-?do)\b", False),
        ("tasks.create_task", r"\bremind me\b|\b(?:create|add|make|set up|new|open)\b.*\b(?:task|to-?do|reminder)\b|\bon my (?:list|to-?do)|\bi (?:need|have) to\b|\bdon'?t let me forget", False),
        ("tasks.list_tasks", r"\b(?:tasks?|to-?dos?)\b|\bon my plate\b", True),
        ("communications.list_communications", r"\b(?:mails?|e-?mails|messages|calls|meetings|conversations?|answered|replied|reply|wrote)\b", True),
        ("deals.list_deals", r"\b(?:deals|opportunit(?:y|ies)|pipeline)\b", True),
        ("companies.list_companies", r"\b(?:companies|accounts|the company|company)\b", True),
        ("contacts.list_contacts", r"\b(?:contacts?|people|who do we know|who works)\b", True),
    )
)  # fmt: skip
_SAID: dict[str, dict[str, str]] = {
    "status": {"open": r"\bopen\b|\bstill have\b", "completed": r"\b(?:done|completed?|finished)\b", "overdue": r"\b(?:overdue|late)\b",
               "customer": r"\bcustomers?\b", "churned": r"\bchurned\b|\bleft us\b", "prospect": r"\bprospects?\b", "pending": r"\bpending\b"},
    "stage": {"negotiation": r"\bnegotiat", "closed_won": r"\bwon\b", "closed_lost": r"\blost\b", "trial": r"\bin trial\b", "demo": r"\bin demo\b",
              "discovery": r"\bdiscovery\b", "qualifying": r"\bqualifying\b", "data_review": r"\bdata review\b", "new_lead": r"\bnew leads?\b"},
    "priority": {"high": r"\b(?:urgent|high|important)\b", "low": r"\b(?:low|no hurry)\b"},
    "direction": {"we_promised": r"\bwe (?:have )?promised?\b|\bwe owe\b|\bour promises\b", "they_promised": r"\bpromised? (?:us|me)\b|\bthey\b|\bowes? us\b"},
    "channel": {"call": r"\bcalls\b", "meeting": r"\bmeetings\b", "email": r"\be-?mails\b"},
    "category": {"risk": r"\brisks?\b", "opportunity": r"\bopportunit"},
    "severity": {"critical": r"\bcritical\b", "high": r"\bhigh\b", "medium": r"\bmedium\b", "low": r"\blow\b"},
    "role": {"decision_maker": r"\bdecision[- ]maker\b|\bdecides\b", "champion": r"\bchampion\b", "influencer": r"\binfluenc", "end_user": r"\bend user\b"},
    "awaiting_response": {"true": r"\b(?:waiting|unanswered|wait) (?:for|on)?\b.*\b(?:reply|answer|us|response)\b"},
    "type": {"family": r"\b(?:daughters?|sons?|kids|children|wife|husband|married|family)\b", "preference": r"\b(?:prefers?|likes?|rather|hates?)\b",
             "communication": r"\b(?:calls?|mails?|reach)\b", "interest": r"\b(?:sails?|golf|football|hobby|loves?)\b"},
}  # fmt: skip


@answers(CHOICE)
def choose(inputs: ChoiceInputs) -> Choice:
    """Return the tool whose verbs the request uses, filled with what it names; none when it is not plain."""
    request = guards.clean(inputs.request).strip()
    lower = request.lower()
    found = None if _LEFT_ALONE.search(lower) else _tool(lower, _offered(inputs.tools))
    if found is None:
        return Choice(confidence=LIKELY, say="None of the tools here does that.")
    number, line = found
    arguments = _arguments(line, request, inputs)
    if arguments is None:
        return Choice(confidence=LIKELY, say=UNCLEAR)
    return Choice(tool=number, arguments=arguments, confidence=SURE)


def _offered(lines: Sequence[str]) -> dict[str, tuple[int, str]]:
    told = (re.match(r"(?P<number>\d+)\. (?P<name>[\w.]+) \(", line) for line in lines)
    return {match["name"]: (int(match["number"]), line) for match, line in zip(told, lines, strict=True) if match}


def _tool(lower: str, offered: dict[str, tuple[int, str]]) -> tuple[int, str] | None:
    """Return the first offered tool whose words are there; a question is never answered by one that writes."""
    asks = _QUESTION.search(lower) is not None
    for name, words, may_be_asked in _RULES:
        if name in offered and (may_be_asked or not asks) and words.search(lower):
            return offered[name]
    return None


def _arguments(line: str, request: str, inputs: ChoiceInputs) -> list[Argument] | None:
    """Return the arguments of the tool that the request names; None when a needed one is missing."""
    name = line.partition(". ")[2].partition(" ")[0]
    found: list[Argument] = []
    for told in line.partition("Arguments: ")[2].split(", "):
        argument, _, kind = told.partition(": ")
        value = _value(name, argument, kind, request, inputs)
        if value is not None:
            found.append(Argument(name=argument, value=value))
        elif "(needed)" in kind:
            return None
    return found


def _value(tool: str, argument: str, kind: str, request: str, inputs: ChoiceInputs) -> str | None:
    lower = request.lower()
    if kind.startswith("number of a record"):
        needed = "(needed)" in kind or (tool == "tasks.update_task" and argument == "task_id")
        record = _record(kind_of(argument), lower, inputs.records, alone=needed)
        return str(record.number) if record else None
    if argument in _SAID:
        offered = kind.removesuffix(" (needed)").split(" | ")
        return next(
            (
                word
                for word, pattern in _SAID[argument].items()
                if (word in offered or kind.startswith(("boolean", "string"))) and re.search(pattern, lower)
            ),
            None,
        )
    words = _WORDS.get(argument)
    return words(tool, request, inputs) if words else None


def _record(kind: str | None, lower: str, records: Sequence[Record], *, alone: bool) -> Record | None:
    """Return the record of the kind that shares most words with the request; of two that share as many, neither."""
    own = [record for record in records if record.kind == kind]
    asked = set(_WORD.findall(lower)) | {word.removesuffix("'s") for word in _WORD.findall(lower)}
    shared = [(len((set(_WORD.findall(record.name.lower())) - _COMMON) & asked), record) for record in own]
    best = max((count for count, _ in shared), default=0)
    named = [record for count, record in shared if count == best and best]
    if len(named) == 1:
        return named[0]
    return own[0] if alone and not named and len(own) == 1 else None


# Words --------------------------------------------------------------------------------------------------------------


def _title(tool: str, request: str, _: ChoiceInputs) -> str | None:
    """Return what is to be done, without the asking and without its day."""
    if tool != "tasks.create_task":
        return None
    rest = request[match.end() :] if (match := _FILLERS.match(request.lower())) else request
    while match := _TAIL.search(rest.lower()):
        rest = f"{rest[: match.start()]} {rest[match.end() :]}".strip(" ,.")
    words = " ".join(rest.split()).strip(" .,:")
    return f"{words[:1].upper()}{words[1:]}" if words else None


def _due(_: str, request: str, inputs: ChoiceInputs) -> str | None:
    """Return the day that is named, at its hour or at the close of that day."""
    now = datetime.fromisoformat(inputs.now.partition(",")[0])
    calendar = Calendar.of(now, inputs.timezone)
    due = find_due(request, calendar)
    if due is None or due.at is None:
        return None
    local = due.at.astimezone(calendar.zone)
    if (local.hour, local.minute) == (23, 59):
        local = local.replace(hour=CLOSE_OF_DAY, minute=0, second=0, microsecond=0)
    return local.isoformat()


def _named_person(tool: str, request: str, _: ChoiceInputs) -> str | None:
    if tool != "contacts.create_contact":
        return None
    match = re.search(
        r"\b(?i:add|create|enter)\b(?: (?:a|the))?(?: new)?(?: contact| person)?(?: for| called)? (?P<name>[A-Z][\w'-]+(?: [A-Z][\w'-]+)+)",
        request,
    )
    return match["name"] if match else None


def _email(_: str, request: str, __: ChoiceInputs) -> str | None:
    match = re.search(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", request)
    return match[0] if match else None


def _told(_: str, request: str, __: ChoiceInputs) -> str | None:
    """Return what stands behind the colon, or behind "that"."""
    match = re.search(r": (?P<said>.+)$|\bthat (?P<fact>.+)$", request, re.DOTALL)
    said = (match["said"] or match["fact"]) if match else None
    return said.strip().rstrip(".") if said else None


def _search(tool: str, request: str, _: ChoiceInputs) -> str | None:
    """Return the name that is looked for: capitals after the verb, where no record at hand is meant."""
    match = re.search(
        r"\b(?:[Ff]ind|[Ll]ook up|[Ss]earch(?: for)?)(?: the)?(?: company| contact| deal)? (?P<name>[A-Z][\w'&-]+(?: [A-Z][\w'&-]+)*)", request
    )  # fmt: skip
    return match["name"] if match and tool.partition(".")[2].startswith("list_") else None


_WORDS: dict[str, Callable[[str, str, ChoiceInputs], str | None]] = {
    "title": _title, "due_at": _due, "name": _named_person, "email": _email, "note": _told, "content": _told, "fact": _told,
    "search": _search,
}  # fmt: skip
