"""Whatever a file holds: no time beyond its length, and no error but a ReportError."""

from __future__ import annotations

import base64
import json
import random
import time
from pathlib import Path

import pytest

from medmm.errors import ReportError
from medmm.reports.files import read_reports
from medmm.reports.findings import label_report
from medmm.reports.hypertext import html_text
from medmm.reports.markup import plain_text

HL7 = "MSH|^~\\&|R|H|E|H|2020||ORU^R01|1|P|2.5\rPID|1||P1\rOBR|1|a|b\rOBX|1|TX|71020&GDT||FINDINGS: \\.br\\ A \\X0D\\\r"
FORM = {"contentType": "text/html", "data": base64.b64encode(b"<p>FINDINGS: A</p><p>IMPRESSION: B</p>").decode()}
SOURCES = [
    "FINDINGS: No effusion (5 x 6 mm).\n(1) Small nodule ? mass - none.\n\nIMPRESSION:\nNO EDEMA\nCARDIOMEGALY",
    "<html><head><title>x</title></head><body a='>'><p>FINDINGS: &lt;5 mm<!-- c --><script>x</script><pre>a</pre><![CDATA[b]]>",
    r"{\rtf1\ansi{\fonttbl{\f0 A;}}\f0 FINDINGS:\b A\b0 \'e8 \u8805? {\field{\*\fldinst HYPERLINK a}}\par IMPRESSION: B\bin2 ab}",
    HL7 + "OBX|2|ED|X||^TEXT^PLAIN^Base64^QUJD\rOBX|3|TX|71020&IMP||" + r"{\rtf1 a}" + "\r",
    json.dumps({"resourceType": "DiagnosticReport", "status": "final", "presentedForm": [FORM, FORM], "conclusion": "C"}),
]  # fmt: skip
PIECES = ["<", ">", "<!", "<![", "]]>", "<p a=", "&#99999999999;", "{", "}", "\\", "\\u9999999999", "|", "^", '"', "'", "\n",
          " " * 30, "\x00", "\u2028", "(", ":", "?", "9" * 5000, "\\.sp" + "9" * 5000 + "\\", "[", "null", "É", "\r"]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=["text", "html", "rtf", "hl7", "fhir"])
def test_mutated_reports_are_read_or_refused(source: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    path = tmp_path / "report.txt"
    for _ in range(250):
        text = source
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(text) + 1)
            text = text[:start] + chance.choice([*PIECES, ""]) + text[start + chance.choice([0, 0, 1, 12]) :]
        path.write_bytes(text.encode())
        try:
            documents = read_reports(path)
        except ReportError:
            continue
        for report in (document.report for document in documents):
            label_report(report)
            parts = (*report.sections.values(), *report.sentences)
            assert all(report.raw[part.start : part.end] == part.text for part in parts)


def test_a_declaration_that_nothing_closes_is_text() -> None:
    assert html_text("<p>FINDINGS: A <![ B") == "FINDINGS: A <![ B"
    assert html_text("<p>A <!-- <p>B</p>") == "A <!--\nB"
    assert html_text("<a><![CDATA[FINDINGS: A <b]]></a>") == "FINDINGS: A <b"
    assert html_text("<!DOCTYPE html [<!ENTITY x 'y'>]><p>&x; &#99999999999;</p>") == "&x; \ufffd"
    assert html_text("<html><head><title>x<body>A") == "A"
    assert html_text("<p title='a > b'>A</p><img src='" + "a" * 5000 + "'>B") == "A\n\nB"


@pytest.mark.parametrize("unit", ["<p a=", "<p", "<!--", "</", '<a href="', "<?", "<svg></math>", "<p '", "&#9"])
def test_a_megabyte_of_broken_html_takes_seconds(unit: str) -> None:
    start = time.process_time()
    html_text("<p>FINDINGS: " + unit * (1_000_000 // len(unit)))
    assert time.process_time() - start < 10


@pytest.mark.parametrize("unit", [" ", "\t", "(", "1", "\n", "5 mm ", "a) ", "no x\n", "A:\n", "x" + " " * 10_000])
def test_labelling_a_megabyte_takes_seconds(unit: str) -> None:
    start = time.process_time()
    label_report(plain_text("x" + unit * (1_000_000 // len(unit)) + "x"))
    assert time.process_time() - start < 10
