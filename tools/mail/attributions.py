"""
Where the quoted history begins: attribution lines, header blocks and separators, as mail programs write them.

Every test looks at one line or at a few joined lines of bounded length, so that time stays linear.
"""

import re
from collections.abc import Sequence

MAX_LINE = 400
MAX_SEPARATOR = 160
MAX_JOINED = 5
MAX_HEADER_LINES = 40

_VERBS = (
    "wrote|writes|said|sent|replied|"
    "schrieb|geschrieben|"
    "a écrit|a ecrit|écrit|écrivait|a envoyé|"
    "escribió|escribio|escribe|va escriure|ha escrit|escribiu|"
    "ha scritto|scrive|scrisse|"
    "escreveu|"
    "schreef|geschreven|"
    "skrev|skrifaði|kirjoitti|"
    "napisał|napisała|napisał\\(a\\)|pisze|"
    "napsal|napsala|napsal\\(a\\)|napísal|napísala|je napisao|je napisala|napisao|napisala|je napisal|"
    "írta|ezt írta|a scris|rašė|rakstīja|kirjutas|shkroi|"
    "написал|написала|написал\\(а\\)|пишет|писал|писала|пише|написав|написала|написа|"
    "έγραψε|yazdı|şunu yazdı|yazmış|đã viết|viết|menulis|"
    "כתב|כתבה|כתב/ה|كتب|كتبت|"
    "写道|寫道|写到|寫到|は書きました|さんは書きました|のメール|作成|작성|님이 작성|님이 씀|เขียน"
)
_VERB = re.compile(
    rf"(?<![^\W\d_])(?:{_VERBS})(?![^\W\d_])|写道|寫道|写到|寫到|書きました|のメール|님이\s?작성", re.IGNORECASE
)
_OPENING = re.compile(
    r"^[\s\W]{0,20}(?:"
    r"(?:On|Am|Le|El|Il(?: giorno)?|Em|Op|Den|På|W dniu|Dnia|Dne|Dňa|Pe|La data|Στις|Ha|Dana|Vào|Pada|Tarihinde|В|Вт|"
    r"Kuupäeval|Sunnuntaina|Maanantaina|Tiistaina|Keskiviikkona|Torstaina|Perjantaina|Lauantaina|At|In article|Quoting|Citando|"
    r"Zitat von|Citation de|Citeren|בתאריך|في|เมื่อ)\b"
    r"|在|于|\d"
    r"|(?:mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so|lun|mar|mer|jeu|ven|sam|dim|mié|mie|jue|vie|sáb|sab|dom|gio|seg|ter|qua|qui|sex|"
    r"пн|вт|ср|чт|пт|сб|вс|понедельник|вторник|среда|четверг|пятница|суббота|воскресенье|pon|wt|śr|czw|pt|niedz|sob|ma|ti|on|to|lö|sö|"
    r"пон|вто|сря|чет|пет|съб|нед)[a-zäöüéèêàáíóõãçñ]*[.,]"
    r")",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\d{1,2}[:.h]\d{2}|(?<!\d)(?:19|20)\d{2}(?!\d)|\d{1,4}[-/.]\s?\d{1,2}[-/.]\s?\d{1,4}|\d{1,4}\s?[年월月년]|\d{1,2}-[^\W\d_]{3,4}\.?-\d{2,4}"
)
_ADDRESS = re.compile(r"[\w.+\-=*/]{1,80}@[\w\-.*]{1,120}")
_ENDS = re.compile(r"(?::|：|:\*|︰)[\s\W]*$")
_VERB_LAST = re.compile(rf"(?<![^\W\d_])(?:{_VERBS})\s?:?$", re.IGNORECASE)
_SHARED = re.compile(
    r"[ \t\-_—–](?=(?:On\s+(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s|\d{1,4}[\s\-/.,]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s\d)"
    r"|Am\s+(?:(?i:mo|di|mi|do|fr|sa|so)[a-z]*\.?,?\s(?:den\s)?\d|\d{1,2}\.)"
    r"|Le\s+(?:(?i:lun|mar|mer|jeu|ven|sam|dim)[a-z.]*,?\s(?:le\s)?\d|\d{1,2}[\s/])"
    r"|El\s+(?:(?i:lun|mar|mié|jue|vie|sáb|dom)[a-zé.]*,?\s\d|\d{1,2}[\s/])))"
)

