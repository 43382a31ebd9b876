"""The labeler on sentences written by hand, and on Open-i against its MeSH terms."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from medmm.reports.findings import FINDINGS, label_report
from medmm.reports.parse import parse_report
from medmm.reports.vocabulary import load_vocabulary
from medmm.types import Laterality, Severity, Span, Status, Zone

PHANTOM = {
    "pleural_effusion", "pneumothorax", "consolidation", "atelectasis", "edema", "nodule", "mass", "cardiomegaly",
    "emphysema", "rib_fracture", "pacemaker", "endotracheal_tube",
}  # fmt: skip
MESH = {"opacity", "granuloma", "fracture", "scoliosis", "hiatal_hernia"}
CHEXPERT = {
    "pneumonia", "pleural_thickening", "lung_lesion", "enlarged_cardiomediastinum", "support_devices", "no_finding",
}  # fmt: skip

# Sentence | finding, + present, - absent, ? uncertain, 0 not mentioned
SENTENCES = """
No pleural effusion, pneumothorax or consolidation. | -pleural_effusion -pneumothorax -consolidation
No pneumothorax. Small left pleural efusion. | -pneumothorax +pleural_effusion
Moderate right pnuemothorax. | +pneumothorax
Lungs are free of consolidation, effusion or edema. | -consolidation -pleural_effusion -edema
The lungs are clear of focal airspace disease, pneumothorax, or pleural effusion. | -opacity -pneumothorax
Negative for pneumothorax. | -pneumothorax
Negative for pneumothorax, positive for effusion. | -pneumothorax +pleural_effusion
Neither effusion nor pneumothorax. | -pleural_effusion -pneumothorax
Bibasilar atelectasis without effusion. | +atelectasis -pleural_effusion
Atelectasis w/o effusion. | +atelectasis -pleural_effusion
No evidence of effusion; however, there is mild cardiomegaly. | -pleural_effusion +cardiomegaly
No effusion and mild edema. | -pleural_effusion +edema
No focal consolidation, large left effusion. | -consolidation +pleural_effusion
No consolidation, large pleural effusion, or pneumothorax. | -consolidation -pleural_effusion -pneumothorax
No consolidation, large pleural effusion/pneumothorax. | -consolidation -pleural_effusion -pneumothorax
There is no effusion, but a nodule is seen in the left lower lobe. | -pleural_effusion +nodule
No pneumothorax is seen and the heart is enlarged. | -pneumothorax +cardiomegaly
Stable cardiomegaly, no effusion. | +cardiomegaly -pleural_effusion
Moderate pulmonary edema, no pneumothorax or effusion. | +edema -pneumothorax -pleural_effusion
A mass is not identified. | -mass
Pneumothorax: none. | -pneumothorax
Effusion has resolved. | -pleural_effusion
Pneumothorax is no longer seen. | -pneumothorax
Interval resolution of left pneumothorax. | -pneumothorax
Almost completely resolved pneumothorax. | +pneumothorax
Resolving edema. | +edema
The pacemaker has been removed. | -pacemaker -support_devices
No change in moderate left effusion. | +pleural_effusion
No significant interval change in the right nodule. | +nodule
Not only effusion but also consolidation. | +pleural_effusion +consolidation
Cannot exclude small pneumothorax. | ?pneumothorax
Effusion cannot be excluded. | ?pleural_effusion
Fracture not excluded. | ?fracture
Possible right lower lobe consolidation. | ?consolidation
Questionable nodule in the right mid lung. | ?nodule
Suspicious for pneumonia. | ?pneumonia
Opacity in the left base may represent atelectasis or pneumonia. | +opacity ?atelectasis ?pneumonia
Right base atelectasis versus infiltrate. | ?atelectasis ?opacity
Probable left effusion. | +pleural_effusion
No opacity to suggest pneumonia. | -opacity -pneumonia
The previously described nodule is not well seen. | ?nodule
Heart size and pulmonary vascular engorgement appear within limits of normal. | -edema -cardiomegaly
The heart size is normal. Lungs are clear. | -cardiomegaly -consolidation -opacity -edema
The cardiomediastinal silhouette is within normal limits. | -cardiomegaly -enlarged_cardiomediastinum
Heart is not enlarged. | -cardiomegaly
The heart is mildly enlarged. | +cardiomegaly
Cardiac silhouette is enlarged and the lungs are clear. | +cardiomegaly -consolidation
Costophrenic angles are sharp. | -pleural_effusion
Blunting of the left costophrenic angle. | +pleural_effusion
Acute fracture of the left 7th rib. | +rib_fracture +fracture
No acute rib fracture. | -rib_fracture -fracture
Old clavicle fracture. | +fracture 0rib_fracture
No acute bony abnormality. | -fracture -rib_fracture
Endotracheal tube tip 4 cm above the carina. | +endotracheal_tube +support_devices
Left chest pacemaker with leads in place. | +pacemaker +support_devices
Subcutaneous emphysema. | 0emphysema
Pericardial effusion. | 0pleural_effusion
Mass effect on the trachea. | 0mass
Lungs are hyperinflated consistent with COPD. | +emphysema
Calcified granuloma in the right lung. | +granuloma 0nodule
Small nodular opacity on the left. | +opacity 0nodule
Dextroscoliosis of the thoracic spine. | +scoliosis
Moderate hiatal hernia. | +hiatal_hernia
XXXX left pleural effusion. | +pleural_effusion
There are no XXXX of a pleural effusion. | -pleural_effusion
"""
SIGNS = {"+": Status.PRESENT, "-": Status.ABSENT, "?": Status.UNCERTAIN, "0": None}
CASES = [
    (text.strip(), item[1:], SIGNS[item[0]])
    for line in SENTENCES.strip().splitlines()
    for text, _, items in [line.partition("|")]
    for item in items.split()
]


def misspellings(word: str) -> set[str]:
    dropped = {word[:i] + word[i + 1 :] for i in range(1, len(word))}
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
    return (dropped | swapped) - {word}


@pytest.mark.parametrize(("text", "name", "status"), CASES, ids=lambda value: None)
def test_status(text: str, name: str, status: Status | None) -> None:
    finding = label_report(text).get(name)
    assert (finding.status if finding else None) is status, f"{text} -> {name}"


def test_names() -> None:
    assert set(FINDINGS) >= PHANTOM | MESH | CHEXPERT


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("8 mm left apical nodule, unchanged.", "nodule", ("left", "apical", None, 8.0)),
        ("There is a 1.2 cm nodule in the right upper lobe.", "nodule", ("right", "upper", None, 12.0)),
        ("Large mass in the left mid lung measuring 4.5 x 3.2 cm.", "mass", ("left", "mid", "large", 45.0)),
        ("Bibasilar atelectasis.", "atelectasis", ("bilateral", "basal", None, None)),
        ("Bilateral pleural effusions, right greater than left.", "pleural_effusion", ("bilateral", None, None, None)),
        ("Left effusion and right pneumothorax.", "pleural_effusion", ("left", None, None, None)),
        ("Left effusion and right pneumothorax.", "pneumothorax", ("right", None, None, None)),
        ("Right-sided effusion is small.", "pleural_effusion", ("right", None, "small", None)),
        ("Right pleural effusion, moderate.", "pleural_effusion", ("right", None, "moderate", None)),
        ("Emphysema in both upper lobes.", "emphysema", ("bilateral", "upper", None, None)),
        ("Diffuse pulmonary edema, severe.", "edema", (None, "diffuse", "large", None)),
        ("Effusion on the left. Small effusion on the right.", "pleural_effusion", ("bilateral", None, "small", None)),
        ("Endotracheal tube tip 4 cm above the carina.", "endotracheal_tube", (None, None, None, None)),
        ("Nodule 1.1 cm on the left; effusion on the right.", "pleural_effusion", ("right", None, None, None)),
    ],
)
def test_modifiers(text: str, name: str, expected: tuple[str | None, str | None, str | None, float | None]) -> None:
    finding = label_report(text)[name]
    laterality, zone, severity, size_mm = expected
    assert finding.laterality == (laterality and Laterality(laterality))
    assert finding.zone == (zone and Zone(zone))
    assert finding.severity == (severity and Severity(severity))
    assert finding.size_mm == size_mm


def test_spans_refer_to_the_raw_text() -> None:
    text = "INDICATION: effusion?\nFINDINGS: Clear lungs. Ä small left Pleural Effusion\nis seen."
    finding = label_report(text)["pleural_effusion"]
    assert finding.span is not None
    assert text[finding.span.start : finding.span.end] == "Pleural Effusion"
    assert label_report("İ effusion")["pleural_effusion"].span == Span(2, 10)


def test_only_findings_and_impression_are_read() -> None:
    text = "INDICATION: pneumothorax\nCOMPARISON: effusion before\nFINDINGS: Nodule.\nIMPRESSION: Mass."
    labels = label_report(text)
    assert {name for name, finding in labels.items() if finding.status is Status.PRESENT} == {"nodule", "mass"}
    assert "pneumothorax" not in labels
    assert label_report("INDICATION: pneumothorax") == {}
    assert label_report(parse_report(text)) == labels


def test_present_holds_over_uncertain_over_absent() -> None:
    assert label_report("No effusion. Possible effusion.")["pleural_effusion"].status is Status.UNCERTAIN
    assert (
        label_report("Small effusion. Possible effusion. No effusion.")["pleural_effusion"].severity is Severity.SMALL
    )
    text = "FINDINGS: 9 mm left apical nodule.\nIMPRESSION: Nodule."
    assert label_report(text)["nodule"].size_mm == 9.0


def test_no_finding() -> None:
    assert label_report("Normal chest.")["no_finding"].status is Status.PRESENT
    assert label_report("No effusion. Pacemaker in place.")["no_finding"].status is Status.PRESENT
    assert label_report("No effusion. Possible nodule.")["no_finding"].status is Status.ABSENT
    assert "no_finding" not in label_report("Two views of the chest.")


@pytest.mark.parametrize("text", ["", "  \n", "FINDINGS:", "....", "1. 2. 3."])
def test_nothing_said(text: str) -> None:
    assert label_report(text) == {}


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("effusion", "pleural_effusion"),
        ("pneumothorax", "pneumothorax"),
        ("consolidation", "consolidation"),
        ("atelectasis", "atelectasis"),
        ("nodule", "nodule"),
        ("cardiomegaly", "cardiomegaly"),
        ("emphysema", "emphysema"),
        ("fracture", "fracture"),
        ("pacemaker", "pacemaker"),
        ("edema", "edema"),
    ],
)
def test_misspellings(word: str, name: str) -> None:
    missed = [form for form in sorted(misspellings(word)) if name not in label_report(f"There is a {form}.")]
    assert missed == []


def test_ordinary_words_are_not_taken_for_misspellings() -> None:
    vocabulary = load_vocabulary()
    for word in ("three", "there", "later", "anterior", "posterior", "infusion", "within", "contrast", "margins"):
        assert vocabulary.normalise(word) in {word, word.removesuffix("s")}


def test_no_phrase_uses_a_plural_that_another_uses_as_singular() -> None:
    """A plural in the vocabulary would hide its singular: ``changes`` known as itself is never read as ``change``."""
    words = {word for word in load_vocabulary()._lexicon._words if len(word) > 3}
    plurals = {word for word in words if word.endswith("s") and word[:-1] in words}
    assert plurals <= {"appears", "remains", "excludes"}


def test_long_text_without_a_full_stop() -> None:
    text = "no effusion, then " * 20_000 + "a large right mass"
    labels = label_report(text)
    assert labels["pleural_effusion"].status is Status.ABSENT
    assert labels["mass"].span == Span(len(text) - 4, len(text))


def test_import_stays_light() -> None:
    code = (
        "import sys, medmm.reports.findings; "
        "heavy = {'pandas', 'torch', 'sklearn', 'transformers', 'scipy', 'monai'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.shared
def test_agreement_with_open_i(shared: Path) -> None:
    """Macro-F1 against MeSH on both halves; the rules were made on the half with an even hash."""
    mapping = json.loads((shared / "openi/mesh_mapping.json").read_text())
    del mapping["_note"]
    names = {name: [name] for name in mapping} | {"opacity": ["opacity", "consolidation", "pneumonia"]}
    scores: dict[int, list[float]] = {0: [], 1: []}
    with (shared / "openi/indiana_reports.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 3851
    labels = [label_report(f"FINDINGS: {row['findings']}\nIMPRESSION: {row['impression']}") for row in rows]
    halves = [int(hashlib.sha256(row["uid"].encode()).hexdigest(), 16) % 2 for row in rows]
    problems = [{term.strip() for term in row["Problems"].lower().split(";")} for row in rows]
    for half in (0, 1):
        chosen = [number for number, one in enumerate(halves) if one == half]
        for finding, terms in mapping.items():
            want = [bool(problems[i] & set(terms)) for i in chosen]
            got = [
                any(name in labels[i] and labels[i][name].status is Status.PRESENT for name in names[finding])
                for i in chosen
            ]
            both = sum(a and b for a, b in zip(want, got, strict=True))
            scores[half].append(2 * both / (sum(want) + sum(got)))
    assert sum(scores[0]) / len(mapping) >= 0.94
    assert sum(scores[1]) / len(mapping) >= 0.90
