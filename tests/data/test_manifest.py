"""The manifest: nothing lost on the way, streamed, private, refused where it is no manifest."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medmm.config.schema import DataConfig, SplitConfig
from medmm.data import manifest as manifests
from medmm.data import spool
from medmm.data.indexing import index
from medmm.data.manifest import Manifest, build
from medmm.errors import DataError, Reason, ResourceError
from medmm.reports.parse import parse_openi_xml, parse_report
from medmm.types import (
    Finding,
    ImageRef,
    Laterality,
    Rejection,
    Severity,
    Span,
    Status,
    Study,
    Zone,
)

TEXT = "FINDINGS AND IMPRESSION: Small left effusion. No pneumothorax.\n\nTECHNIQUE: PA. Größe 12 µm."


def full_study(study_id="1.2.3", split="train"):
    return Study(
        study_id=study_id,
        patient_key="00ff",
        images=(
            ImageRef(
                Path("/d/a.dcm"), "1.9", "1.5", "CT", "AXIAL", Laterality.LEFT, 512, 400, 30, (2.5, 0.7, 0.8), "ab" * 32
            ),
            ImageRef(Path("/d/b.png")),
        ),
        report=parse_report(TEXT),
        findings={
            "effusion": Finding(Status.PRESENT, Laterality.LEFT, Zone.BASAL, Severity.SMALL, Span(5, 9), 12.5, 0.75),
            "edema": Finding(Status.ABSENT),
        },
        masks={"effusion": Path("/d/m.png")},
        questions=(("Clear?", "no"), ("View?", "PA")),
        sex="F",
        age_band="90+",
        device="Maker One",
        days=365,
        priors=("1.2.1", "1.2.2"),
        split=split,
    )


def bare_study(number, **settings):
    image = ImageRef(Path(f"/d/{number}.png"))
    return Study(**{"study_id": f"s{number}", "patient_key": f"p{number}", "images": (image,)} | settings)


def write(path, items, **shares):
    rejected = []
    summary = build(items, path, SplitConfig(**shares), rejected.append)
    return summary, rejected


def test_every_field_comes_back(tmp_path):
    xml = b'<eCitation><uId id="CXR1"/><AbstractText Label="FINDINGS">IMPRESSION: none</AbstractText></eCitation>'
    studies = [
        full_study(),
        Study("no image", "aa", report=parse_openi_xml(xml).report, split="val"),
        Study("no report", "bb", images=(ImageRef(Path("/d/c.png")),), split="test"),
        full_study("1.2.4", "test"),
    ]
    write(tmp_path / "m.parquet", studies)
    opened = Manifest.open(tmp_path / "m.parquet")
    assert list(opened.studies()) == studies
    assert list(opened.studies("test")) == studies[2:]
    assert opened.choose(["1.2.4", "no image", "gone"]) == [studies[1], studies[3]]
    assert list(opened.outline()) == [
        ("1.2.3", True, True),
        ("no image", False, True),
        ("no report", True, False),
        ("1.2.4", True, True),
    ]


def test_one_row_an_image(tmp_path):
    write(tmp_path / "m.parquet", [full_study(), Study("x", "aa", report=parse_report(TEXT), split="test")], val=0)
    rows = pq.read_table(tmp_path / "m.parquet").to_pylist()
    assert [(row["study_id"], row["image"], row["path"]) for row in rows] == [
        ("1.2.3", 0, "/d/a.dcm"), ("1.2.3", 1, "/d/b.png"), ("x", 0, None),
    ]  # fmt: skip
    assert {row["report"] for row in rows} == {TEXT}


def test_counts_and_split(tmp_path):
    report, empty = parse_report("IMPRESSION: Normal."), parse_report("Just a note.")
    items = [bare_study(number, patient_key=f"p{number % 10}", report=report) for number in range(20)]
    items += [bare_study(20, report=None), bare_study(21, report=empty), bare_study(22, images=(), report=report)]
    summary, _ = write(tmp_path / "m.parquet", items, val=0.2, test=0.3)
    assert summary.counts == {
        "studies": 23, "patients": 13, "images": 22, "reports": 22, "paired": 21, "image_without_report": 1,
        "report_without_image": 1, "report_without_target": 1, "patients_in_several_splits": 0,
        "studies_without_patient": 0, "with_masks": 0, "with_questions": 0,
    }  # fmt: skip
    assert summary.patients == {"train": 6, "val": 3, "test": 4}
    opened = Manifest.open(tmp_path / "m.parquet")
    assert opened.summary == summary
    found = {name: [study.study_id for study in opened.studies(name)] for name in ("train", "val", "test")}
    assert {name: len(ids) for name, ids in found.items()} == dict(summary.splits)
    assert sum(map(len, found.values())) == opened.counts()["all"] == 23
    by_id = sorted(((one, name) for name, ids in found.items() for one in ids))
    expected = hashlib.sha256("".join(f"{len(one)}:{one}={name}\n" for one, name in by_id).encode()).hexdigest()
    assert opened.split_hash == expected
    by_patient = {}
    for study in opened.studies():
        by_patient.setdefault(study.patient_key, set()).add(study.split)
    assert all(len(parts) == 1 for parts in by_patient.values())


def test_data_hash_follows_content_not_order_place_or_split(tmp_path):
    studies = [bare_study(number, report=parse_report("Clear.")) for number in range(5)]
    first, _ = write(tmp_path / "a.parquet", studies)
    moved = [
        bare_study(number, images=(ImageRef(Path(f"/e/{number}.png")),), report=parse_report("Clear."))
        for number in range(5)
    ]
    assert write(tmp_path / "b.parquet", reversed(moved), seed=3)[0].data_hash == first.data_hash
    changed = [*studies[:4], bare_study(4, report=parse_report("Clear lungs."))]
    assert write(tmp_path / "c.parquet", changed)[0].data_hash != first.data_hash
    fewer = write(tmp_path / "d.parquet", studies[:4])[0]
    assert fewer.data_hash != first.data_hash


def test_studies_are_whole_across_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "_GROUP_ROWS", 4)
    monkeypatch.setattr(manifests, "_BATCH_ROWS", 3)
    studies = [
        bare_study(number, images=tuple(ImageRef(Path(f"/d/{number}_{view}.png")) for view in range(1 + number % 5)),
                   split=("train", "val", "test")[number % 3])
        for number in range(17)
    ]  # fmt: skip
    write(tmp_path / "m.parquet", studies)
    opened = Manifest.open(tmp_path / "m.parquet")
    assert pq.ParquetFile(opened.path).num_row_groups > 3
    assert list(opened.studies()) == studies
    assert list(opened.studies("val")) == studies[1::3]


def test_a_study_that_comes_twice_is_set_aside(tmp_path):
    summary, rejected = write(tmp_path / "m.parquet", [bare_study(0), bare_study(1), bare_study(0), bare_study(2)])
    assert summary.counts["studies"] == 3
    assert [(one.study_id, one.reason) for one in rejected] == [("s0", Reason.STUDY_DUPLICATE)]


def test_only_the_owner_may_read(tmp_path):
    write(tmp_path / "m.parquet", [bare_study(number) for number in range(3)])
    assert (tmp_path / "m.parquet").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]


def test_nothing_to_build(tmp_path):
    reject = Rejection("x", Reason.FILE_MISSING, "gone")
    with pytest.raises(DataError, match="no study can be used; got 2 x file_missing"):
        write(tmp_path / "m.parquet", [reject, reject])
    assert list(tmp_path.iterdir()) == []


def test_one_study_is_enough_to_be_looked_at(tmp_path):
    summary, _ = write(tmp_path / "m.parquet", [bare_study(0)])
    assert summary.splits == {"train": 1, "val": 0, "test": 0}


def test_a_failure_leaves_the_old_manifest(tmp_path):
    write(tmp_path / "m.parquet", [bare_study(number) for number in range(3)])
    before = (tmp_path / "m.parquet").read_bytes()

    def items():
        yield bare_study(7)
        raise DataError("the table breaks off")

    with pytest.raises(DataError, match="breaks off"):
        write(tmp_path / "m.parquet", items())
    assert (tmp_path / "m.parquet").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("which", ["write_table", "write_batch"])
def test_a_full_disk_is_named(tmp_path, monkeypatch, which):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, which, full)
    with pytest.raises(ResourceError, match="disk is full"):
        write(tmp_path / "m.parquet", [bare_study(number) for number in range(3)])
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Manifest.open(tmp_path / "gone.parquet")
    (tmp_path / "text.parquet").write_text("x")
    with pytest.raises(DataError, match="no valid Parquet"):
        Manifest.open(tmp_path / "text.parquet")
    write(tmp_path / "m.parquet", [bare_study(number) for number in range(3)])
    table = pq.read_table(tmp_path / "m.parquet")
    pq.write_table(table.replace_schema_metadata({}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="no manifest"):
        Manifest.open(tmp_path / "other.parquet")
    record = json.loads(table.schema.metadata[b"medmm.manifest"]) | {"format": 99}
    pq.write_table(table.replace_schema_metadata({"medmm.manifest": json.dumps(record)}), tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"another format; got format 99; expected format 1"):
        Manifest.open(tmp_path / "new.parquet")


def test_index_writes_all_and_says_it(layouts, tmp_path):
    config = layouts.dicom(tmp_path / "in")
    (tmp_path / "in" / "broken.dcm").write_bytes(b"")
    (tmp_path / "in" / "notes.csv").write_text("a\n1\n")
    told = []
    result = index(config, 0, tmp_path / "out", progress=lambda done, total=None, note="": told.append((done, total)))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "doubts.jsonl", "manifest.parquet", "pairing.html", "pairing.json", "quarantine.jsonl",
    ]  # fmt: skip
    assert result.rejected == {"file_empty": 1}
    assert (result.counts["studies"], result.counts["patients"], result.counts["images"], result.counts["paired"]) == (
        5,
        4,
        7,
        5,
    )
    assert sum(result.splits.values()) == 5
    assert told[-1] == (5, 5)
    lines = [json.loads(line) for line in result.quarantine.read_text().splitlines()]
    assert {(line["reason"], Path(line["path"]).name) for line in lines} == {
        ("file_empty", "broken.dcm"),
        ("not_an_image", "notes.csv"),
    }
    assert Manifest.open(result.manifest).data_hash == result.data_hash


def test_limit_takes_the_first_studies(layouts, tmp_path):
    config = layouts.r2gen(tmp_path / "in").model_copy(update={"limit": 2})
    index(config, 0, tmp_path / "out")
    ids = [study.study_id for study in Manifest.open(tmp_path / "out" / "manifest.parquet").studies()]
    assert ids == ["CXR0_IM-0000", "CXR1_IM-0001"]


def test_index_again_gives_the_same_bytes(layouts, tmp_path):
    config = layouts.table(tmp_path / "in")
    first = index(config, 0, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert index(config, 0, tmp_path / "out") == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_quarantine_is_written_though_nothing_is_left(layouts, tmp_path):
    rows = [{"file": "a.png", "split": "holdout"}]
    layouts.write_png(tmp_path / "a.png")
    path = layouts.write_csv(tmp_path / "t.csv", rows)
    config = DataConfig(reader="table", path=path, columns={"image": "file", "split": "split"})
    with pytest.raises(DataError, match="1 x split_unknown"):
        index(config, 0, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "quarantine.jsonl").read_text())["reason"] == "split_unknown"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["quarantine.jsonl"]


def test_a_filter_that_a_reader_cannot_heed_is_refused(layouts, tmp_path):
    config = layouts.r2gen(tmp_path / "in").model_copy(update={"where": {"view": "PA"}})
    with pytest.raises(DataError, match=r"data.where.*reader 'r2gen'; expected table"):
        index(config, 0, tmp_path / "out")
