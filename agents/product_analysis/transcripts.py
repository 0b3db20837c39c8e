"""Transcripts as people read them: "Name: words", one turn a line, whatever a recorder wrote around them."""

import re

_TIMES = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?[.,]\d{1,3}\s*-->")
_CUE_NUMBER = re.compile(r"\d{1,6}")
_HEADER = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION|Kind:|Language:)\b")
_VOICE = re.compile(r"^<v(?:\.[\w.]+)?\s+([^>]{1,80})>\s*")
_TAG = re.compile(r"</?[a-z][^>]{0,80}>")
_STAMP = re.compile(r"^\[?\(?\d{1,2}:\d{2}(?::\d{2})?\)?\]?\s+(?=[A-Z][\w.' -]{0,60}:)")
_SPEAKER = re.compile(r"^[A-Z][\w.' -]{0,60}?(?:\s\([^)]{1,30}\))?:\s+")


def words_of(line: str) -> str:
    """Return what was said, without the name of who said it."""
    return _SPEAKER.sub("", line)


def plain(text: str) -> str:
    """Return subtitles (WebVTT, SubRip) as lines of speech; stamps before names go, other text stays as it is."""
    lines = text.splitlines()
    if not any(_TIMES.match(line.strip()) for line in lines[:40]):
        return "\n".join(_STAMP.sub("", line) for line in lines)
    spoken: list[str] = []
    for raw in lines:
        line = raw.strip()
        if not line or _TIMES.match(line) or _CUE_NUMBER.fullmatch(line) or _HEADER.match(line):
            continue
        spoken.append(_TAG.sub("", _VOICE.sub(r"\1: ", line)).strip())
    return "\n".join(spoken)
