"""Sections and sentences keep their offsets and are found under the headings that hospitals write."""

from __future__ import annotations

import pytest

from medmm.reports.parse import parse_report
from medmm.reports.sections import find_headings, split_sections, with_line_ends
from medmm.reports.sentences import split_sentences
from medmm.types import TextPart

FINDINGS = "The heart is enlarged. Small left effusion (8 mm)."
IMPRESSION = "1. Cardiomegaly. 2. Effusion."


def sections_of(text: str) -> dict[str, str]:
    sections, blocks = split_sections(text)
    for part in [*sections.values(), *blocks]:
        assert text[part.start : part.end] == part.text
    return {name: part.text for name, part in sections.items()}


def sentences_of(text: str) -> list[str]:
    sentences = split_sentences(TextPart(text, 100, 100 + len(text), "findings"))
    for sentence in sentences:
        assert text[sentence.start - 100 : sentence.end - 100] == sentence.text
        assert sentence.section == "findings"
    return [sentence.text for sentence in sentences]


@pytest.mark.parametrize(
    "style",
    [
        "FINDINGS: {0}\nIMPRESSION: {1}",
        "FINDINGS:\n{0}\n\nIMPRESSION:\n{1}",
        "Findings: {0}\nImpression: {1}",
        "findings\n{0}\nimpression\n{1}",
        "FINDINGS {0}\nIMPRESSION {1}",
        "Findings - {0}\nOpinion - {1}",
        "## Findings\n{0}\n## Conclusion\n{1}",
        "**Findings:** {0}\n**Impression:** {1}",
        "FINDINGS: {0} IMPRESSION: {1}",
        "Findings: {0} Impression: {1}",
        "FINDINGS (CHEST): {0}\r\nCONCLUSION: {1}\r\n",
        "EXAM: PA and lateral.\nCLINICAL INDICATION: Cough.\nFINDINGS: {0}\nIMPRESSION: {1}\nSIGNED BY: XXXX",
    ],
)
def test_heading_styles(style: str) -> None:
    found = sections_of(style.format(FINDINGS, IMPRESSION))
    assert found["findings"] == FINDINGS
    assert found["impression"] == IMPRESSION


def test_abbreviated_and_composed_headings() -> None:
    text = "HISTORY: pain\nTECHNIQUE: two views\nCOMPARISON: none\nFINDINGS AND IMPRESSION: Clear."
    assert sections_of(text) == {
        "indication": "pain",
        "technique": "two views",
        "comparison": "none",
        "findings": "Clear.",
        "impression": "Clear.",
    }
    assert list(sections_of("CLINICAL HISTORY/INDICATION: pain")) == ["indication"]


def test_text_without_headings_has_no_sections() -> None:
    text = "Impression of a rib on the film. History of findings unknown.\nStudy of two views was normal."
    sections, blocks = split_sections(text)
    assert sections == {}
    assert [block.text for block in blocks] == [text]
    assert blocks[0].section is None


def test_subheadings_stay_in_their_section() -> None:
    assert sections_of("FINDINGS:\nLUNGS: clear.\nHEART: normal.\nIMPRESSION: ok") == {
        "findings": "LUNGS: clear.\nHEART: normal.",
        "impression": "ok",
    }


def test_empty_and_repeated_headings() -> None:
    assert sections_of("FINDINGS:\nIMPRESSION: normal") == {"impression": "normal"}
    assert sections_of("IMPRESSION:\n\nIMPRESSION: normal\nIMPRESSION: later") == {"impression": "normal"}
    assert find_headings("FINDINGS: a")[0].end == len("FINDINGS:")


