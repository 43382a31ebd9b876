"""Open-i in its CSV form, alone and against the XML of the same reports."""

from __future__ import annotations

import csv
import json
import tarfile
from collections import Counter

import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import openi
from medmm.data.readers._mesh import coded_findings
from medmm.errors import DataError, Reason
from medmm.types import Finding, Laterality, Rejection, Status, Study

REPORT = {"MeSH": "normal", "Problems": "normal", "image": "Chest", "indication": "", "comparison": "None.",
          "findings": "Clear.", "impression": "Normal."}  # fmt: skip


@pytest.fixture
def pair(layouts, tmp_path):
    """Write a pair of tables with images: ``pair(reports, projections)`` gives the config of its folder."""

    def write(reports, projections, images=True):
        layouts.write_csv(tmp_path / "indiana_reports.csv", [REPORT | row for row in reports])
        layouts.write_csv(
            tmp_path / "indiana_projections.csv",
            [{"uid": uid, "filename": name, "projection": view} for uid, name, view in projections],
        )
        for _, name, _ in projections if images else ():
            if "/" not in name:
                layouts.write_png(tmp_path / name)
        return DataConfig(reader="openi", path=tmp_path)

    return write


def split(config):
    items = list(openi.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def test_a_pair(pair, tmp_path):
    views = [(7, "7_b.dcm.png", "Lateral"), (7, "7_a.dcm.png", "Frontal"), (8, "8_a.dcm.png", "Frontal")]
    config = pair([{"uid": 8}, {"uid": 7, "MeSH": "Pleural Effusion/left/small;Cardiomegaly/mild"}], views)
    (eight, seven), rejected = split(config)
    assert rejected == []
    assert (eight.study_id, seven.study_id) == ("CXR8", "CXR7")
    assert [(image.path, image.view) for image in seven.images] == [
        (tmp_path / "7_b.dcm.png", "Lateral"), (tmp_path / "7_a.dcm.png", "Frontal")
    ]  # fmt: skip
    assert seven.report.raw == "COMPARISON: None.\n\nFINDINGS: Clear.\n\nIMPRESSION: Normal."
    assert list(seven.report.sections) == ["comparison", "findings", "impression"]
    assert seven.report.source_format == "openi_csv"
    assert seven.findings["pleural_effusion"] == Finding(Status.PRESENT, Laterality.LEFT)
    assert seven.findings["edema"].status is seven.findings["no_finding"].status is Status.ABSENT
    assert eight.findings["no_finding"].status is Status.PRESENT
    by_file, _ = split(config.model_copy(update={"path": tmp_path / "indiana_reports.csv"}))
    assert by_file == [eight, seven]


def test_codes():
    assert coded_findings(["no indexing"]) == coded_findings([""]) == coded_findings([]) == {}
    both = coded_findings(["Opacity/lung/base/left", "Infiltrate/right"])
    assert both["opacity"] == Finding(Status.PRESENT, Laterality.BILATERAL)
    assert coded_findings(["Pneumothorax/right"])["pneumothorax"].laterality is Laterality.RIGHT


def test_what_is_set_aside(pair, tmp_path):
    empty = dict.fromkeys(("indication", "comparison", "findings", "impression"), "")
    reports = [{"uid": 1}, {"uid": 2, **empty}, {"uid": 3}, {"uid": ""}]
    views = [(1, "1_a.png", "Frontal"), (1, "1_b.png", "Lateral"), (2, "2_a.png", "Frontal"), (4, "4_a.png", "Frontal"),
             (3, "../../etc/passwd", "Frontal")]  # fmt: skip
    config = pair(reports, views)
    (tmp_path / "1_b.png").unlink()
    studies, rejected = split(config)
    assert [(study.study_id, len(study.images), study.report is None) for study in studies] == [
        ("CXR1", 1, False), ("CXR2", 1, True)
    ]  # fmt: skip
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("row 5", Reason.ROW_INVALID), ("CXR1", Reason.FILE_MISSING), ("CXR2", Reason.REPORT_EMPTY),
        ("CXR3", Reason.REPORT_WITHOUT_IMAGE), ("row 4", Reason.ROW_INVALID), ("CXR4", Reason.IMAGE_WITHOUT_REPORT),
    ]  # fmt: skip


def test_sources_that_are_none(pair, tmp_path):
    config = pair([{"uid": 1}], [(1, "1_a.png", "Frontal")], images=False)
    with pytest.raises(DataError, match=r"data.image_root.*1 named, none there"):
        split(config)
    (tmp_path / "indiana_projections.csv").unlink()
    with pytest.raises(DataError, match="indiana_projections.csv beside"):
        openi.read(config)
    (tmp_path / "indiana_reports.csv").write_text("uid,findings\n1,Clear.\n")
    (tmp_path / "indiana_projections.csv").write_text("uid,filename,projection\n")
    with pytest.raises(DataError, match="no such column"):
        openi.read(config)


@pytest.mark.shared
def test_the_whole_collection_in_both_forms(shared, tmp_path):
    folder = shared / "openi"
    with (folder / "indiana_projections.csv").open(encoding="utf-8") as file:
        projections = list(csv.DictReader(file))
    with (folder / "indiana_reports.csv").open(encoding="utf-8") as file:
        rows = {f"CXR{row['uid']}": row for row in csv.DictReader(file)}
    for row in projections:
        (tmp_path / row["filename"]).write_bytes(b"stands for an image")
    studies, rejected = split(DataConfig(reader="openi", path=folder, image_root=tmp_path))
    assert (len(studies), sum(len(study.images) for study in studies)) == (3851, 7466)
    assert Counter(one.reason for one in rejected) == {Reason.REPORT_EMPTY: 25}
    assert Counter(image.view for study in studies for image in study.images) == {"Frontal": 3818, "Lateral": 3648}
    for study in studies:
        for name in ("indication", "comparison", "findings", "impression"):
            text = study.report.sections[name].text if study.report and name in study.report.sections else ""
            assert text == rows[study.study_id][name].strip()
    mapping = json.loads((folder / "mesh_mapping.json").read_text())
    for study in studies:
        terms = {term.strip().lower() for term in rows[study.study_id]["Problems"].split(";")}
        for name, finding in study.findings.items():
            if name != "no_finding":
                assert (finding.status is Status.PRESENT) == bool(terms & set(mapping[name]))
    assert sum(not study.findings for study in studies) == sum(
        {term.strip() for term in row["Problems"].lower().split(";")}
        <= {"no indexing", "technical quality of image unsatisfactory"}
        for row in rows.values()
    )
    own, other = {study.study_id: study for study in studies}, from_xml(folder, tmp_path / "xml")
    assert len(other) == 3955 - 28 - 101
    shared_ids = own.keys() & other.keys()
    assert len(shared_ids) == 3826
    assert all(own[one].findings == other[one].findings for one in shared_ids)
    assert all(own[one].patient_key == other[one].patient_key for one in shared_ids)


def from_xml(folder, root):
    """The studies of the XML form, with a file for every image that it names."""
    root.mkdir()
    with tarfile.open(folder / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if member.isfile():
                for part in archive.extractfile(member).read().decode().split('parentImage id="')[1:]:
                    (root / f"{part.split(chr(34))[0]}.png").write_bytes(b"stands for an image")
    path = folder / "NLMCXR_reports.tgz"
    studies, _ = split(DataConfig(reader="openi", path=path, image_root=root))
    return {study.study_id: study for study in studies}
