"""Reports as hospitals' systems send them: HL7 v2, FHIR, RTF, HTML; and what is refused."""

# ruff: noqa: E501  messages as they are sent

from __future__ import annotations

import base64
import contextlib
import json
import time
from pathlib import Path

import hl7 as oracle
import pytest

from medmm.errors import Reason, ReportError
from medmm.reports.fhir import read_fhir
from medmm.reports.files import read_reports
from medmm.reports.hl7 import is_hl7, read_hl7, unescaped
from medmm.reports.markup import html_text, plain_text, repaired, rtf_text
from medmm.reports.parse import parse_report, read_report

HEAD = r"MSH|^~\&|RIS|H|EHR|H|20200101120000||ORU^R01^ORU_R01|1|P|2.5.1"
PID = "PID|1||PAT77^^^H^MR~99^^^X^PI||DOE^JANE||19500101|F"
RTF = r"{\rtf1\ansi\deff0{\fonttbl{\f0 Arial;}}{\info{\author SECRET}}\f0\b FINDINGS:\b0  Oed\'e8me \u8805?3 mm.\par IMPRESSION: Effusion.\par}"


def message(*segments: str, head: str = HEAD, end: str = "\r") -> bytes:
    return end.join([head, PID, *segments, ""]).encode()


def texts(data: bytes) -> list[dict[str, str]]:
    return [{name: part.text for name, part in one.report.sections.items()} for one in read_hl7(data)]


def reason_of(path: Path) -> Reason:
    with pytest.raises(ReportError) as error:
        read_reports(path)
    assert path.name not in str(error.value)
    return error.value.reason


def test_hl7_repeated_obx_with_suffixes() -> None:
    data = message(
        "ORC|RE",
        "OBR|1|PL1^O|FIL2^R|71020^CHEST^L|||20200101|||||||||||ACC9|||||||F",
        r"OBX|1|TX|71020&GDT^CHEST^L|1|FINDINGS: Heart \T\ lungs normal.\.br\No effusion \F\ air.",
        "OBX|2|TX|71020&IMP^CHEST^L|1|1. Normal.",
        "OBX|3|TX|71020&IMP^CHEST^L|1|2. No change.",
        "OBX|4|TX|71020&IMP^CHEST^L|1|Withdrawn line.||||||D",
    )
    (document,) = read_hl7(data)
    assert (document.accession, document.patient_id, document.status) == ("ACC9", "PAT77", "final")
    assert document.report.source_format == "hl7"
    assert {name: part.text for name, part in document.report.sections.items()} == {
        "findings": "Heart & lungs normal.\nNo effusion | air.",
        "impression": "1. Normal.\n2. No change.",
    }
    assert not any(word in repr(document) for word in ("PAT77", "ACC9", "normal"))


def test_hl7_codes_repetitions_and_several_orders() -> None:
    data = message(
        "OBR|1||A1", "OBX|1|FT|59776-5^Findings^LN||Small effusion.~Heart normal.", "OBX|2|ST|19005-8^Impression^LN||Effusion.",
        "OBR|2||A2", "OBX|1|TX|REPORT||HALLAZGOS: Normal.",
        "OBR|3||A3", "OBX|1|NM|X||5",
    )  # fmt: skip
    assert [one.accession for one in read_hl7(data)] == ["A1", "A2"]
    assert texts(data) == [
        {"findings": "Small effusion.\nHeart normal.", "impression": "Effusion."},
        {"findings": "Normal."},
    ]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_hl7_line_ends_batches_frames_and_broken_lines(end: str) -> None:
    one = message(
        "OBR|1||A1", f"OBX|1|TX|R||FINDINGS: Clear.{end}THE heart is normal.{end}IMPRESSION: Normal.", end=end
    )
    assert texts(one) == [{"findings": f"Clear.{end}THE heart is normal.", "impression": "Normal."}]
    batch = b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + one + one.replace(b"A1", b"B2") + b"BTS|2\rFTS|1\r"
    assert [found.accession for found in read_hl7(batch)] == ["A1", "B2"]
    assert len(read_hl7(b"\x0b" + one + b"\x1c\r\x0b" + one + b"\x1c\r")) == 2


