"""Identifiers are found where they stand, replaced alike, and what only looks like one stays."""

# ruff: noqa: E501  a template a line

from __future__ import annotations

import random
import re
import tarfile
from pathlib import Path

import pytest

from medmm.errors import ReportError
from medmm.reports.deid import deidentify
from medmm.reports.parse import parse_openi_xml

FIRST = "Maria John Wei Aisha Lars Olivia Priya Carlos Ingrid Tomas Fatima Hugo Beth Dmitri Noor Siobhan Kwame Yuki Andre Lucia".split()
LAST = "Smith O'Connor Garcia-Lopez Nguyen McDonald Okafor Schneider Brown Patel Kowalski Lindqvist DeLuca Young Park Rossi Hall Ivanov Green Abbott Silva".split()
TEMPLATES = {
    "NAME": [
        "Findings discussed with Dr. {last} by telephone.", "Dictated by: {first} {last}, MD", "Dictated by {last}, {first}",
        "Electronically signed by {first} {last} M.D.", "Patient: {LAST}^{FIRST}", "Patient name: {last}, {first} A.",
        "Mr. {last} was informed of the result.", "Radiologist: {first} {last}", "Attending: Dr. {first} {last}",
        "Mrs. {first} {last} returned for review.", "Read by: {FIRST} {LAST}, D.O.", "Results were called to Dr. {first} B. {last}.",
        "Transcribed by: {last}", "Reviewed by {first} {last}, MD.", "Referring physician: {last}, {first}",
        "The patient {first} {last} has cough.", "Notified nurse {first} {last} at once.",
    ],
    "DATE": [
        "Comparison to 03/14/2019.", "Comparison: January 5, 2018.", "Dated 2017-11-30.", "Compared with radiograph of 7 March 2016.",
        "Seen on 12/1/15.", "Film of 05.06.2014 shows the same.", "Signed 2019-02-03 14:22.", "Since Aug 2013 there is no change.",
        "Prior from Sept. 9th, 2011.", "DOB: 19400312", "Obtained on 4/17.", "CT of 14-Feb-2012.", "Surgery in 1998.", "Tuesday, June 12, 2007.",
    ],
    "ID": [
        "MRN: {n7}", "MRN {n7}", "Accession number: CR{n7}", "Medical record number {n7}.", "Accession #{n7}", "SSN 123-45-{n4}.", "Patient ID: H{n7}",
        "Order number {n7}", "Acct: {n7}", "Encounter {n7} closed.", "Study ID: XR-{n7}",
    ],
    "PHONE": ["Call 317-555-{n4}.", "Phone: (317) 555-{n4}", "Pager {n4}.", "Fax 317.555.{n4}", "Tel. +44 20 7946 {n4}", "Callback number: 555-{n4}", "ext. {n4}"],
    "EMAIL": ["Contact {first}.{n4}@hospital.example.org."],
    "URL": ["Images at https://pacs.example.org/study/{n7}.", "See www.example-{n4}.org."],
    "ADDRESS": ["Lives at {n4} Maple Street, Carmel, IN 46032.", "Home: {n4} North Oak Ave.", "P.O. Box {n4}", "{n4} W. 10th St, Indianapolis, IN"],
    "AGE": ["A 93-year-old woman.", "97 yo with cough.", "Aged 91.", "Patient is 101 years old."],
    "HOSPITAL": ["Transferred from {last} Memorial Hospital.", "Seen at St. Mary's Medical Center.", "From Riverside Clinic.", "University of Indiana chart."],
}  # fmt: skip
EXPECTED = {
    "NAME": r"{last}|{LAST}",
    "DATE": r"03/14/2019|January 5, 2018|2017-11-30|7 March 2016|12/1/15|05\.06\.2014|2019-02-03|Aug 2013|Sept\. 9th, 2011|19400312|4/17|14-Feb-2012"
    r"|1998|June 12, 2007",
    "ID": r"{n7}|123-45-{n4}", "PHONE": r"{n4}", "EMAIL": r"\S+@[\w.]+\w", "URL": r"https?://\S+\w|www\.\S+org",
    "ADDRESS": r"{n4}(?: Maple Street| North Oak Ave| W\. 10th St)?", "AGE": r"93|97|91|101",
    "HOSPITAL": r"{last} Memorial Hospital|St\. Mary's Medical Center|Riverside Clinic|University of Indiana",
}  # fmt: skip
LOOKALIKES = [
    "Kerley B lines and a Swan-Ganz catheter.", "Hodgkin disease and Ewing sarcoma.", "Ghon complex, Bochdalek hernia.",
    "T12 and L1 fractures, ribs 7/8.", "A 12 mm nodule, 1.2 x 3.4 cm, 10-12 mm.", "Two views, 2/2 leads.", "89-year-old man.", "Grade 3/4.",
    "XXXX-year-old with XXXX.", "Dr. XXXX was notified.", "Bilateral 5th ribs, 3-5 mm.", "Cobb angle of 23 degrees in May be scoliosis.",
    "ICD-9 code 786.50.", "C5-C6 fusion, 24/7.", "Hounsfield units of 1200.", "EF of 55-60 percent, 120/80.", "Follow up in 3 to 6 months.",
    "Port-A-Cath and Dobhoff tube.", "At 0830 hours the tube is seen.", "Heart is normal. Lungs are clear.",
]  # fmt: skip


