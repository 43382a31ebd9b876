"""Tokenizers against hand-cut texts, and ``ptb`` against the Stanford tokenizer where Java is there."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from medmm.errors import UsageError
from medmm.metrics.tokenizers import (
    TOKENIZERS,
    character_tokens,
    plain_tokens,
    ptb_tokens,
    r2gen_mimic_tokens,
    r2gen_tokens,
    tokenizer_named,
)

PUNCTUATION = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}


def r2gen_by_regex(text: str) -> list[str]:
    """R2Gen's rules once more, by regular expressions: independent of the module's own way."""
    text = re.sub(r"\.\.", ".", re.sub(r"\.\.", ".", re.sub(r"\.\.", ".", text))).replace("1. ", "")
    for number in "2345":
        text = text.replace(f". {number}. ", ". ")
    for number in "2345":
        text = text.replace(f" {number}. ", ". ")
    sentences = [re.sub(r"[^\w\s#$~|-]|_", "", part) for part in text.strip().lower().split(". ")]
    return (" . ".join(sentences) + " .").split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("No acute disease.", "no acute disease"),
        ("Well-expanded, clear lungs; x-XXXX: normal.", "well-expanded clear lungs x-xxxx normal"),
        ("A 1.5 cm (15 mm) nodule.", "a 1.5 cm -lrb- 15 mm -rrb- nodule"),
        ("The patient's heart can't be seen, cannot exclude.", "the patient 's heart ca n't be seen can not exclude"),
        ("Effusion/atelectasis in 50% of cases.", "effusion/atelectasis in 50 % of cases"),
        ("1.There is... none?", "1 there is none"),
        ("Ratio of 16.2/24.7, 106.3mg, ,786.2 V76.12", "ratio of 16.2 / 24.7 106.3 mg ,786.2 v76 .12"),
        ("Seen on chest CT.", "seen on chest ct."),
        ("Normal &gt;] S.O.B and", "normal > -rsb- s.o.b and"),
        ("", ""),
    ],
)
def test_ptb(text: str, tokens: str) -> None:
    assert ptb_tokens(text) == tokens.split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("No acute disease.", "no acute disease ."),
        ("1. Normal heart. 2. Clear lungs.. 3. No mass!", "normal heart . clear lungs . no mass ."),
        ("Well-expanded (clear) lungs, 50%.", "well-expanded clear lungs 50 ."),
        ("A 1.5 cm nodule/mass.", "a 15 cm nodulemass ."),
        ("", "."),
    ],
)
def test_r2gen(text: str, tokens: str) -> None:
    assert r2gen_tokens(text) == tokens.split()


def test_r2gen_mimic() -> None:
    text = "1. The ___ heart\n is  normal... 2. No effusion"
    assert r2gen_mimic_tokens(text) == "the heart is normal . no effusion .".split()
    assert r2gen_mimic_tokens("A well-expanded (right) lung.") == r2gen_tokens("A well-expanded (right) lung.")


def test_characters() -> None:
    assert character_tokens("双肺清晰，心影 15.5mm。No well-expanded LUNG") == [
        *"双肺清晰心影", "15.5", "mm", "no", "well-expanded", "lung",
    ]  # fmt: skip
    assert character_tokens("") == []


ODD = ["", " \n\t ", "…。，", "\u200b\ufeff", "a" * 100_000, "((((((" * 2_000, "1.2.3." * 5_000]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_odd_texts_give_words(name: str, text: str) -> None:
    words = TOKENIZERS[name](text)
    assert all(word and not word.isspace() for word in words)


WHITE = [chr(code) for code in range(0x110000) if chr(code).isspace()]


def test_ptb_words_are_those_that_white_space_parts() -> None:
    """Any white space parts words, so that joining them by spaces and cutting again gives the same words."""
    assert {"\u00a0", "\u2009", "\u2028", "\u3000"} < set(WHITE)
    for mark in WHITE:
        assert ptb_tokens(f"left{mark}lung, 1{mark}1/2 cm{mark}isn't x.{mark}dr.{mark}y") == ptb_tokens(
            "left lung, 1 1/2 cm isn't x. dr. y"
        ), hex(ord(mark))


def test_plain() -> None:
    assert plain_tokens("No  Acute\ndisease.") == ["no", "acute", "disease."]


def test_names() -> None:
    assert set(TOKENIZERS) == {"ptb", "r2gen", "r2gen_mimic", "plain", "characters"}
    assert tokenizer_named("plain") is plain_tokens
    with pytest.raises(UsageError, match="ptb"):
        tokenizer_named("pbt")


def openi_texts(shared: Path) -> list[str]:
    with (shared / "openi/indiana_reports.csv").open(newline="") as handle:
        return [" ".join(f"{row['findings']} {row['impression']}".split()) for row in csv.DictReader(handle)]


@pytest.mark.shared
def test_r2gen_on_open_i(shared: Path) -> None:
    texts = openi_texts(shared)
    assert [text for text in texts if r2gen_tokens(text) != r2gen_by_regex(text)] == []


@pytest.mark.shared
def test_ptb_equals_stanford_on_open_i(shared: Path, tmp_path: Path) -> None:
    """At least 99.9% of 3,851 reports give the very tokens that pycocoevalcap would score."""
    pycocoevalcap = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    if shutil.which("java") is None:
        pytest.skip("no Java to run the Stanford tokenizer")
    texts = openi_texts(shared)
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts), encoding="utf-8")
    jar = Path(pycocoevalcap.__file__).parent / pycocoevalcap.STANFORD_CORENLP_3_4_1_JAR
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    command += ["-preserveLines", "-lowerCase", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    lines = done.stdout.split("\n")
    want = [[token for token in line.split() if token not in PUNCTUATION] for line in lines[: len(texts)]]
    same = sum(ptb_tokens(text) == tokens for text, tokens in zip(texts, want, strict=True))
    assert same / len(texts) >= 0.999
