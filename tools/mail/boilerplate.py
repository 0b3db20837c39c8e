"""What mail gateways and senders add to every message: banners above, disclaimers and unsubscribe footers below."""

import re
from functools import lru_cache

MAX_PARAGRAPH = 4000
_LOOKED_AT_ABOVE = 3
_LOOKED_AT_BELOW = 8
_SHORT = 80
_WRAPPED = 30
_SENTENCE_END = re.compile(r"[.!?:,]\s*$")

_BANNER = re.compile(
    r"\b(?:external (?:e-?mail|sender|message)|(?:originated|came|sent|received|is) from (?:an? )?(?:outside|external)|outside (?:of )?(?:the|your|our) (?:organi[sz]ation|company|network)|"
    r"(?:don['’]t|do not) (?:often|usually) get e-?mail from|learn why this is important|be cautious with (?:links|attachments)|"
    r"do not click (?:on )?(?:any )?links? or open (?:any )?attachments?|"
    r"externe (?:e-?mail|nachricht|absender)|von (?:einem )?externen? absender|außerhalb (?:der|ihrer|unserer) organisation|"
    r"(?:courriel|message|e-?mail|expéditeur) externe|provient de l['’]extérieur|extérieur de (?:l['’]|votre )organi[sz]ation|"
    r"(?:correo|remitente|mensaje) externo|fuera de (?:la|su|nuestra) organización|"
    r"(?:e-?mail|mittente|messaggio) estern[oa]|al di fuori dell['’]organizzazione|"
    r"(?:e-?mail|remetente|mensagem) extern[oa]|fora da (?:sua )?organização|"
    r"externe afzender|buiten (?:de|uw|onze) organisatie|extern avsändare|utanför (?:din )?organisation(?:en)?|"
    r"nadawc[ay] zewnętrzn|spoza organizacji|внешн(?:ий|его) отправител|外部(?:邮件|郵件|发件人|メール|送信者)|외부\s?(?:메일|발신))",
    re.IGNORECASE,
)
_BANNER_OPENS = re.compile(
    r"^\W{0,6}(?:\[?(?:external|ext|extern|externe|esterno|externo)\]?\W*$|caution\b|warning\b|attention\b|notice\b|achtung\b|vorsicht\b|warnung\b|hinweis\b|avertissement\b|"
    r"precaución\b|atención\b|attenzione\b|atenção\b|let op\b|uwaga\b|внимание\b|注意|external\b|extern|this (?:e-?mail|message)|you don['’]t|some people who received|diese (?:e-?mail|nachricht)|"
    r"ce (?:courriel|message|mail)|este (?:correo|mensaje|e-?mail)|questa? (?:e-?mail|messaggio)|deze e-?mail|detta e-?post|\[extern)",
    re.IGNORECASE,
)
_DISCLAIMER = re.compile(
    r"\b(?:(?:intended|meant) (?:only |solely |exclusively )?for (?:the )?(?:use of |exclusive use |sole use )?(?:by )?(?:the )?(?:named )?(?:addressee|recipient|individual|person|entit)|"
    r"(?:not|are not) the (?:intended|named) (?:recipient|addressee)|if you (?:have )?received? this (?:e-?mail|message|communication|transmission) (?:in error|by mistake)|"
    r"(?:may contain|contains?) (?:information (?:that|which) is )?(?:privileged|confidential|proprietary)|information in this (?:e-?mail|message|communication).{0,40}confidential|"
    r"(?:is|are|be) (?:strictly |legally )?(?:confidential and|privileged and|confidential\b.{0,30}\bprivileged)|e-?mail (?:transmission )?cannot be guaranteed|"
    r"scanned (?:for|by).{0,40}(?:virus|malware|mimecast|messagelabs|avast)|virus[- ]free|checked (?:for viruses|by).{0,30}(?:avg|avast|antivirus)|no virus found|"
    r"consider the environment before printing|think before you print|please don['’]t print this|"
    r"(?:enthält|enthalten) vertrauliche|nicht der (?:richtige|beabsichtigte|vorgesehene) (?:adressat|empfänger)|irrtümlich erhalten|umwelt.{0,60}(?:drucken|ausdrucken)|"
    r"destiné exclusivement|(?:informations? )?confidentielles?.{0,80}destinataire|reçu ce (?:message|courriel|mail) par erreur|n['’]imprimez|"
    r"(?:información|contenido) confidencial|ha recibido (?:este|el presente) (?:mensaje|correo).{0,30}error|antes de imprimir|"
    r"informazioni (?:riservate|confidenziali)|ricevuto questo messaggio per errore|prima di stampare|"
    r"informaç(?:ões|ão) confidencia|recebeu esta mensagem por engano|"
    r"vertrouwelijke informatie|niet de geadresseerde|per vergissing|bent u niet de|"
    r"konfidentiell|informacje poufne|wiadomość.{0,30}poufn|adresatem|конфиденциальн|"
    r"本邮件.{0,40}保密|机密信息|機密情報)",
    re.IGNORECASE | re.DOTALL,
)
_UNSUBSCRIBE = re.compile(
    r"\b(?:unsubscribe|opt[- ]?out|manage (?:your )?(?:e-?mail )?(?:preferences|subscriptions?)|update your (?:e-?mail )?preferences|view (?:this (?:e-?mail|message) )?in (?:your |a )?browser|"
    r"you(?:['’]re| are) receiving this (?:e-?mail|message|because)|you received this (?:e-?mail|message) because|"
    r"abmelden|abbestellen|newsletter abbestellen|se désabonner|désinscri|désabonnement|darse de baja|cancelar (?:la )?suscripción|"
    r"annulla(?:re)? (?:l['’])?iscrizione|disiscriv|cancelar (?:a )?inscrição|descadastr|uitschrijven|afmelden|avregistrera|avprenumerera|wypisz|zrezygnuj|отписаться|退订|取消订阅|配信停止)",
    re.IGNORECASE,
)
# A plain look for a stem is much cheaper than the patterns, and ordinary paragraphs hold none.
_STEMS = (
    "onfiden",
    "intended",
    "recipient",
    "privileg",
    "proprietary",
    "addressee",
    "virus",
    "malware",
    "print",
    "guaranteed",
    "in error",
    "mistake",
    "subscri",
    "opt-out",
    "opt out",
    "preferences",
    "browser",
    "receiving this",
    "you received",
    "vertraulich",
    "adressat",
    "umwelt",
    "abmelden",
    "abbestellen",
    "imprim",
    "recibido",
    "baja",
    "riservat",
    "ricevuto",
    "stampa",
    "iscri",
    "descadastr",
    "engano",
    "vertrouwelijk",
    "vergissing",
    "geadresseerde",
    "uitschrijven",
    "afmelden",
    "avregistrera",
    "avprenumerera",
    "poufn",
    "wypisz",
    "zrezygnuj",
)
_WIDE_STEMS = (
    "empfänger",
    "irrtümlich",
    "destiné",
    "reçu ce",
    "désabonn",
    "désinscri",
    "suscripción",
    "inscrição",
    "конфиденц",
    "отписаться",
    "保密",
    "机密",
    "機密",
    "退订",
    "取消订阅",
    "配信停止",
)
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")