def test_the_same_words_get_the_same_placeholder() -> None:
    text = "Dr. John Smith on 3/4/2020; JOHN SMITH, MD. Smith on 2020-03-04, then Mr. Lee on March 5, 2020. MRN 123456, mrn: 123456."
    assert deidentify(text).text == (
        "Dr. [NAME1] on [DATE1]; [NAME1], MD. [NAME1] on [DATE1], then Mr. [NAME2] on [DATE2]. MRN [ID1], mrn: [ID1]."
    )


def test_spans_say_what_stood_where_and_show_nothing() -> None:
    text = "Patient: DOE^JANE^M is 91-year-old."
    found = deidentify(text)
    assert [(one.kind, text[one.start : one.end], one.replacement) for one in found.spans] == [
        ("NAME", "DOE^JANE^M", "[NAME1]"),
        ("AGE", "91", "90+"),
    ]
    assert "DOE" not in repr(found)


def test_shifted_dates_keep_their_intervals() -> None:
    found = deidentify("From 2019-12-30 to January 9, 2020, in June 2018.", shift_days=-10)
    assert found.text == "From 2019-12-20 to 2019-12-30, in [DATE1]."


@pytest.mark.parametrize("text", LOOKALIKES)
def test_lookalikes_stay(text: str) -> None:
    assert deidentify(text).text == text


def test_an_identified_text_is_stable_and_a_long_one_quick() -> None:
    once = deidentify("Dictated by: Maria Rossi, MD on 2/3/2011. Phone 317-555-0123.").text
    assert deidentify(once).text == once
    assert deidentify("A" * 200_000).spans == ()
    assert deidentify("1" * 200_000).spans == ()


def planted(sentences: list[str]) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """(kind, text, where the identifier must be covered): one identifier between two real sentences."""
    draw = random.Random(4)
    cases = []
    for round_ in range(6):
        for kind, templates in TEMPLATES.items():
            for template in templates:
                first, last = draw.choice(FIRST), draw.choice(LAST)
                words = {"first": first, "last": last, "FIRST": first.upper(), "LAST": last.upper(),
                         "n4": f"{draw.randrange(1000, 9999)}", "n7": f"{draw.randrange(10**6, 10**7)}"}  # fmt: skip
                planted_text = template.format(**words)
                mark = "\n" if ":" in template or round_ % 2 else " "
                before, after = draw.choice(sentences), draw.choice(sentences)
                text = f"{before}{mark}{planted_text}{mark}{after}"
                offset = len(before) + 1
                pattern = EXPECTED[kind].format(**{name: re.escape(word) for name, word in words.items()})
                spans = [(offset + m.start(), offset + m.end()) for m in re.finditer(pattern, planted_text)]
                assert spans, (kind, planted_text)
                cases.append((kind, text, spans))
    return cases


@pytest.mark.shared
def test_recall_and_precision_in_real_sentences(shared: Path) -> None:
    sentences: list[str] = []
    with tarfile.open(shared / "openi/NLMCXR_reports.tgz") as archive:
        for member in [member for member in archive if member.isfile()][::13]:
            handle = archive.extractfile(member)
            assert handle is not None
            try:
                found = parse_openi_xml(handle.read()).report.sentences
            except ReportError:
                continue
            sentences += [" ".join(one.text.split()) for one in found if one.section in ("findings", "impression")]
    sentences = [one if one.endswith(".") else one + "." for one in sentences]
    cases = planted(sentences)
    assert len(cases) >= 300
    missed, right, wrong = [], 0, []
    for kind, text, spans in cases:
        found = deidentify(text).spans
        covered = all(any(one.start <= start and end <= one.end for one in found) for start, end in spans)
        if not covered:
            missed.append((kind, text))
        for one in found:
            hit = any(one.start < end and start < one.end for start, end in spans)
            right, wrong = right + hit, wrong if hit else [*wrong, (one.kind, text[one.start : one.end])]
    recall, precision = 1 - len(missed) / len(cases), right / (right + len(wrong))
    print(f"{len(cases)} planted: recall {recall:.4f}, precision {precision:.4f}", missed[:20], wrong[:20])  # noqa: T201  shown by pytest -s
    assert recall >= 0.98, missed
    assert precision >= 0.97, wrong
    assert sum(len(deidentify(one).spans) for one in sentences) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. María Núñez-O'Brien called", "Dr. [NAME1] called"),
        ("dr smith called", "dr [NAME1] called"),
        ("read by john smith, md", "read by [NAME1], md"),
        ("SMITH,JOHN 1234567", "[NAME1] 1234567"),
        ("pt id: X99", "pt id: [ID1]"),
        ("Seen Monday 5/6.", "Seen [DATE1]."),
        ("No effusion, do not repeat. 5/6 ribs intact.", "No effusion, do not repeat. 5/6 ribs intact."),
    ],
)
def test_names_in_small_letters_and_days_of_the_week(text: str, expected: str) -> None:
    assert deidentify(text).text == expected
