"""The language of a report, by its headings and its function words; ``und`` where they do not say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from medmm.reports.headings import AMBIGUOUS, LANGUAGE_OF, key_parts

UNKNOWN = "und"
"""ISO 639-2 code of an undetermined language; no two-letter code says so."""
_FUNCTION_WORDS = {
    "en": "the of is are and with no there without within for which has have seen noted was normal clear",
    "es": "el la los las de del en y con sin se no hay por una un es son al que ni normal",
    "de": "der die das des dem den und mit ohne kein keine nicht ist sind im von beidseits zum zur eine ein",
    "fr": "le la les des du de et avec sans pas il est sont au aux une un en pour l d normal",
}
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _words in _FUNCTION_WORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF.setdefault(_word, []).append(_language)
_LETTERS = re.compile(r"[^\W\d_]+")
_CHINESE = re.compile(r"[一-鿿]")
_OTHER_SCRIPT = re.compile(r"[Ѐ-ӿ֐-ۿऀ-ฯ฀-๿぀-ヿ가-힯]")
_READ = 1500
ENOUGH = 3.0
"""Evidence that names a report's language."""
_CHINESE_SHARE = 0.2


def language_of(text: str, headings: Iterable[str] = (), enough: float = ENOUGH) -> str:
    """Guess the language of a report.

    A heading that only one language has counts three, a function word one, shared among the languages that have it.

    Args:
        text: The report; its first 1,500 characters are read.
        headings: Its headings, as they are looked up.
        enough: Evidence that a language needs.

    Returns:
        ``en``, ``es``, ``de``, ``fr`` or ``zh``; ``und`` where evidence is not enough, or equal for two languages.
    """
    start = text[:_READ]
    if not start.isascii():
        letters = sum(map(len, _LETTERS.findall(start)))
        if len(_CHINESE.findall(start)) > _CHINESE_SHARE * letters and not re.search("[぀-ヿ가-힯]", start):
            return "zh"
        if len(_OTHER_SCRIPT.findall(start)) > letters / 2:
            return UNKNOWN
    votes = dict.fromkeys((*_FUNCTION_WORDS, "zh"), 0.0)
    for heading in headings:
        for part in key_parts(heading):
            if part in LANGUAGE_OF and part not in AMBIGUOUS:
                votes[LANGUAGE_OF[part]] += ENOUGH
    for word in start.lower().replace("'", " ").replace("’", " ").split():
        languages = _LANGUAGES_OF.get(word.strip(".,;:()"))
        if languages:
            for language in languages:
                votes[language] += 1 / len(languages)
    (first, most), (_, second) = sorted(votes.items(), key=lambda item: -item[1])[:2]
    return first if most >= enough and most > second else UNKNOWN
