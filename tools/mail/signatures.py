"""Signatures: what clients and people put below their words in every mail."""

import re
from functools import lru_cache

MAX_SIGNATURE_LINES = 25
MAX_CARD_LINES = 14

_DELIMITER = re.compile(r"^(?:-- ?|—|__|--\u00a0)\s*$")
_RULED = " \t_-=*"
_LONG_RULE = re.compile(r"^\s*[_\-=*]{5,}\s*$")
_MOBILE = re.compile(
    r"^\W{0,4}(?:"
    r"(?:sent|written|posted) (?:from|via|with|using|by|on) .{0,80}"
    r"|(?:(?:von|mit) (?:meinem|meiner|der|dem) .{1,60} |via .{1,40} )?(?:gesendet|geschickt|verschickt)(?: (?:von|mit|vom|über|via|aus) .{1,80})?"
    r"|(?:envoyé|expédié|télécharg\w+) (?:de|depuis|à partir de|avec|par|via) .{1,80}|envoyé d['’].{1,60}|provenance ?: .{1,60}"
    r"|enviad[oa] (?:desde|con|a través de|do|da|de|pelo|a partir do|via|no|em) .{1,80}"
    r"|inviat[oa] (?:da|dal|dall['’]|con|tramite) ?.{1,80}"
    r"|(?:verstuurd|verzonden) (?:vanaf|vanuit|met|via|van) .{1,80}"
    r"|(?:skickat|skickad|sendt|sent) (?:från|fra|via|med) .{1,80}|hanki .{1,40}|lähetetty .{1,60}"
    r"|(?:wysłan[eoay]|wysłano) (?:z|ze|przez|za pomocą|przy użyciu) .{1,80}"
    r"|отправлено (?:с|из|через|при помощи|от) .{1,80}|надіслано (?:з|із|через) .{1,80}|odesláno (?:z|ze) .{1,60}|odoslané z .{1,60}"
    r"|(?:get|download|try) (?:the )?(?:outlook|yahoo|bluemail|proton\w*|spark|edison) .{0,100}"
    r"|(?:holen sie sich|laden sie) .{0,20}outlook .{0,80}|outlook (?:für|pour|para|per|voor|för|dla|для) (?:ios|android|mac|windows).{0,120}"
    r"|(?:obtenez|télécharger?|obtener|obtenha|obter|baixar|ottieni|scarica|download|hämta|pobierz|скачать|получить) outlook .{0,100}"
    r"|发自我的.{0,60}|(?:发送|寄)自.{1,60}|从我的.{1,40}发送|來自.{1,40}|從我的.{1,30}傳送|.{1,40}から送信|.{1,30}에서 보냄|.{1,30}에서 전송|iphone'?umdan gönderildi|.{1,40}'?(?:den|dan) gönderildi"
    r"|(?:diese nachricht|this (?:message|mail|email)) (?:wurde|was) (?:von|sent) .{1,80}(?:gesendet|device|phone)"
    r")\W{0,4}$",
    re.IGNORECASE,
)
_MOBILE_WORD = re.compile(
    r"iphone|ipad|ios|android|galaxy|samsung|huawei|xiaomi|blackberry|windows|outlook|mobile|mobil|handy|smartphone|phone|telefon|téléphone|teléfono|móvil|"
    r"celular|cellulare|tablet|yahoo|aol|gmx|web\.de|t-online|gmail|mail|thunderbird|proton|spark|sparrow|newton|bluemail|k-9|pixel|nokia|"
    r"airmail|mailbox|superhuman|front|hey|commuter|手机|手機|邮箱|메일|https?://|www\.",
    re.IGNORECASE,
)
_MOBILE_STEMS = (
    "sent",
    "gesend",
    "geschickt",
    "verschickt",
    "envoy",
    "expédi",
    "télécharg",
    "provenance",
    "envia",
    "inviat",
    "verstuurd",
    "verzonden",
    "skicka",
    "hanki",
    "lähetetty",
    "wysłan",
    "отправлено",
    "надіслано",
    "odesl",
    "odosl",
    "outlook",
    "written",
    "posted",
    "get ",
    "download",
    "try ",
    "发自",
    "发送",
    "寄自",
    "發自",
    "來自",
    "傳送",
    "送信",
    "에서",
    "gönderildi",
    "device",
    "phone",
)
_CLOSING = re.compile(
    r"^\W{0,3}(?:(?:with |my |very |kind |best |warm |warmest |many |all (?:the|my) )*(?:regards|wishes|thanks|best)|cheers|sincerely(?: yours)?|yours(?: (?:sincerely|faithfully|truly))?|"
    r"thank you(?: (?:very|so) much)?|thanks(?: (?:again|so much|a lot|in advance))?|take care|respectfully|cordially|rgds|br|kr|tia|"
    r"mit (?:freundlichen|besten|herzlichen|lieben|sonnigen|vielen) grüßen|mit (?:freundlichen|besten) gruessen|mit freundlichem gruß|(?:viele|beste|liebe|herzliche|freundliche|schöne) grüße|"
    r"(?:lieben|schönen|besten|herzlichen) gruß|gruß|grüße|mfg|lg|vg|"
    r"(?:bien )?cordialement|bien à (?:vous|toi)|sincères salutations|meilleures salutations|(?:très )?cordialement|amicalement|à bientôt|"
    r"(?:un )?(?:cordial )?saludos?(?: cordiales)?|atentamente|un (?:cordial )?saludo|un abrazo|muchas gracias|"
    r"(?:cordiali|distinti|migliori) saluti|(?:un )?(?:cordiale )?saluto|cordialmente|grazie(?: mille)?|saluti|"
    r"atenciosamente|att\.?|cumprimentos|com os melhores cumprimentos|melhores cumprimentos|abraços?|obrigad[oa]|"
    r"met vriendelijke groet(?:en)?|vriendelijke groet(?:en)?|groet(?:en|jes)?|mvg|hartelijke groet|"
    r"(?:med )?(?:vänliga?|bästa|varma) hälsningar?|hälsningar|mvh|med vennlig hilsen|(?:venlig|vennlig|bedste) hilsen|hilsen|"
    r"(?:z )?pozdrowieni(?:a|ami)|pozdrawiam|(?:z )?poważaniem|serdecznie|z wyrazami szacunku|"
    r"с уважением|с наилучшими пожеланиями|всего доброго|спасибо|"
    r"此致|敬礼|祝好|谢谢|顺祝商祺|よろしくお願いいたします|以上|敬具|감사합니다|saygılarımla|iyi çalışmalar|"
    r"s pozdravem|ystävällisin terveisin|terveisin|üdvözlettel|cu stimă)\W{0,3}$",
    re.IGNORECASE,
)
_CARD = re.compile(
    r"(?:\+\d|\(\d{2,5}\)|\b(?:tel|phone|mobile?|mob|cell|fax|office|direct|fon|telefon|téléphone|móvil|cel|t|m|p|f|e|w|тел|моб)\b\.?\s*[:.]?\s*\+?[\d(])|"
    r"\d[\d\s().\-/]{7,}\d|[\w.+\-]{1,64}@[\w\-.]{2,100}|\b(?:https?://|www\.)|"
    r"\b(?:gmbh|inc|llc|ltd|corp|s\.?a\.?r?\.?l?|s\.?p\.?a|b\.?v|ab|oy|a/s|sp\. z o\.?o|ооо|ag|kg|plc|pty|co)\b\.?|"
    r"\b(?:manager|director|head of|ceo|cto|cfo|coo|vp|vice president|president|engineer|sales|account executive|founder|partner|consultant|"
    r"leiter|geschäftsführer|vertrieb|directeur|directrice|responsable|gerente|direttore|responsabile|kierownik|dyrektor|chef|ansvarig|директор|менеджер)\b",
    re.IGNORECASE,
)
_POSTSCRIPT = re.compile(r"^\W{0,2}p\.?\s?p?\.?\s?s\b", re.IGNORECASE)
_ENDS_SENTENCE = re.compile(r"[.!?。！？]\s*$")


