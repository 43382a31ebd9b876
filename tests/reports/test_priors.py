"""References to earlier studies are found, and taken out so that whole sentences stay."""

# ruff: noqa: E501  a sentence a line

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from medmm.errors import Reason, ReportError
from medmm.reports.parse import parse_openi_xml, parse_report
from medmm.reports.priors import find_prior_references, without_priors
from medmm.reports.target import target_text

# what a radiologist wrote | what one image shows of it
TABLE = """
Stable cardiomegaly. | Cardiomegaly.
Stable mild cardiomegaly. | Mild cardiomegaly.
There is stable cardiomegaly. | There is cardiomegaly.
There is a stable calcified granuloma. | There is a calcified granuloma.
There is an unchanged hiatal hernia. | There is a hiatal hernia.
Unchanged severe compression deformity of L1. | Severe compression deformity of L1.
Cardiomegaly is unchanged. | Cardiomegaly is present.
The left pleural effusion is stable. | The left pleural effusion is present.
Bilateral pleural effusions are unchanged. | Bilateral pleural effusions are present.
Calcified nodes appear stable. | Calcified nodes are present.
Small nodule in the right upper lung is stable. | Small nodule in the right upper lung is present.
No change in the left effusion compared to prior. | Left effusion.
No change in the large hiatal hernia. | Large hiatal hernia.
No significant interval change in the size of the right pneumothorax. | Right pneumothorax.
There is no interval change in the appearance of the bibasilar opacities. | Bibasilar opacities.
No interval change. |
No significant change since prior. |
Stable exam. |
Stable chest. |
Unchanged. |
Stable cardiomediastinal silhouette. |
The heart size is stable. |
The cardiac silhouette is unchanged. |
Heart size and mediastinal contours are stable. |
Stable appearance of the chest. |
Mediastinal contours are unchanged from the prior study. |
The appearance is stable from multiple previous studies. |
Heart size is stable and normal. | Heart size is normal.
The heart size and mediastinal contours are stable and within normal limits. | The heart size and mediastinal contours are within normal limits.
The heart is normal in size and stable. | The heart is normal in size.
The heart is mildly enlarged, unchanged. | The heart is mildly enlarged.
The cardiac silhouette is enlarged but stable. | The cardiac silhouette is enlarged.
The heart is again enlarged. | The heart is enlarged.
Heart size remains normal. | Heart size is normal.
Both lungs remain clear. | Both lungs are clear.
The thoracic aorta remains tortuous. | The thoracic aorta is tortuous.
Heart size is now normal. | Heart size is normal.
Heart size within normal limits, stable mediastinal contours. | Heart size within normal limits.
Compared to prior exam, there is a small left effusion. | There is a small left effusion.
In comparison with the previous radiograph, there is mild edema. | There is mild edema.
As compared to the prior study dated 3/4/2010, the lungs are clear. | The lungs are clear.
There is a small left effusion compared to prior examination. | There is a small left effusion.
There is mild cardiomegaly, similar to prior exams. | There is mild cardiomegaly.
Mild hyperinflation, as before. | Mild hyperinflation.
There are biapical opacities, stable from the prior study. | There are biapical opacities.
Small calcified granuloma stable from prior exam. | Small calcified granuloma.
Right apical scarring unchanged since 2009. | Right apical scarring.
Degenerative changes are again seen. | Degenerative changes are seen.
Again seen is a calcified granuloma. | There is a calcified granuloma.
Again noted are sternotomy wires. | There are sternotomy wires.
Central venous catheter is again noted. | Central venous catheter is noted.
Calcified granuloma redemonstrated. | Calcified granuloma seen.
Redemonstrated azygos lobe. | Azygos lobe.
Redemonstration of the left basilar atelectasis. | Left basilar atelectasis.
We again note the left hilar calcifications. | Left hilar calcifications.
Interval development of a right pleural effusion. | A right pleural effusion.
There has been interval development of bandlike opacity in the left base. | There is bandlike opacity in the left base.
Interval increase in size of the right pleural effusion. | Right pleural effusion.
Interval worsening of the left lower lobe infiltrate. | Left lower lobe infiltrate.
Worsening right basilar airspace disease. | Right basilar airspace disease.
Increasing left effusion. | Left effusion.
Improving left lower lobe pneumonia. | Left lower lobe pneumonia.
New right lower lobe infiltrate. | Right lower lobe infiltrate.
There is a new opacity in the left base. | There is an opacity in the left base.
New or increasing left effusion. | Left effusion.
Persistent small bilateral effusions. | Small bilateral effusions.
Persistent but decreased left lower lobe atelectasis. | Left lower lobe atelectasis.
A left pleural effusion remains. | A left pleural effusion is present.
The right infiltrate persists. | The right infiltrate is present.
A wedge-shaped opacity has developed in the right upper lobe. | A wedge-shaped opacity is present in the right upper lobe.
The left effusion has increased. | The left effusion is present.
No new infiltrate. | No acute infiltrate.
No new focal consolidation or effusion. | No acute focal consolidation or effusion.
Interval placement of a left PICC line with tip in the SVC. | A left PICC line with tip in the SVC.
Interval removal of left PICC line, no pneumothorax. | No pneumothorax.
Right central line has been removed. |
Interval resolution of left effusion. |
The left effusion has resolved. |
Near-complete resolution of the edema. |
Left PICC is unchanged in position. | Left PICC is present.
Stable position of the pacemaker leads. | Pacemaker leads.
Pacemaker in stable position. | Pacemaker.
Previously seen right upper lobe nodule measures 8 mm. | Right upper lobe nodule measures 8 mm.
No prior studies are available for comparison. |
No comparison. |
Recommend comparison with prior studies. |
The lungs are clear without interval consolidation or effusion. | The lungs are clear without consolidation or effusion.
Sternal wires remain intact. | Sternal wires are intact.
Diffuse interstitial opacities (unchanged) in both lungs. | Diffuse interstitial opacities in both lungs.
"""
STAY = [
    "Prior median sternotomy.", "Sequelae of previous granulomatous disease.", "Degenerative changes of the spine.", "Increased interstitial markings.",
    "Lung volumes are decreased.", "No acute changes.", "Old healed rib fracture.", "Recommend follow-up in 6 weeks.", "Chronic changes of COPD.",
    "Right greater than left effusion.", "The remainder of the lungs is clear.", "Low lung volumes.",
]  # fmt: skip
ROWS = [tuple(part.strip() for part in line.split("|")) for line in TABLE.strip().splitlines()]
ELSEWHERE = re.compile(
    r"\b(?:unchanged|stable|stability|interval|interim|compared|comparison|again|redemonstrat\w+|persist\w*|new|newly|worsen\w+|improv\w+|increasing|decreasing"
    r"|remains?|previously|no longer|resolution of|resolved|progress\w+"
    r"|(?:prior|previous|earlier|last) (?:stud|exam|radiograph|film|x-ray|x-XXXX|ct|scan|chest|imag)\w*|since (?:XXXX|the|prior|previous|last)"
    r"|(?:to|from) (?:the )?(?:prior|previous)(?=\s*(?:[.,;]|$)))\b",
    re.IGNORECASE,
)
"""A list of words made apart from the rules, for counting what is left."""
ADVICE = re.compile(r"\b(?:recommend\w*|follow\w*|consider\w*|if|correlat\w+)\b", re.IGNORECASE)
"""What is to be done next compares with nothing before."""
DANGLING = re.compile(
    r"\b(?:to|with|from|of|than|since|and|or|the|a|an|is|are|has|have|in|for|by)[.,;]*$|^(?:And|Or|But|Of|To|With|Than|Since|Is|Are)\b"
)


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) + len(STAY) >= 80
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("sentence", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_sentences(sentence: str, expected: str) -> None:
    assert find_prior_references(sentence)
    assert without_priors(sentence) == expected


@pytest.mark.parametrize("sentence", STAY)
def test_history_and_findings_stay(sentence: str) -> None:
    assert find_prior_references(sentence) == []
    assert without_priors(sentence) == sentence


def test_spans_and_kinds() -> None:
    text = "New effusion. Heart unchanged since the prior exam."
    assert [(text[one.start : one.end], one.kind) for one in find_prior_references(text)] == [
        ("New", "new"), ("unchanged", "no_change"), ("since the prior exam", "comparison"),
    ]  # fmt: skip


def test_what_is_no_sentence_is_left_out() -> None:
    assert without_priors("interval " * 100_000) == ""


def test_lists_are_numbered_anew() -> None:
    assert (
        without_priors("1. Stable chest.\n2. Stable left effusion.\n3. No pneumothorax.")
        == "1. Left effusion.\n2. No pneumothorax."
    )
    assert without_priors("1. Stable heart. Small effusion. 2. Clear.") == "1. Small effusion. 2. Clear."


def test_target_without_priors() -> None:
    report = parse_report("FINDINGS: Stable heart size. Stable left effusion.\nIMPRESSION: No interval change.")
    assert target_text(report, without_comparisons=True) == "FINDINGS: Left effusion."
    with pytest.raises(ReportError) as error:
        target_text(report, ("impression",), without_comparisons=True)
    assert error.value.reason is Reason.SECTION_MISSING


@pytest.mark.shared
def test_open_i_without_priors(shared: Path) -> None:
    """References go, whole sentences stay, and sentences without any are not touched."""
    before = after = broken = 0
    examples = []
    with tarfile.open(shared / "openi/NLMCXR_reports.tgz") as archive:
        for member in archive:
            handle = archive.extractfile(member)
            if handle is None:
                continue
            try:
                report = parse_openi_xml(handle.read()).report
            except ReportError:
                continue
            for sentence in report.sentences:
                if sentence.section not in ("findings", "impression"):
                    continue
                text = " ".join(sentence.text.split())
                found = without_priors(text)
                if found == text:
                    is_left = bool(ELSEWHERE.search(text)) and not ADVICE.search(text)
                    after, before = after + is_left, before + is_left
                    examples += [text] if is_left else []
                    continue
                before += 1
                after += bool(ELSEWHERE.search(found))
                examples += [found] if ELSEWHERE.search(found) else []
                assert found == without_priors(found)
                is_whole = not found or (
                    (not found[0].islower())
                    and not DANGLING.search(found)
                    and "  " not in found
                    and found.count("(") == found.count(")")
                    and (found[-1] in ".!?" or text[-1] not in ".!?")
                )
                broken += not is_whole
    print(f"{before} sentences with references, {after} left ({after / before:.2%}), {broken} broken", examples[:40])  # noqa: T201  shown by pytest -s
    assert before > 1900
    assert after / before <= 0.01
    assert broken == 0


@pytest.mark.parametrize(
    ("written", "learned"),
    [
        ("The nodule, previously 6 mm, is now 9 mm.", "The nodule is 9 mm."),
        ("Nodule has grown from 6 to 9 mm.", "Nodule measures 9 mm."),
        ("The masses have increased in size from 2.5 cm to 3 cm.", "The masses measure 3 cm."),
        ("Nodule (previously 6 mm) of 9 mm.", "Nodule of 9 mm."),
        ("In comparison with the study of ___, there is little change.", ""),
    ],
)
def test_earlier_sizes_are_left_out(written: str, learned: str) -> None:
    assert without_priors(written, "en") == learned