def test_hl7_fields_agree_with_the_hl7_library() -> None:
    data = message("OBR|1|P|F" + "|" * 15 + "A^1", r"OBX|1|TX|71020&GDT^C||A \S\ b \R\ c \E\ d \X41\ \T\ \F\.")
    parsed = oracle.parse(data.decode())
    (document,) = read_hl7(data)
    assert document.report.raw == parsed.unescape(str(parsed.segment("OBX")[5]))
    assert document.accession == str(parsed.segment("OBR")[18][0][0])
    assert document.patient_id == str(parsed.segment("PID")[3][0][0])


def test_hl7_escapes() -> None:
    assert unescaped(r"a\.br\b\.sp2\c\X0D0A\d\XC3A9\e\H\f\N\g\Zabc\h") == "a\nb\n\nc\nd\u00e9efgh"
    assert unescaped(r"C:\temp and 3\4") == r"C:\temp and 3\4"
    assert unescaped("a#F#b", "!@*#%") == "a!b"


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("8859/1", "latin-1"),
        ("UNICODE UTF-8", "utf-8"),
        ("UNICODE UTF-8", "latin-1"),
        ("", "utf-8"),
        ("8859/1", "utf-8"),
    ],
)
def test_hl7_character_sets_named_wrongly(charset: str, encoding: str) -> None:
    head = HEAD + "||||||" + charset
    data = message("OBR|1||A", "OBX|1|TX|R||BEFUND: Ödem, Erguß links.", head=head).decode().encode(encoding)
    assert texts(data) == [{"findings": "Ödem, Erguß links."}]


def test_hl7_without_a_report() -> None:
    for data, reason in [
        (message("OBR|1||A", "OBX|1|ED|R||^AP^PDF^Base64^JVBERi0="), Reason.REPORT_EMPTY),
        (message(head=HEAD.replace("ORU^R01^ORU_R01", "ADT^A01")), Reason.REPORT_UNREADABLE),
        (b"MSH|", Reason.REPORT_EMPTY),
        (b"FINDINGS: no message", Reason.REPORT_UNREADABLE),
    ]:
        with pytest.raises(ReportError) as error:
            read_hl7(data)
        assert error.value.reason is reason
    assert not is_hl7(b"MSHING")


def resource(**fields: object) -> dict[str, object]:
    number = {"type": {"coding": [{"code": "ACSN"}]}, "value": "ACC5"}
    return {"resourceType": "DiagnosticReport", "status": "final", "identifier": [number], **fields}


def form(text: str, kind: str) -> dict[str, str]:
    return {"contentType": kind, "data": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {
                "presentedForm": [form("%PDF", "application/pdf"), form("FINDINGS: Clear.", "text/plain")],
                "conclusion": "Normal.",
            },
            ("Clear.", "Normal."),
        ),
        (
            {
                "presentedForm": [
                    form("<p>FINDINGS: Clear</p><script>x()</script><p>IMPRESSION: Ok</p>", "text/html; charset=utf-8")
                ]
            },
            ("Clear", "Ok"),
        ),
        ({"presentedForm": [form(RTF, "text/rtf")]}, ("Oedème ≥3 mm.", "Effusion.")),
        (
            {"text": {"div": "<div><h3>Findings</h3><p>Clear &amp; dry.</p><h3>Impression</h3>Ok<br/>Fine</div>"}},
            ("Clear & dry.", "Ok\nFine"),
        ),
        ({"conclusion": "Left effusion."}, (None, "Left effusion.")),
        ({"conclusionCode": [{"text": "Edema"}, {"coding": [{"display": "Mass"}]}]}, (None, "Edema; Mass")),
    ],
)
def test_fhir_texts(fields: dict[str, object], expected: tuple[str | None, str]) -> None:
    (document,) = read_fhir(json.dumps(resource(**fields)).encode())
    found = document.report.sections
    assert (found["findings"].text if "findings" in found else None, found["impression"].text) == expected
    assert (document.accession, document.status, document.report.source_format) == ("ACC5", "final", "fhir")