_ORIGINAL = (
    "original message|original appointment|reply message|forwarded by|message from|ursprüngliche nachricht|ursprungliche nachricht|"
    "originalnachricht|original-nachricht|originaltermin|"
    "message d'origine|message original|message initial|mensaje original|missatge original|mensagem original|"
    "messaggio originale|messaggio inviato|oorspronkelijk bericht|origineel bericht|oorspronkelijke bericht|originalmeddelande|ursprungligt meddelande|"
    "oprindelig meddelelse|original meddelelse|opprinnelig melding|alkuperäinen viesti|wiadomość oryginalna|oryginalna wiadomość|"
    "původní zpráva|pôvodná správa|eredeti üzenet|mesaj original|mesajul original|исходное сообщение|оригинальное сообщение|оригінальне повідомлення|"
    "özgün ileti|orijinal mesaj|orjinal mesaj|tin nhắn gốc|thư gốc|pesan asli|αρχικό μήνυμα|"
    "原始邮件|原始郵件|原邮件|原郵件|邮件原件|元のメッセージ|original mail|원본 메시지|원본 메일|ข้อความต้นฉบับ"
)
_SEPARATOR = re.compile(
    rf"^\s*(?:[-_=*]{{1,}}+\s*+(?:{_ORIGINAL})\b[^\n]{{0,60}}?[-_=*]{{1,}}|(?:{_ORIGINAL})\s*+:?)\s*+$",
    re.IGNORECASE,
)
_ABOVE = re.compile(
    r"^\W*(?:please\s+)?(?:(?:type|write|enter)\s+your\s+)?(?:reply|respond|replies|write|antworten sie|bitte antworten sie|répondre|répondez|responda|"
    r"responder|rispondi|antwoord|svara|odpowiedz)\b.{0,40}?\b(?:above|oberhalb|über|au-dessus|ci-dessus|por encima|encima|acima|sopra|"
    r"boven|ovanför|powyżej)\b.{0,40}\b(?:line|linie|zeile|ligne|línea|linea|linha|riga|lijn|regel|linje|linii)\b.{0,20}$",
    re.IGNORECASE,
)
_FORWARDED = (
    "forwarded message|forwarded by|fwd message|weitergeleitete nachricht|weitergeleitete e-mail|weitergeleitet von|message transféré|"
    "message réexpédié|courriel transféré|mensaje reenviado|missatge reenviat|messaggio inoltrato|mensagem encaminhada|mensagem reencaminhada|"
    "doorgestuurd bericht|vidarebefordrat meddelande|vidarebefordrade meddelanden|videresendt meddelelse|videresendt besked|videresendt melding|"
    "edelleenlähetetty viesti|välitetty viesti|wiadomość przekazana dalej|przekazana wiadomość|treść przekazanej wiadomości|přeposlaná zpráva|"
    "továbbított üzenet|mesaj redirecționat|пересылаемое сообщение|перенаправленное сообщение|пересланное сообщение|переслане повідомлення|"
    "yönlendirilmiş ileti|iletilen mesaj|thư được chuyển tiếp|pesan terusan|προωθημένο μήνυμα|"
    "转发邮件信息|转发的邮件|转发邮件|轉寄郵件|轉寄的郵件|已轉寄的郵件|転送メッセージ|転送されたメッセージ|전달된 메시지|전달된 메일"
)
_FORWARD = re.compile(rf"^[ \t>*|]{{0,4}}[-_=]{{2,}}+\s*+(?:begin\s+)?(?:{_FORWARDED}).{{0,60}}$", re.IGNORECASE)
_APPLE_FORWARD = re.compile(
    r"^\s*(?:begin forwarded message|anfang der weitergeleiteten (?:nachricht|e-mail)|début du message (?:réexpédié|transféré)|"
    r"inicio del mensaje reenviado|inizio (?:del )?messaggio inoltrato|início da mensagem (?:encaminhada|reencaminhada)|begin doorgestuurd bericht|"
    r"vidarebefordrat brev|start på videresendt besked|videresendt melding|początek (?:przekazywanej|przekazanej) wiadomości|"
    r"начало переадресованного сообщения|начало пересылаемого сообщения|开始转发的邮件|以下是转发的邮件|轉寄的郵件|転送されたメッセージ|전달된 메시지)\s*[:：]\s*$",
    re.IGNORECASE,
)

