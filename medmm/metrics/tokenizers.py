"""Named ways to cut a report into words; which one was used belongs to every text score.

``ptb`` follows what pycocoevalcap gets from the Stanford Penn Treebank tokenizer (lower case, its list of punctuation
removed), without Java. ``r2gen`` follows the cleaning that published IU X-Ray tables use (Chen et al., EMNLP 2020).
``plain`` is lower case cut at white space.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from medmm.errors import UsageError

_PTB_TOKEN = re.compile(
    r"(?P<abbreviation>(?:[a-z]\.){2,}|(?:fig|figs|dr|mr|mrs|ms|prof|approx|vs|jr|sr|ct|co|st)\.(?=\s+\S))"
    r"|(?P<number>[-+](?=\d)\d*(?:[.,:/-]\d+)*(?![a-z]))"
    r"|(?P<word>#?[a-z0-9_°µ\u00c0-\uffff]+(?:(?:[-/&]|(?<!\d)\.|\.(?=\d)|,(?=\d))[a-z0-9_°µ\u00c0-\uffff]+|(?<=\d):\d+)*)"
    r"|(?P<clitic>'(?:s|re|ve|ll|d|m)\b)"
    r"|(?P<dots>\.{2,}|\?+)"
    r"|(?P<tag></?[a-z][^<>\s]*>)"
    r"|(?P<sign>\S)"
)
_PTB_NOT = re.compile(r"([a-z]+)n't\b")
_PTB_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_PTB_REMOVED = frozenset(
    ("''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";", "“", "”", "‘", "’", "–", "—", "..")
)

_R2GEN_NUMBERED = ("2. ", "3. ", "4. ", "5. ")
_R2GEN_REMOVED = re.compile(r"[.,?;*!%^&_+():<=>@\[\]{}\"/\\']")


def ptb_tokens(text: str) -> list[str]:
    """Cut ``text`` as the Penn Treebank tokenizer does, in lower case and without punctuation.

    Brackets stay as ``-lrb-`` and ``-rrb-``: pycocoevalcap lists them for removal in capitals only, so they stay
    there too.
    """
    lowered = _PTB_NOT.sub(r"\1 n't", text.lower()).replace("cannot", "can not")
    tokens: list[str] = []
    for match in _PTB_TOKEN.finditer(lowered.replace(" n't", " \x00")):
        token = match.group()
        token = "n't" if token == "\x00" else _PTB_BRACKETS.get(token, token)
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
    text = text.replace("1. ", "")
    for number in _R2GEN_NUMBERED:
        text = text.replace(f". {number}", ". ")
    for number in _R2GEN_NUMBERED:
        text = text.replace(f" {number}", ". ")
    tokens: list[str] = []
    for place, sentence in enumerate(text.strip().lower().split(". ")):
        if place:
            tokens.append(".")
        tokens.extend(_R2GEN_REMOVED.sub("", sentence).split())
    return [*tokens, "."]


def plain_tokens(text: str) -> list[str]:
    """Cut ``text`` in lower case at white space; punctuation stays on its word."""
    return text.lower().split()


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"ptb": ptb_tokens, "r2gen": r2gen_tokens, "plain": plain_tokens}
"""Tokenizer by the name that ``evaluate.tokenizer`` gives."""


def tokenizer_named(name: str) -> Callable[[str], list[str]]:
    """Look up a tokenizer.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in TOKENIZERS:
        raise UsageError("no tokenizer of that name", got=f"'{name}'", expected=" | ".join(TOKENIZERS))
    return TOKENIZERS[name]