def test_preamble_and_signature_belong_to_no_section() -> None:
    _, blocks = split_sections("CHEST, 2 VIEWS\nFINDINGS: clear\nDICTATED BY: XXXX")
    assert [(block.section, block.text) for block in blocks] == [
        (None, "CHEST, 2 VIEWS"),
        ("findings", "clear"),
        (None, "XXXX"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No effusion. Heart normal.", ["No effusion.", "Heart normal."]),
        ("A 2.5 cm mass. Seen by Dr. XXXX today.", ["A 2.5 cm mass.", "Seen by Dr. XXXX today."]),
        ("1. Effusion. 2. Mass vs. nodule.", ["Effusion.", "Mass vs. nodule."]),
        ("1) Effusion\n2) No mass", ["Effusion", "No mass"]),
        ("- Effusion\n- No mass", ["Effusion", "No mass"]),
        ("Opacity in the apex.There is no effusion.", ["Opacity in the apex.", "There is no effusion."]),
        ("Effusion on\nthe left side. Normal", ["Effusion on\nthe left side.", "Normal"]),
        ("Clear lungs\nHeart is normal", ["Clear lungs", "Heart is normal"]),
        ("Nodule measures 8 mm. Stable.. No change!", ["Nodule measures 8 mm.", "Stable..", "No change!"]),
        ("No\nXXXX effusion", ["No\nXXXX effusion"]),
        (" . ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences_of(text) == expected


def test_merged_abbreviated_and_suffixed_headings() -> None:
    assert sections_of("CLIN HX: cough\nCOMP: none\nFINDINGS/IMPRESSION: Clear.") == {
        "indication": "cough",
        "comparison": "none",
        "findings": "Clear.",
        "impression": "Clear.",
    }
    assert sections_of("CT CHEST IMPRESSION: Clear.") == {"impression": "Clear."}
    assert sections_of("Heart normal. IMPRESSION No disease.") == {"impression": "No disease."}
    assert sections_of("3. FINDINGS: Clear.\nIV. IMPRESSION: Ok") == {"findings": "Clear.", "impression": "Ok"}


@pytest.mark.parametrize(
    "text",
    [
        "The effusion is unchanged compared to the\nprior.\nNo edema.",
        "FINDINGS CONSISTENT WITH EDEMA ARE SEEN. IMPRESSION OF A RIB.",
        "Effusion. The clinical\nhistory\nis unknown.",
        "There is a fx: see above.",
    ],
)
def test_prose_is_no_heading(text: str) -> None:
    assert sections_of(text) == {}


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (
            "es",
            "DATOS CLÍNICOS: tos\nTÉCNICA: PA\nCOMPARACION: ninguna\nHALLAZGOS: Derrame.\nIMPRESIÓN DIAGNÓSTICA: Derrame.",
        ),
        ("de", "Klinische Angaben: Husten\nTechnik: p.a.\nVoraufnahmen: keine\nBefund: Erguss.\nBeurteilung: Erguss."),
        (
            "fr",
            "RENSEIGNEMENTS CLINIQUES : toux\nTECHNIQUE : face\nCOMPARAISON : aucune\nRÉSULTATS : Épanchement.\nCONCLUSION : Ok.",
        ),
        ("zh", "临床诊断：咳嗽\n检查方法：正位\n对比：无\n【影像表现】双肺清晰。\n诊断意见：未见异常。"),
    ],
)
def test_languages(language: str, text: str) -> None:
    report = parse_report(text)
    assert list(report.sections) == ["indication", "technique", "comparison", "findings", "impression"]
    assert report.language == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Los pulmones están sin derrame. No se observa una masa en el hilio.", "es"),
        ("Das Herz ist nicht vergrößert. Kein Erguss in der Lunge.", "de"),
        ("Le coeur est normal. Pas de masse dans les poumons et la plèvre.", "fr"),
        ("The heart is normal and there is no effusion.", "en"),
        ("Normal.", "und"),
        ("Сердце не расширено, выпота нет.", "und"),
        ("心影不大，肺野清晰です。ありません。", "und"),
    ],
)
def test_language_without_headings(text: str, language: str) -> None:
    report = parse_report(text)
    assert (report.sections, report.language) == ({}, language)


def test_addenda_never_change_a_section() -> None:
    end = "FINDINGS: Clear.\nIMPRESSION: Normal.\nADDENDUM: A nodule was missed.\nIMPRESSION: Nodule."
    assert sections_of(end) == {"findings": "Clear.", "impression": "Normal."}
    start = "ADDENDUM: Seen again.\nIMPRESSION: Nodule.\nORIGINAL REPORT:\nFINDINGS: Clear.\nIMPRESSION: Normal."
    assert sections_of(start) == {"findings": "Clear.", "impression": "Normal."}
    assert [(part.section, part.text) for part in split_sections(start)[1]][0] == (
        "addendum",
        "Seen again.\nIMPRESSION: Nodule.",
    )
    assert sections_of("ADDENDUM: Seen.\nFINDINGS: Clear.") == {"findings": "Clear."}


def test_missing_headings() -> None:
    template = "COMPARISON: None.\nLUNGS: Clear.\nHEART: Normal.\nIMPRESSION: Ok."
    assert sections_of(template) == {
        "comparison": "None.",
        "findings": "LUNGS: Clear.\nHEART: Normal.",
        "impression": "Ok.",
    }
    unheaded = "TECHNIQUE: PA.\n\nThe lungs are clear.\n\nIMPRESSION: Ok."
    assert sections_of(unheaded) == {"technique": "PA.", "impression": "Ok."}
    assert [part.section for part in split_sections(unheaded)[1]] == ["technique", None, "impression"]


@pytest.mark.parametrize("mark", ["\r", "\r\n", "\f", "\u2028", "\\.br\\", "~"])
def test_line_ends_of_every_kind(mark: str) -> None:
    text = f"FINDINGS{mark}Clear.{mark}IMPRESSION:{mark}1. One.{mark}2. Two."
    assert {name: with_line_ends(part).split() for name, part in sections_of(text).items()} == {
        "findings": ["Clear."],
        "impression": ["1.", "One.", "2.", "Two."],
    }
    assert [part.text for part in parse_report(text).sentences] == ["Clear.", "One.", "Two."]


def test_a_heading_alone_and_sentences_in_chinese() -> None:
    assert sections_of("FINDINGS:") == {}
    assert [part.text for part in parse_report("所见：双肺清晰。心影不大。").sentences] == ["双肺清晰。", "心影不大。"]