_LABELS: dict[str, str] = {
    "from": "from von de da van från fra od от від 发件人 寄件者 寄件人 發件人 差出人 送信者 보낸사람 보낸이 kimden gönderen lähettäjä feladó expéditeur remitente "
    "mittente afzender absender remetente avsändare nadawca отправитель odesílatel odosielateľ từ dari από מאת من",
    "sent": "sent gesendet envoyé enviado enviada inviato verzonden skickat sendt wysłano wysłane отправлено відправлено надіслано 发送时间 发送日期 寄件日期 傳送時間 送信日時 "
    "보낸날짜 보낸시간 gönderilen gönderildi gönderme lähetetty odesláno odoslané elküldve küldve trimis poslano "
    "date datum fecha data дата 日期 日付 日時 날짜 dato päivämäärä päiväys tarih dátum ngày tanggal ημερομηνία תאריך تاريخ enviadoel enviadaem sentat datetime",
    "to": "to an à para a aan till til do кому 收件人 收件者 宛先 받는사람 받는이 kime vastaanottaja komu címzett pour destinataire destinatario destinatário către kepada "
    "đến προς אל إلى empfänger geadresseerde mottagare odbiorca получатель",
    "cc": "cc kopie copie copia cópia kopia kopi dw udw копия копія 抄送 副本 参照 참조 bilgi másolat kopio",
    "subject": "subject betreff objet asunto assunto oggetto onderwerp ämne emne temat тема 主题 主旨 主題 件名 제목 konu aihe předmět predmet tárgy subiect chủđề perihal subjek θέμα "
    "נושא موضوع betr re sujet assumpte",
    "other": "bcc reply-to replyto importance wichtigkeit priorität priority attachments anlagen anhänge cci cco bijlage organization mailed-by signed-by resent-from "
    "message-id in-reply-to references x-mailer return-path list-unsubscribe weiterleiten",
}
_KIND = {label: kind for kind, labels in _LABELS.items() for label in labels.split()}
_HEADER = re.compile(
    r"^[\s>*_|]{0,8}([^\W\d_][^\W_]*(?:[ \u00a0'\-/]?[^\W_]+){0,2})[\s*_\u00a0]{0,4}[:：]\**(?=[\s\u00a0*_<\"'(+\w\[]|$)(.{0,300})"
)
_NOTES_TO = re.compile(r"^\s*(?:To|An|A|Para|Pour|Aan)(?:(?:\s{2,}|\t)\s*\S.*|\s*)$")
_NOTES_CC = re.compile(r"^\s*(?:cc|bcc|Kopie|Copie|Kopia)\s*(?:\s{2,}\S.*|\t.*)?$")
_NOTES_SUBJECT = re.compile(
    r"^\s*(?:Subject|Betreff|Thema|Objet|Asunto|Oggetto|Onderwerp|Ämne)(?:(?:\s{2,}|\t)\s*\S.*|\s*)$"
)
_NOTES_HEAD = re.compile(
    r"^[^.!?]{2,80}/[^.!?]{2,80}$|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.{0,30}\d{1,2}[:.]\d{2}|^[^@]{0,80}<?[\w.+\-]{1,64}@[\w.\-]{1,100}>?$|^(?:Sent by|Gesendet von)\b"
)
_RULE_CHARACTERS = "_-=*─—– "
_TICKET_MARK = re.compile(
    r"^\s*(?:##-.{0,120}-##|-{3,}\s?reply above .{0,60}|={3,}\s*please reply above.{0,60})\s*$", re.IGNORECASE
)