def split_signature(text: str) -> tuple[str, str]:
    """
    Return the words and the signature below them.

    The signature begins at a line of two dashes, at a client's footer ("Sent from my phone"), or, below a closing
    and a name, at the contact card. The closing and the name stay with the words.
    """
    lines = text.rsplit("\n", 3 * MAX_SIGNATURE_LINES)  # the first piece is all that stands above
    delimited = "--" in text or "—" in text or "__" in text
    cut = _above_footers(lines, _delimiter(lines) if delimited else len(lines))
    cut = _ruled_card(lines, _card_start(lines, cut))
    while cut and (not lines[cut - 1].strip() or _LONG_RULE.match(lines[cut - 1][:200])):
        cut -= 1
    words = "\n".join(lines[:cut])
    return (words, "\n".join(lines[cut:]).strip()) if words.strip() else (text, "")


def _delimiter(lines: list[str]) -> int:
    """Return the first line of two dashes that only a signature's length of lines follows, or the end."""
    for index in range(max(0, len(lines) - MAX_SIGNATURE_LINES), len(lines)):
        if lines[index][:1] in "-—_" and _DELIMITER.match(lines[index][:20]):
            return index
    return len(lines)


def _above_footers(lines: list[str], cut: int) -> int:
    """Return the line above which no client's footer ("Sent from my phone") ends the text."""
    for index in range(cut - 1, max(-1, cut - MAX_SIGNATURE_LINES), -1):
        line = lines[index][:141]
        if not line.strip() or _LONG_RULE.match(line):
            continue
        if len(line) > 140 or not _is_client_footer(line):
            break
        cut = index
    return cut


