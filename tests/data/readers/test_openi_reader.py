"""Open-i: folder and archive, images beside, and the real collection."""

from __future__ import annotations

import tarfile
from collections import Counter
from xml.etree import ElementTree

import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import openi
from medmm.errors import DataError, Reason
from medmm.types import Rejection, Study


def split(config):
    items = list(openi.read(config))
    return [one for one in items if isinstance(one, Study)], [one for one in items if isinstance(one, Rejection)]


def test_folder_with_images(layouts, tmp_path):
    studies, rejected = split(layouts.openi(tmp_path))
    assert rejected == []
    assert [study.study_id for study in studies] == ["CXR1", "CXR2", "CXR3", "CXR4", "CXR5"]
    assert [image.path.name for image in studies[1].images] == ["CXR2_1_IM-0002-3001.png", "CXR2_1_IM-0002-4001.png"]
    assert studies[0].report.sections["findings"].text == "The lungs are clear."
    assert len({study.patient_key for study in studies}) == 5


def test_archive_says_the_same_as_the_folder(layouts, tmp_path):
    assert split(layouts.openi_archive(tmp_path)) == split(layouts.openi(tmp_path))


def test_images_are_looked_for_beside_the_reports(layouts, tmp_path):
    config = layouts.openi(tmp_path).model_copy(update={"image_root": None})
    with pytest.raises(DataError) as caught:
        split(config)
    assert str(caught.value) == (
        "data.image_root: no file is where the source says; got 6 named, none there. "
        "Set data.image_root to their folder."
    )
    for file in ("CXR1_1_IM-0001-3001.png", "CXR4_1_IM-0004-3001.png"):
        (tmp_path / "png" / file).rename(tmp_path / "xml" / file)
    (tmp_path / "xml" / "drawing.png").write_bytes(b"other")
    studies, rejected = split(config)
    assert [study.study_id for study in studies] == ["CXR1", "CXR4"]
    assert [one.study_id for one in rejected if one.reason is Reason.REPORT_WITHOUT_IMAGE] == ["CXR2", "CXR3", "CXR5"]
    assert {one.reason for one in rejected} == {Reason.REPORT_WITHOUT_IMAGE, Reason.FILE_MISSING}


def test_keys_do_not_depend_on_the_site(layouts, tmp_path, monkeypatch):
    config = layouts.openi(tmp_path)
    before = [study.patient_key for study in split(config)[0]]
    monkeypatch.setenv("MEDMM_SITE_SECRET", "another site")
    assert [study.patient_key for study in split(config)[0]] == before


def test_what_is_set_aside(layouts, tmp_path):
    config = layouts.openi(tmp_path)
    (tmp_path / "png" / "CXR1_1_IM-0001-3001.png").unlink()
    (tmp_path / "png" / "CXR2_1_IM-0002-4001.png").write_bytes(b"")
    (tmp_path / "xml" / "3.xml").write_bytes(layouts.openi_xml("CXR3", [], None, None))
    (tmp_path / "xml" / "4.xml").write_text("<eCitation><uId")
    bomb = '<!DOCTYPE x [<!ENTITY a "ha">]><eCitation><uId id="CXR9"/>&a;</eCitation>'
    (tmp_path / "xml" / "9.xml").write_text(bomb)
    (tmp_path / "xml" / "10.xml").write_bytes(layouts.openi_xml("CXR10", ["../../etc/passwd"], "Clear.", None))
    studies, rejected = split(config)
    assert {study.study_id: len(study.images) for study in studies} == {"CXR2": 1, "CXR5": 1}
    assert [(one.study_id, one.reason) for one in rejected] == [
        ("CXR1", Reason.FILE_MISSING), ("CXR1", Reason.REPORT_WITHOUT_IMAGE),
        ("CXR2", Reason.FILE_EMPTY), ("3.xml", Reason.REPORT_EMPTY),
        ("4.xml", Reason.REPORT_UNREADABLE), ("9.xml", Reason.REPORT_UNREADABLE), ("CXR10", Reason.FILE_MISSING),
        ("CXR10", Reason.REPORT_WITHOUT_IMAGE), ("CXR3_1_IM-0003-3001", Reason.IMAGE_WITHOUT_REPORT),
        ("CXR4_1_IM-0004-3001", Reason.IMAGE_WITHOUT_REPORT),
    ]  # fmt: skip
    assert all(one.path is None or one.path.is_relative_to(tmp_path) for one in rejected)
    assert not any("passwd" in str(one.path) for one in rejected)


def test_sources_that_are_none(layouts, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no report"):
        list(openi.read(DataConfig(reader="openi", path=tmp_path / "empty")))
    (tmp_path / "x.tgz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="breaks off or is none"):
        list(openi.read(DataConfig(reader="openi", path=tmp_path / "x.tgz")))
    layouts.openi_archive(tmp_path)
    data = (tmp_path / "reports.tgz").read_bytes()
    (tmp_path / "half.tgz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="breaks off"):
        list(openi.read(DataConfig(reader="openi", path=tmp_path / "half.tgz")))
    with pytest.raises(DataError, match="not an Open-i source"):
        openi.read(DataConfig(reader="openi", path=tmp_path / "png" / "CXR1_1_IM-0001-3001.png"))
    (tmp_path / "none").mkdir()
    wrong = layouts.openi(tmp_path).model_copy(update={"image_root": tmp_path / "none"})
    with pytest.raises(DataError, match=r"data.image_root.*6 named, none there"):
        list(openi.read(wrong))


@pytest.mark.shared
def test_the_whole_collection(shared, tmp_path):
    path = shared / "openi" / "NLMCXR_reports.tgz"
    imageless = set()
    with tarfile.open(path) as archive:
        for member in [one for one in archive.getmembers() if one.isfile()]:
            root = ElementTree.fromstring(archive.extractfile(member).read())
            ids = [image.get("id") for image in root.iter("parentImage")]
            for image_id in ids:
                (tmp_path / f"{image_id}.png").write_bytes(b"stands for an image")
            if not ids:
                imageless.add(root.find("uId").get("id"))
    studies, rejected = split(DataConfig(reader="openi", path=path, image_root=tmp_path))
    reasons = Counter(one.reason for one in rejected)
    assert reasons == {
        Reason.REPORT_EMPTY: 28,
        Reason.REPORT_WITHOUT_IMAGE: 3955 - 28 - len(studies),
        Reason.IMAGE_WITHOUT_REPORT: len(list(tmp_path.iterdir())) - sum(len(study.images) for study in studies),
    }
    assert {one.study_id for one in rejected if one.reason is Reason.REPORT_WITHOUT_IMAGE} <= imageless
    assert len(studies) == 3826
    by_id = {study.study_id: study.report for study in studies}
    with tarfile.open(path) as archive:
        for member in [one for one in archive.getmembers() if one.isfile()][::97]:
            root = ElementTree.fromstring(archive.extractfile(member).read())
            for part in root.iter("AbstractText"):
                name, text = part.get("Label").lower(), (part.text or "").strip()
                if text and name in ("findings", "impression") and root.find("uId").get("id") not in imageless:
                    assert by_id[root.find("uId").get("id")].sections[name].text == text
