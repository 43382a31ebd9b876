"""HL7 and FHIR reports reach the studies that they are of."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from medmm.config.schema import DataConfig
from medmm.data.readers.dicom import read
from medmm.errors import Reason
from medmm.types import Rejection, Study

FINAL = (
    "MSH|^~\\&|A|B|C|D|2020||ORU^R01|1|P|2.5\rPID|1||P1\rOBR|1||{number}|"
    "||||||||||||||{number}|||||||{status}\rOBX|1|TX|R&IMP||{text}\r"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies with accession numbers ACC1 and ACC2."""
    for number in (1, 2):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        dataset.AccessionNumber, dataset.StudyInstanceUID = f"ACC{number}", f"1.2.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}.1"
        (tmp_path / f"s{number}").mkdir()
        dataset.save_as(tmp_path / f"s{number}" / "a.dcm")
    return tmp_path


def reports(folder: Path, **settings: object) -> tuple[dict[str, str], list[Rejection]]:
    items = list(read(DataConfig(reader="dicom", path=folder, **settings)))
    studies = [item for item in items if isinstance(item, Study)]
    found = {one.study_id: one.report.sections["impression"].text for one in studies if one.report}
    return found, [item for item in items if isinstance(item, Rejection)]


def test_messages_beside_the_images(folder: Path) -> None:
    (folder / "s1" / "a.hl7").write_text(FINAL.format(number="ACC1", status="F", text="Edema."))
    (folder / "s2" / "ACC2.json").write_text(json.dumps({"resourceType": "DiagnosticReport", "conclusion": "Mass."}))
    (folder / "s2" / "a.json").write_text('{"EchoTime": 3}')
    found, rejected = reports(folder)
    assert found == {"1.2.1": "Edema.", "1.2.2": "Mass."}
    assert rejected == []


def test_messages_joined_by_accession_number(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    messages = tmp_path_factory.mktemp("messages")
    first = [("ACC1", "P", "Early."), ("ACC1", "F", "Final."), ("ACC9", "F", "Nobody.")]
    (messages / "day.hl7").write_text("".join(FINAL.format(number=n, status=s, text=t) for n, s, t in first))
    uid = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.2"}
    report = {"resourceType": "DiagnosticReport", "identifier": [uid], "conclusion": "Mass."}
    (messages / "r.json").write_text(json.dumps(report))
    (messages / "bad.json").write_text("{")
    found, rejected = reports(folder, reports=messages)
    assert found == {"1.2.1": "Final.", "1.2.2": "Mass."}
    assert sorted(one.reason for one in rejected) == sorted(
        [Reason.REPORT_UNREADABLE, Reason.REPORT_WITHOUT_IMAGE, Reason.REPORT_SURPLUS]
    )
    shutil.copy(messages / "day.hl7", folder / "day.hl7")
    assert reports(folder, reports=folder / "day.hl7")[0] == {"1.2.1": "Final."}


def test_one_report_that_cannot_be_read_is_named_and_costs_no_other(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    messages = tmp_path_factory.mktemp("messages")
    good = {"resourceType": "DiagnosticReport", "conclusion": "Mass.", "identifier": [
        {"system": "urn:dicom:uid", "value": "urn:oid:1.2.2"}]}  # fmt: skip
    bad = {
        "resourceType": "DiagnosticReport",
        "presentedForm": [{"contentType": "text/plain", "data": base64.b64encode(b"\x81\x40" * 30).decode()}],
    }
    (messages / "night.ndjson").write_text(f"{json.dumps(bad)}\n{json.dumps(good)}\n")
    found, rejected = reports(folder, reports=messages)
    assert found == {"1.2.2": "Mass."}
    assert [one.reason for one in rejected] == [Reason.REPORT_UNREADABLE]