def test_fhir_bundle_resolves_within_itself() -> None:
    study = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
    }
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "M1"}],
    }
    order = {
        "resourceType": "ServiceRequest",
        "id": "o",
        "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "ACC8"}],
    }
    report = resource(conclusion="Normal.", identifier=[], subject={"reference": "Patient/p"}, imagingStudy=[{"reference": "ImagingStudy/s"}],
                      basedOn=[{"reference": "#o"}], contained=[order])  # fmt: skip
    lab = resource(conclusion="Sodium 140", category=[{"coding": [{"code": "LAB"}]}])
    bundle = {"resourceType": "Bundle", "entry": [{"resource": one} for one in (report, patient, study, lab)]}
    (document,) = read_fhir(json.dumps(bundle).encode())
    assert (document.accession, document.patient_id, document.study_uid) == ("ACC8", "M1", "1.2.3")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", Reason.REPORT_UNREADABLE),
        (b"[" * 100_000, Reason.REPORT_UNREADABLE),
        (b'{"resourceType": "Patient"}', Reason.REPORT_UNREADABLE),
        (b'{"resourceType": "DiagnosticReport"}', Reason.REPORT_EMPTY),
        (
            b'{"resourceType": "DiagnosticReport", "presentedForm": [{"contentType": "text/plain", "data": "%%"}], "text": 3}',
            Reason.REPORT_EMPTY,
        ),
    ],
)
def test_fhir_without_a_report(data: bytes, reason: Reason) -> None:
    with pytest.raises(ReportError) as error:
        read_fhir(data)
    assert error.value.reason is reason


def test_hl7_body_and_impression_in_any_order() -> None:
    body, end = "OBX|1|TX|71020&GDT||Large left pleural effusion.", "OBX|2|TX|71020&IMP||Cardiomegaly."
    for segments in ((body, end), (end, body), ("OBX|1|TX|71020&IMP||Cardio", body, "OBX|3|TX|71020&IMP||megaly.")):
        (found,) = texts(message("OBR|1||A", *segments))
        assert found["findings"] == "Large left pleural effusion."
        assert found["impression"].replace("\n", "") == "Cardiomegaly."
    (found,) = texts(message("OBR|1||A", end, "OBX|3|TX|||Effusion.", body))
    assert found == {"findings": "Large left pleural effusion.", "impression": "Cardiomegaly.\nEffusion."}


@pytest.mark.parametrize("head", ["MSH|", "MSH||", "MSH|^", "MSH|^|A"])
def test_hl7_without_all_delimiters(head: str) -> None:
    assert texts(message("OBR|1||A", "OBX|1|TX|R^S||FINDINGS: Clear.", head=head)) == [{"findings": "Clear."}]


def test_hl7_encapsulated_text_and_null_values() -> None:
    data = message("OBR|1||A", 'OBX|1|TX|R||""', "OBX|2|ED|R||^TEXT^PLAIN^Base64^RklORElOR1M6IENsZWFyLg==")
    assert texts(data) == [{"findings": "Clear."}]
    with pytest.raises(ReportError) as error:
        read_hl7(message("OBR|1||A", 'OBX|1|TX|R||""'))
    assert error.value.reason is Reason.REPORT_EMPTY


def test_one_unreadable_report_does_not_lose_the_others(tmp_path: Path) -> None:
    broken = "OBX|1|TX|R||" + r"{\rtf1 \u99999999999999 x}".replace("\\", "\\E\\")
    path = tmp_path / "a.hl7"
    path.write_bytes(message("OBR|1||A1", broken, "OBR|2||A2", "OBX|1|TX|R||FINDINGS: Clear."))
    refused: list[ReportError] = []
    assert [one.accession for one in read_reports(path, refused)] == ["A2"]
    assert [error.reason for error in refused] == [Reason.REPORT_UNREADABLE]
    with pytest.raises(ReportError) as error:
        read_report(path)
    assert error.value.reason is Reason.REPORT_SHARED
    control = resource(presentedForm=[form("\x01\x02", "text/plain")])
    lines = [resource(conclusion="One."), control, control | {"conclusion": "Two."}]
    refused = []
    found = read_fhir("\n".join(map(json.dumps, lines)).encode(), refused)
    assert [one.report.raw for one in found] == ["IMPRESSION: One.", "IMPRESSION: Two."]
    assert [error.reason for error in refused] == [Reason.REPORT_UNREADABLE]
    with pytest.raises(ReportError):
        read_fhir(json.dumps(control).encode())