# The same few people write most of a mailbox, and end every mail alike.
@lru_cache(maxsize=2048)
def _is_client_footer(line: str) -> bool:
    lowered = line.lower()
    for stem in _MOBILE_STEMS:
        if stem in lowered:
            return _MOBILE.match(line) is not None and _MOBILE_WORD.search(line) is not None
    return False


def _card_start(lines: list[str], cut: int) -> int:
    """Return where the contact card below a closing begins, or `cut`."""
    end = cut
    for index in range(cut - 1, max(-1, cut - MAX_CARD_LINES - 4), -1):
        line = lines[index]
        if not line or len(line) > 45 or line.count(" ") > 6 or not _is_closing(line):
            continue
        below = [(at, lines[at]) for at in range(index + 1, cut) if lines[at].strip()]
        card = [(at, line) for at, line in below[1:] if not _LONG_RULE.match(line)]
        if not card or len(card) > MAX_CARD_LINES or any(len(line) > 120 for _, line in below):
            return end
        if len(below[0][1].split()) > 5 or sum(bool(_ENDS_SENTENCE.search(line)) for _, line in card) > 1:
            return end
        if any(_POSTSCRIPT.match(line) for _, line in card):
            return end
        return card[0][0] if any(_CARD.search(line) for _, line in card) else end
    return end


@lru_cache(maxsize=2048)
def _is_closing(line: str) -> bool:
    return _CLOSING.match(line.strip()) is not None


def _ruled_card(lines: list[str], cut: int) -> int:
    """Return where a contact card below a drawn rule begins, or `cut`."""
    if not any(line[:1] in _RULED for line in filter(None, lines[max(0, cut - MAX_CARD_LINES - 1) : cut])):
        return cut
    below: list[str] = []
    for index in range(cut - 1, max(-1, cut - MAX_CARD_LINES - 2), -1):
        line = lines[index][:200]
        if below and line[:1] in _RULED and _LONG_RULE.match(line):
            facts = sum(bool(_CARD.search(other)) for other in below)
            told = any(
                _POSTSCRIPT.match(other) or (_ENDS_SENTENCE.search(other) and len(other) > 60) for other in below
            )
            return index if facts >= 2 and facts * 3 >= len(below) and not told else cut
        if line.strip():
            below.append(line)
    return cut
