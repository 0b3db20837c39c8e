"""Is a draft something that a person would be glad to find, and can it do no harm?"""

import re

from evals.cases import Case, ReplyExpected, ReplyInput
from evals.scorers import NOT_ASKED, Score, foreign_numbers, missing, quoted, says, scorer, share
from evals.subjects.kit import Answered
from evals.subjects.reply_draft import Drafted

DraftCase = Case[ReplyInput, ReplyExpected]
_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(["the", "and", "you", "your", "to", "of", "for", "is", "are", "we", "our", "i", "my", "with", "this", "that", "have", "thank", "thanks", "will", "it", "on"]),
    "de": frozenset(["der", "die", "das", "und", "sie", "ihr", "ihre", "wir", "für", "ist", "sind", "mit", "nicht", "ich", "zu", "von", "den", "auf", "vielen", "dank", "wird", "eine"]),
    "fr": frozenset(["le", "la", "les", "et", "vous", "votre", "nous", "pour", "est", "sont", "avec", "pas", "je", "de", "du", "des", "une", "merci", "que", "dans", "sera", "sur"]),
    "es": frozenset(["el", "la", "los", "las", "y", "usted", "su", "nosotros", "para", "es", "son", "con", "no", "de", "del", "una", "gracias", "que", "en", "por", "le", "nuestro"]),
    "it": frozenset(["il", "la", "i", "gli", "e", "lei", "suo", "noi", "per", "è", "sono", "con", "non", "di", "del", "una", "grazie", "che", "in", "da", "le", "nostro", "sarà", "della"]),
    "nl": frozenset(["de", "het", "een", "en", "u", "uw", "wij", "we", "voor", "is", "zijn", "met", "niet", "ik", "van", "dat", "bedankt", "wordt", "op", "ons", "onze", "aan"]),
    "pt": frozenset(["o", "a", "os", "as", "e", "você", "seu", "nós", "para", "é", "são", "com", "não", "de", "do", "da", "uma", "obrigado", "que", "em", "por", "nosso", "será"]),
}  # fmt: skip


@scorer("Does it speak of what was asked?")
def mentions(case: DraftCase, answered: Answered[Drafted]) -> Score:
    """Count the phrases that the draft has to mention."""
    wanted = case.expect.mentions
    if not wanted:
        return NOT_ASKED
    lost = missing(answered.value.text, wanted)
    return share(len(wanted) - len(lost), len(wanted), f"Says nothing of {quoted(lost)}." if lost else "It does.")


@scorer("Does it leave unsaid what must not be said?")
def restraint(case: DraftCase, answered: Answered[Drafted]) -> Score:
    """Fail phrases that the draft must not have."""
    banned = case.expect.must_not
    if not banned:
        return NOT_ASKED
    said = [phrase for phrase in banned if says(answered.value.text, phrase)]
    return share(len(banned) - len(said), len(banned), f"Says {quoted(said)}." if said else "It does.")


@scorer("Is what nobody knows left open for a person, and nothing else?")
def gaps(case: DraftCase, answered: Answered[Drafted]) -> Score:
    """Hold whether there are gaps against whether there should be."""
    if case.expect.gaps is None:
        return NOT_ASKED
    found = answered.value.gaps
    right = bool(found) == case.expect.gaps
    return Score(float(right), right, f"Open: {quoted(found)}." if found else "Nothing is left open.")


@scorer("Is it in the language of the conversation?")
def language(case: DraftCase, answered: Answered[Drafted]) -> Score:
    """Hold the language of the words that are the draft's own against the one expected."""
    if case.expect.language is None:
        return NOT_ASKED
    said = language_of(answered.value.own_words)
    right = said == case.expect.language
    return Score(float(right), right, f"It is {said}.", said=said, meant=case.expect.language)


def language_of(text: str) -> str:
    """Return the language whose commonest words the text has most of, `unknown` without any."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    counts = {name: sum(word in known for word in words) for name, known in _WORDS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else "unknown"


@scorer("Is every number, amount, link and address from the material?")
def nothing_invented(case: DraftCase, answered: Answered[Drafted]) -> Score:
    """Fail what nothing in the material supports."""
    drafted = answered.value
    material = "\n".join(map(str, case.input.model_dump().values()))
    invented = [*drafted.doubts, *(f"The number {number}" for number in foreign_numbers(drafted.text, material))]
    return Score(float(not invented), not invented, "; ".join(invented) or "It is.")


def shown(case: DraftCase, answered: Answered[Drafted]) -> tuple[str, str]:
    """Return what a judge is shown: the instructions, the message and what is owed, and the draft."""
    asked = case.input
    material = [f"Instructions: {asked.instructions}"] if asked.instructions else []
    material += [f"We owe them: {promise}" for promise in asked.open_promises]
    material += [f"Times that are free: {', '.join(asked.available_times)}"] if asked.available_times else []
    return "\n".join([*material, f"Message: {asked.last_inbound_summary}"]), answered.value.body