def header_kind(line: str) -> str | None:
    """Return which mail header the line shows (from, sent, to, cc, subject, other), in any of the known languages."""
    found = _HEADER.match(line, 0, MAX_LINE)
    if found is None:
        return None
    return _KIND.get(re.sub(r"[ \u00a0]", "", found[1]).lower()) or _KIND.get(
        found[1].split()[0].lower().strip("'") if " " in found[1] else ""
    )


def header_block(lines: Sequence[str], start: int) -> tuple[int, bool]:
    """
    Return the line after the run of headers that begins at `start`, and whether the run is a block that opens a message.

    A block needs two different headers, one of them the sender or the moment, and something that only mail has:
    a subject, an address or a stamp. What lies inside a run that is none cannot be one either.
    """
    if header_kind(lines[start]) not in ("from", "sent", "to"):
        return start + 1, False
    kinds: list[str] = []
    evidence = gapped = False
    end = index = start
    last = min(len(lines), start + MAX_HEADER_LINES)
    while index < last:
        line = lines[index]
        kind = header_kind(line)
        if kind is not None:
            kinds.append(kind)
            evidence = evidence or _is_evidence(line, kind)
            end, gapped = index + 1, False
        elif not line.strip():
            if gapped:
                break
            gapped = True
        elif gapped or not _continues(line, kinds):
            break
        else:
            evidence = evidence or "@" in line
            end = index + 1
        index += 1
    told = set(kinds)
    opens = bool(told & {"from", "sent"}) and len(told & {"from", "sent", "to", "subject"}) >= 2
    return max(end, start + 1), opens and (evidence or len(told) >= 4)


def _is_evidence(line: str, kind: str) -> bool:
    return kind == "subject" or "@" in line or (kind == "sent" and _is_stamp(line))


def _is_stamp(line: str) -> bool:
    """Whether a moment is written as programs write it: a date with a time."""
    return (
        re.search(r"\d{1,2}[:.]\d{2}", line) is not None
        and re.search(r"\d{4}|\d{1,2}[-/.]\d{1,2}", line) is not None
        and len(line) < 90
    )


def _continues(line: str, kinds: list[str]) -> bool:
    """Whether the line goes on with the header above: a wrapped list of addresses or subject."""
    if not kinds:
        return False
    if line[:1] in " \t" and len(line) < 200:
        return True
    return (
        kinds[-1] in ("to", "cc", "from")
        and ("@" in line or line.rstrip().endswith((";", ",", ">")))
        and len(line) < MAX_LINE
    )


def notes_block(lines: Sequence[str], start: int) -> int:
    """Return the line after a Lotus Notes header table (labels without colons) that begins at `start`, or 0."""
    if not _NOTES_TO.match(lines[start], 0, MAX_LINE):
        return 0
    seen_cc = False
    for index in range(start + 1, min(len(lines), start + 8)):
        line = lines[index][:MAX_LINE]
        if _NOTES_CC.match(line):
            seen_cc = True
        elif _NOTES_SUBJECT.match(line):
            return index + 1 if seen_cc else 0
    return 0


def is_notes_head(line: str) -> bool:
    """Whether the line is the sender's or the moment's line above a Lotus Notes header table."""
    return len(line) <= 200 and _NOTES_HEAD.search(line.strip()) is not None


