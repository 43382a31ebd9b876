"""Named ways to cut a report into words; which one was used belongs to every text score.

``ptb`` follows what pycocoevalcap gets from the Stanford Penn Treebank tokenizer (lower case, its list of punctuation
removed), without Java: the same words for 3,850 of Open-i's 3,851 reports, findings and impression. ``r2gen`` follows
the cleaning that published IU X-Ray tables use, ``r2gen_mimic`` that of MIMIC-CXR tables (Chen et al., EMNLP 2020).
``plain`` is lower case cut at white space. ``characters`` makes every Chinese, Japanese or Korean character a word, for
reports without spaces, which the others leave whole.

An empty text has no words, but for ``r2gen`` and ``r2gen_mimic``, whose sentences end with a full stop even if nothing
stands before it, as in R2Gen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from medmm.errors import UsageError

_LETTER = r"[a-z0-9_°µ\u00c0-\uffff]"
_PTB_TOKEN = re.compile(
    r"(?P<escape>&(?:lt|gt|amp);)"
    r"|(?P<abbreviation>(?:[a-z]\.)+[a-z]\b(?!\.)|(?:[a-z]\.){2,}"
    r"|(?:fig|figs|dr|mr|mrs|ms|prof|vs|jr|sr|ct|co|st)\.(?=\s|$))"
    r"|(?P<number>[-+.,]?(?=\d)\d*(?:[.,]\d+)+(?:-\d+)?|[-+.,](?=\d)\d*(?:[.,:/-]\d+)*(?![a-z]))"
    rf"|(?P<word>#?(?:[a-z_°µ\u00c0-\uffff]{_LETTER}*|\d{_LETTER}*(?:[.,](?=\d){_LETTER}+)*)"
    rf"(?:(?:[-/&]|(?<!\d)\.(?!\d)){_LETTER}+|(?<=\d):\d+)*)"
    r"|(?P<clitic>'(?:s|re|ve|ll|d|m)\b)"
    r"|(?P<dots>\.{2,}|\?+)"
    r"|(?P<tag></?[a-z][^<>\s]*>)"
    r"|(?P<sign>\S)"
)
_PTB_NOT = re.compile(r"(?<=[a-z])n't\b")
_PTB_SAID_AS = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
    "&lt;": "<", "&gt;": ">", "&amp;": "&",
}  # fmt: skip
_PTB_REMOVED = frozenset(
    ("''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";", "“", "”", "‘", "’", "–", "—", "..")
)

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_CHARACTER = re.compile(rf"[{_CJK}]|\d+(?:\.\d+)?|[^\W\d{_CJK}][^\W{_CJK}]*(?:[-'][^\W{_CJK}]+)*")

_R2GEN_NUMBERED = ("2. ", "3. ", "4. ", "5. ")
_R2GEN_REMOVED = re.compile(r"[.,?;*!%^&_+():<=>@\[\]{}\"/\\']")


def ptb_tokens(text: str) -> list[str]:
    """Cut ``text`` as the Penn Treebank tokenizer does, in lower case and without punctuation.

    Brackets stay as ``-lrb-`` and ``-rrb-``: pycocoevalcap lists them for removal in capitals only, so they stay
    there too. White space of any kind parts words, as it does wherever pycocoevalcap cuts what the tokenizer joined.
    """
    lowered = _PTB_NOT.sub(" n't", " ".join(text.lower().split())).replace("cannot", "can not")
    tokens: list[str] = []
    for match in _PTB_TOKEN.finditer(lowered.replace(" n't", " \x00")):
        token = match.group()
        token = "n't" if token == "\x00" else _PTB_SAID_AS.get(token, token)
        if token not in _PTB_REMOVED:
            tokens.append(token)
    return tokens


def r2gen_tokens(text: str) -> list[str]:
    r"""Cut ``text`` after R2Gen's cleaning for IU X-Ray.

    Runs of full stops become one, the numbers of lists of up to five go, sentences are parted at ``. ``, and of their
    characters ``.,?;*!%^&_+():<=>@[]{}"/\'`` are dropped (hyphens stay). Sentences are joined by a full stop as a
    token of its own, one at the end; words stay whole.
    """
    for _ in range(3):
        text = text.replace("..", ".")
    return _r2gen_sentences(_without_list_numbers(text))


def r2gen_mimic_tokens(text: str) -> list[str]:
    """Cut ``text`` after R2Gen's cleaning for MIMIC-CXR.

    As :func:`r2gen_tokens`; line breaks become spaces, and runs of the ``_`` that de-identification left, of spaces and
    of full stops become one before that.
    """
    text = text.replace("\n", " ")
    for mark, times in (("_", 7), (" ", 7), (".", 9)):
        for _ in range(times):
            text = text.replace(mark * 2, mark)
    return _r2gen_sentences(_without_list_numbers(text))


def _without_list_numbers(text: str) -> str:
    text = text.replace("1. ", "")
    for number in _R2GEN_NUMBERED:
        text = text.replace(f". {number}", ". ")
    for number in _R2GEN_NUMBERED:
        text = text.replace(f" {number}", ". ")
    return text


def _r2gen_sentences(text: str) -> list[str]:
    tokens: list[str] = []
    for place, sentence in enumerate(text.strip().lower().split(". ")):
        if place:
            tokens.append(".")
        tokens.extend(_R2GEN_REMOVED.sub("", sentence).split())
    return [*tokens, "."]


def plain_tokens(text: str) -> list[str]:
    """Cut ``text`` in lower case at white space; punctuation stays on its word."""
    return text.lower().split()


def character_tokens(text: str) -> list[str]:
    """Cut ``text`` in lower case into words, and what is written in Chinese, Japanese or Korean into characters.

    Punctuation is dropped; a decimal stays whole.
    """
    return _CHARACTER.findall(unicodedata.normalize("NFKC", text).lower())


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "ptb": ptb_tokens,
    "r2gen": r2gen_tokens,
    "r2gen_mimic": r2gen_mimic_tokens,
    "plain": plain_tokens,
    "characters": character_tokens,
}
"""Tokenizer by the name that ``evaluate.tokenizer`` gives."""


def tokenizer_named(name: str) -> Callable[[str], list[str]]:
    """Look up a tokenizer.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in TOKENIZERS:
        raise UsageError("no tokenizer of that name", got=f"'{name}'", expected=" | ".join(TOKENIZERS))
    return TOKENIZERS[name]