def test_fhir_references_by_full_url_and_further_forms() -> None:
    patient = {"resourceType": "Patient", "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "M9"}]}
    number = {"type": {"coding": [{"code": "ACSN"}]}, "value": "ACC7"}
    order = {"resourceType": "ServiceRequest", "identifier": [number]}
    forms = [form(text, "text/plain") for text in ("FINDINGS: A", "IMPRESSION: B", "FINDINGS: A")]
    links = {"subject": {"reference": "urn:uuid:p"}, "basedOn": [{"reference": "urn:uuid:o"}], "identifier": []}
    entries = [("urn:uuid:p", patient), ("urn:uuid:o", order), ("urn:uuid:r", resource(presentedForm=forms, **links))]
    bundle = {"resourceType": "Bundle", "entry": [{"fullUrl": url, "resource": one} for url, one in entries]}
    (document,) = read_fhir(json.dumps(bundle).encode())
    assert (document.patient_id, document.accession) == ("M9", "ACC7")
    assert document.report.raw == "FINDINGS: A\n\nIMPRESSION: B"


@pytest.mark.parametrize(
    "data", ["所見：異常なし。心拡大なし。".encode("shift-jis"), "影像所見：正常，無異常".encode("big5"), "Лёгкие чистые.".encode("cp1251")]
)  # fmt: skip
def test_an_unknown_encoding_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert reason_of(path) is Reason.REPORT_UNREADABLE


def test_files_are_told_by_their_content(tmp_path: Path) -> None:
    sources = {
        "hl7": (message("OBR|1||A", "OBX|1|TX|R||IMPRESSION: Normal."), "hl7"),
        "json": (json.dumps(resource(conclusion="Normal.")).encode(), "fhir"),
        "rtf": (RTF.replace("Effusion", "Normal").encode(), "rtf"),
        "html": (b"<html><head><title>x</title></head><body><b>IMPRESSION:</b> Normal.</body></html>", "html"),
        "txt": (b"IMPRESSION: Normal.", "text"),
        "utf16": ("\ufeffIMPRESSION: Normal.".encode("utf-16-le"), "text"),
    }
    for name, (data, kind) in sources.items():
        path = tmp_path / f"{name}.txt"
        path.write_bytes(data)
        report = read_report(path)
        assert (report.source_format, report.sections["impression"].text) == (kind, "Normal."), name
        assert all(
            report.raw[part.start : part.end] == part.text for part in (*report.sections.values(), *report.sentences)
        )
    two = tmp_path / "two.hl7"
    two.write_bytes(message("OBR|1||A", "OBX|1|TX|R||Clear.", "OBR|2||B", "OBX|1|TX|R||Clear."))
    with pytest.raises(ReportError) as error:
        read_report(two)
    assert error.value.reason is Reason.REPORT_SHARED


def test_html_and_rtf_keep_text_only() -> None:
    assert (
        html_text("<style>p{}</style><p>A&nbsp;&lt;3 mm</p><ul><li>b</li><li>c</li></ul><svg>x</svg><pre>d\n e</pre>")
        == "A <3 mm\n\nb\nc\n\nd\ne"
    )
    assert html_text("<p>open <b>tags <script>never closed") == "open tags"
    assert plain_text("size < 3 mm and > 1 mm") == "size < 3 mm and > 1 mm"
    assert rtf_text(RTF) == "FINDINGS: Oedème ≥3 mm.\nIMPRESSION: Effusion."
    assert rtf_text(r"{\rtf1 unclosed {\b bold") == "unclosed bold"


def test_mojibake_is_repaired_only_where_certain(tmp_path: Path) -> None:
    text = "FINDINGS: Œdème à gauche – 3 µm “ok”, 5 °C."
    path = tmp_path / "a.txt"
    assert repaired(text.replace("”", '"').encode().decode("cp1252")) == text.replace("”", '"')
    assert repaired("Oedème à gauche") == "Oedème à gauche"
    assert repaired("Ã©lan and é alone") == "Ã©lan and é alone"
    chinese = "检查所见：双肺纹理清晰。\n印象：未见异常。"
    path.write_bytes(chinese.encode("gb18030"))
    report = read_report(path)
    assert (report.raw, report.language, report.repaired) == (chinese, "zh", False)


MEANT = "FINDINGS: Œdème à gauche, 5 °C."
BROKEN = MEANT.encode().decode("cp1252")


@pytest.mark.parametrize(
    ("name", "data", "repaired"),
    [
        ("a.txt", BROKEN.encode(), True),
        ("a.txt", MEANT.encode(), False),
        ("a.html", f"<p>{BROKEN}</p>".encode(), True),
        ("a.hl7", f"MSH|^~\\&|A|B\rOBR|1||A1\rOBX|1|TX|R||{BROKEN}".encode(), True),
        ("a.hl7", f"MSH|^~\\&|A|B\rOBR|1||A1\rOBX|1|TX|R||{MEANT}".encode(), False),
        ("a.json", json.dumps(resource(text={"div": BROKEN}), ensure_ascii=False).encode(), True),
        ("a.json", json.dumps(resource(presentedForm=[form(BROKEN, "text/plain")])).encode(), True),
        ("a.json", json.dumps(resource(presentedForm=[form(MEANT, "text/plain")])).encode(), False),
    ],
)
def test_a_report_says_that_it_was_repaired(tmp_path: Path, name: str, data: bytes, repaired: bool) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    report = read_report(path)
    assert (report.raw, report.repaired) == (MEANT, repaired)
    part = report.sections["findings"]
    assert part.text == "Œdème à gauche, 5 °C." == report.raw[part.start : part.end]


def test_of_several_reports_those_that_were_right_are_not_called_repaired() -> None:
    data = f"MSH|^~\\&|A|B\rOBR|1||A1\rOBX|1|TX|R||{BROKEN}\rOBR|2||A2\rOBX|1|TX|R||FINDINGS: Clear."
    assert [one.report.repaired for one in read_hl7(data.encode())] == [True, False]


def test_bad_files(tmp_path: Path) -> None:
    entity = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><eCitation><uId id="CXR1"/>&e;</eCitation>'
    laughs = (
        b"<!DOCTYPE a [<!ENTITY a 'ha'>"
        + b"".join(b"<!ENTITY %c '&%c;&%c;'>" % (c + 1, c, c) for c in range(97, 120))
        + b"]><eCitation>&x;</eCitation>"
    )
    for name, data, reason in [
        ("a.txt", b"", Reason.REPORT_EMPTY), ("b.json", b" \n", Reason.REPORT_EMPTY), ("c.txt", entity, Reason.REPORT_UNREADABLE),
        ("d.xml", laughs, Reason.REPORT_UNREADABLE), ("e.txt", laughs, Reason.REPORT_UNREADABLE), ("f.txt", b"%PDF-1.7 x", Reason.REPORT_UNREADABLE),
        ("g.txt", b"\x00\x01 binary", Reason.REPORT_UNREADABLE), ("j.txt", entity.decode().encode("utf-16"), Reason.REPORT_UNREADABLE), ("h.txt", b"a" * (16 * 2**20 + 1), Reason.TOO_LARGE),
        ("i.html", b"<html><body><script>x</script></body></html>", Reason.REPORT_EMPTY),
    ]:  # fmt: skip
        path = tmp_path / name
        path.write_bytes(data)
        assert reason_of(path) is reason, name
    assert reason_of(tmp_path / "none.hl7") is Reason.FILE_MISSING


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "\n", "FINDINGS: ", "FINDINGS:\n", "IMPRESSION ", "A", ".", "!? ", ":", "word: ", "1. ", "\n\n ", "{\\rtf", "<p>", "<", "所见：", "~", "\\.br\\", "- ",
     "{\\field{\\*\\fldinst{", "lungs: clear\n", "ADDENDUM:\n", "compared to prior ", "(", "\n" + " " * 60],
)  # fmt: skip
def test_a_megabyte_takes_seconds_at_most(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.perf_counter()
    with contextlib.suppress(ReportError):
        parse_report(plain_text(text))
    assert time.perf_counter() - start < 20