def is_separator(line: str) -> bool:
    """Whether the line says that the original message, or what is not for answering, follows."""
    if len(line) > MAX_SEPARATOR:
        return False
    return bool(_SEPARATOR.match(line) or _ABOVE.match(line) or _TICKET_MARK.match(line)) or _is_dashed(line)


def _is_dashed(line: str) -> bool:
    """Whether the line says between dashes that somebody wrote: "---- Anna Smith wrote ----"."""
    line = line.strip()
    if not (line.startswith("--") and line.endswith("--")):
        return False
    return _VERB_LAST.search(line.strip("- ")[-60:]) is not None


def is_forward(line: str) -> bool:
    """Whether the line announces a forwarded message."""
    return len(line) <= MAX_SEPARATOR and bool(_FORWARD.match(line) or _APPLE_FORWARD.match(line))


def is_rule(line: str) -> bool:
    """Whether the line is a drawn rule, as clients put it above the history."""
    drawn = line.strip()
    return 5 <= len(drawn) <= MAX_LINE and not drawn.strip(_RULE_CHARACTERS)


def attribution(lines: Sequence[str], start: int) -> int:
    """
    Return the line after the attribution ("On ... somebody wrote:") that begins at `start`, or 0.

    It may be wrapped over a few lines.
    """
    first = lines[start]
    if not first.strip() or len(first) > MAX_LINE:
        return 0
    if _OPENING.match(first) is None and not ("@" in first and _DATE.search(first)):
        return 0
    joined = ""
    for index in range(start, min(len(lines), start + MAX_JOINED)):
        line = lines[index].strip()
        if not line and index > start:
            break
        if len(line) > MAX_LINE:
            break
        joined = f"{joined} {line}".strip()
        if _is_attribution(joined):
            return index + 1
        if line.startswith(">"):
            break
    return 0


def _is_attribution(text: str) -> bool:
    if len(text) > MAX_LINE:
        return False
    if not _DATE.search(text):
        return False
    ends = _ENDS.search(text) is not None
    if not ends:
        # Some clients write no colon; then the verb itself has to end the line.
        verbs = list(_VERB.finditer(text)) if _holds_address(text) else []
        return bool(verbs) and not text[verbs[-1].end() :].strip(" -*_.")
    if _OPENING.match(text) is None:  # the name comes first: then only a verb makes it an attribution
        return _holds_address(text) and _VERB.search(text) is not None
    return _holds_address(text) or _VERB.search(text) is not None


def _holds_address(text: str) -> bool:
    return "@" in text and _ADDRESS.search(text) is not None


def may_be_attribution(lines: Sequence[str], start: int) -> bool:
    """Whether it is worth looking closely: a colon ends one of the next lines, or an address stands in them."""
    for line in lines[start : start + MAX_JOINED]:
        if not line:
            return False
        if line[-1] in ":：" or "@" in line[:MAX_LINE] or line.rstrip("* \t\u00a0").endswith((":", "：")):
            return True
    return False


def introduces(line: str) -> bool:
    """Whether a line right above a quote introduces it: a name with a verb, or an address, or a stamp."""
    line = line.strip()
    if not line or len(line) > 300:
        return False
    ends = _ENDS.search(line) is not None or line.endswith((">", "]", ")"))
    if _ADDRESS.search(line) and (ends or _VERB.search(line)):
        return True
    if _VERB.search(line) and _ENDS.search(line):
        return len(line.split()) <= 12
    return _OPENING.match(line) is not None and _DATE.search(line) is not None and ends


def shared_start(line: str) -> int:
    """Return where on the line an attribution begins behind somebody's words, or -1."""
    tail = max(0, len(line) - MAX_LINE)
    if _ENDS.search(line, max(0, len(line) - 20)) is None:
        return -1
    for found in _SHARED.finditer(line, tail):
        if found.start() > 0 and _is_attribution(line[found.end() :].strip()):
            return found.start()
    return -1