def strip(text: str) -> str:
    """Return the text without banners above it and without disclaimers and list footers below it."""
    if "\n" not in text:
        return text
    paragraphs = _PARAGRAPHS.split(text) if "\n " in text or "\n\t" in text else text.split("\n\n")
    whole = paragraphs.copy()
    first = _after_banners(paragraphs)
    last = _before_footers(paragraphs, first)
    if paragraphs[first:last] == whole:
        return text
    kept = "\n\n".join(part for part in paragraphs[first:last] if part).strip()
    return kept or text


def _after_banners(paragraphs: list[str]) -> int:
    """Return the first paragraph that is not a banner; a banner's lines on top of it are cut off."""
    for index in range(min(_LOOKED_AT_ABOVE, len(paragraphs))):
        lines = paragraphs[index].split("\n")
        cut = _banner_lines(lines)
        if cut < len(lines):
            if cut:
                paragraphs[index] = "\n".join(lines[cut:])
            return index
    return min(_LOOKED_AT_ABOVE, len(paragraphs))


def _banner_lines(lines: list[str]) -> int:
    """Return how many lines of a banner stand first: one, or two that it is wrapped over, and what goes on with it."""
    if is_banner(lines[0]):
        cut = 1
    elif len(lines) > 1 and is_banner(f"{lines[0]} {lines[1]}"):
        cut = 2
    else:
        return 0
    while cut < len(lines) and _BANNER.search(lines[cut][:MAX_PARAGRAPH]):
        cut += 1
    return cut


def is_banner(text: str) -> bool:
    """Whether a gateway wrote this line or paragraph, to warn of a sender from outside."""
    if len(text) > 1000 or _BANNER_OPENS.match(text) is None:
        return False
    return _BANNER.search(text) is not None or len(text.strip("[]* -=_!:")) <= 14


def _before_footers(paragraphs: list[str], first: int) -> int:
    """Return the paragraph after the last that is no footer; a footer's lines below words are cut off."""
    last = len(paragraphs)
    for index in range(last - 1, max(first, last - _LOOKED_AT_BELOW) - 1, -1):
        paragraph = paragraphs[index]
        if is_footer(paragraph[:MAX_PARAGRAPH]):
            lines = paragraph.split("\n")
            paragraphs[index] = "\n".join(lines[: _footer_line(lines)]).rstrip(" \t\n_-=*")
            last = index
            if paragraphs[index]:
                return index + 1
        elif paragraph.strip(" \t\n_-=*") and (len(paragraph) > _SHORT or last == len(paragraphs)):
            break
    return last


def _footer_line(lines: list[str]) -> int:
    """Return the line of a paragraph at which its footer begins: 0 unless words stand above it."""
    for index, line in enumerate(lines):
        if is_footer(line) or (
            is_footer(" ".join(lines[index : index + 2])) and not is_footer(" ".join(lines[index + 1 : index + 3]))
        ):
            first = index
            # A line above that ends in the middle of a sentence belongs to it.
            while first and len(lines[first - 1]) > _WRAPPED and not _SENTENCE_END.search(lines[first - 1]):
                first -= 1
            return first
    return 0


@lru_cache(maxsize=1024)
def is_footer(text: str) -> bool:
    """Whether the paragraph is a disclaimer, a virus notice or the footer of a list."""
    lowered = text.lower()
    if not _holds(lowered, _STEMS) and (lowered.isascii() or not _holds(lowered, _WIDE_STEMS)):
        return False
    return _DISCLAIMER.search(text) is not None or (_UNSUBSCRIBE.search(text) is not None and len(text) < 1500)


def _holds(text: str, stems: tuple[str, ...]) -> bool:
    for stem in stems:  # noqa: SIM110 - a generator would cost more than the search
        if stem in text:
            return True
    return False
