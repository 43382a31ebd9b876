"""Any table: columns, roots, filters, views, and what is set aside."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from medmm.config.schema import DataConfig
from medmm.data.indexing import index
from medmm.data.manifest import Manifest
from medmm.data.readers import table
from medmm.errors import DataError, Reason
from medmm.types import Rejection, Status, Study


@pytest.fixture
def make(layouts, tmp_path):
    """Write a table of dicts, an image for each ``file``, and give its config."""

    def _make(rows, columns, name="t.csv", images=True, **settings):
        for number, row in enumerate(rows):
            if images and row.get("file"):
                layouts.write_png(tmp_path / str(row["file"]), number)
        path = layouts.write_csv(tmp_path / name, rows)
        return DataConfig(reader="table", path=path, columns={"image": "file"} | columns, **settings)

    return _make


def studies(config):
    return [item for item in table.read(config) if isinstance(item, Study)]


def rejections(config):
    return [item for item in table.read(config) if isinstance(item, Rejection)]


def test_rows_of_a_study_are_its_views_wherever_they_stand(layouts, tmp_path):
    found = studies(layouts.table(tmp_path))
    assert [study.study_id for study in found] == ["s0", "s1", "s2", "s3", "s4"]
    first = found[0]
    assert [(image.sop_uid, image.view) for image in first.images] == [
        ("s0_PA.png", "PA"),
        ("s0_LATERAL.png", "LATERAL"),
    ]
    assert first.images[1].path == tmp_path / "images" / "s0_LATERAL.png"
    assert first.report is not None
    assert first.report.sections["impression"].text == "Left effusion."
    assert (first.sex, first.age_band, first.split) == ("F", "60-69", None)
    assert found[0].patient_key == found[4].patient_key != found[1].patient_key


def test_without_a_study_column_every_row_is_one_and_ids_survive_a_filter(make):
    rows = [
        {"file": "a.png", "q": "1", "kind": "x"},
        {"file": "a.png", "q": "2", "kind": "y"},
        {"file": "b.png", "q": "3", "kind": "y"},
    ]
    config = make(rows, {})
    assert [study.study_id for study in studies(config)] == ["a.png", "a.png#2", "b.png"]
    narrowed = config.model_copy(update={"where": {"kind": "y"}})
    assert [study.study_id for study in studies(narrowed)] == ["a.png#2", "b.png"]


def test_several_filters_narrow_further(make):
    rows = [
        {"file": f"{number}.png", "view": view, "side": side}
        for number, (view, side) in enumerate([("PA", "L"), ("PA", "R"), ("AP", "R")])
    ]
    config = make(rows, {}, where={"view": "PA", "side": "R"})
    assert [study.study_id for study in studies(config)] == ["1.png"]


def test_filters_compare_numbers_of_a_parquet_as_text(layouts, tmp_path):
    layouts.write_png(tmp_path / "a.png")
    layouts.write_png(tmp_path / "b.png")
    frame = pd.DataFrame(
        {"file": ["a.png", "b.png"], "year": [2019.0, None], "patient": [7, 8], "note": ["Clear lungs.", None]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    columns = {"image": "file", "patient": "patient", "report": "note"}
    config = DataConfig(reader="table", path=tmp_path / "t.parquet", columns=columns)
    both = studies(config)
    assert [study.report.raw if study.report else None for study in both] == ["Clear lungs.", None]
    assert [study.study_id for study in studies(config.model_copy(update={"where": {"year": "2019"}}))] == ["a.png"]


@pytest.mark.parametrize(("delimiter", "name"), [(";", "t.csv"), ("\t", "t.tsv"), ("|", "t.txt"), (",", "t.csv.gz")])
def test_delimiters_and_compression(layouts, tmp_path, delimiter, name):
    layouts.write_png(tmp_path / "a.png")
    rows = [{"file": "a.png", "note": 'Said "clear",\nthen; signed | sent.'}]
    path = layouts.write_csv(tmp_path / "plain.csv", rows, delimiter)
    data = path.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    config = DataConfig(reader="table", path=tmp_path / name, columns={"image": "file", "report": "note"})
    (study,) = studies(config)
    assert study.report.raw == 'Said "clear",\nthen; signed | sent.'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(layouts, tmp_path, encoding):
    layouts.write_png(tmp_path / "a.png")
    (tmp_path / "t.csv").write_bytes("file,note\na.png,Größe unauffällig\n".encode(encoding))
    config = DataConfig(reader="table", path=tmp_path / "t.csv", columns={"image": "file", "report": "note"})
    assert studies(config)[0].report.raw == "Größe unauffällig"


def test_report_may_be_a_file(layouts, tmp_path, make):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "1.txt").write_text("IMPRESSION: Normal.")
    (tmp_path / "r" / "2.xml").write_bytes(layouts.openi_xml("CXR2", [], "Clear.", None))
    (tmp_path / "r" / "3.txt").write_text(" \n")
    rows = [
        {"file": f"{number}.png", "report": path}
        for number, path in enumerate(["r/1.txt", "r/2.xml", "r/3.txt", "r/4.txt"])
    ]
    config = make(rows, {"report": "report"})
    found = studies(config)
    assert [study.report and study.report.source_format for study in found] == ["text", "openi_xml", None, None]
    rejected = [(one.study_id, one.reason) for one in rejections(config)]
    assert rejected == [("2.png", Reason.REPORT_EMPTY), ("3.png", Reason.FILE_MISSING)]


def test_study_without_report_is_kept(make):
    config = make(
        [{"file": "a.png", "note": ""}, {"file": "b.png", "note": "nan"}, {"file": "c.png", "note": "Clear."}],
        {"report": "note"},
    )
    assert [study.report is None for study in studies(config)] == [True, True, False]
    empty = Reason.REPORT_EMPTY
    assert [(one.study_id, one.reason) for one in rejections(config)] == [("a.png", empty), ("b.png", empty)]
    assert rejections(make([{"file": "a.png"}], {})) == []


def test_missing_images_are_set_aside_and_the_other_views_stay(make, tmp_path):
    rows = [
        {"study": "a", "file": "a1.png", "note": "Clear."}, {"study": "a", "file": "a2.png", "note": "Clear."},
        {"study": "b", "file": "b1.png", "note": "Clear."},
        {"study": "c", "file": "", "note": "Clear."}, {"study": "d", "file": "", "note": ""},
        {"study": "e", "file": "e.png", "note": "Clear."},
    ]  # fmt: skip
    config = make(rows, {"study": "study", "report": "note"})
    (tmp_path / "a1.png").unlink()
    (tmp_path / "b1.png").unlink()
    (tmp_path / "e.png").write_bytes(b"")
    found = [(study.study_id, [image.sop_uid for image in study.images]) for study in studies(config)]
    assert found == [("a", ["a2.png"])]
    assert [(one.study_id, one.reason) for one in rejections(config)] == [
        ("a", Reason.FILE_MISSING), ("b", Reason.FILE_MISSING), ("b", Reason.REPORT_WITHOUT_IMAGE),
        ("c", Reason.REPORT_WITHOUT_IMAGE), ("d", Reason.FILE_MISSING),
        ("e", Reason.FILE_EMPTY), ("e", Reason.REPORT_WITHOUT_IMAGE),
    ]  # fmt: skip


def test_splits_by_any_usual_word(make):
    rows = [
        {"file": f"{word}.png", "split": word}
        for word in ("train", "Training", "valid", "validate", "testing", "holdout")
    ]
    config = make(rows, {"split": "split"})
    assert [study.split for study in studies(config)] == ["train", "train", "val", "val", "test"]
    assert [(one.study_id, one.reason) for one in rejections(config)] == [("holdout.png", Reason.SPLIT_UNKNOWN)]


def test_rows_that_contradict_each_other(make):
    rows = [
        {"study": "a", "file": "1.png", "patient": "p", "split": "train", "note": "One."},
        {"study": "a", "file": "2.png", "patient": "q", "split": "train", "note": "One."},
        {"study": "b", "file": "3.png", "patient": "p", "split": "train", "note": "One."},
        {"study": "b", "file": "4.png", "patient": "p", "split": "test", "note": "One."},
        {"study": "c", "file": "5.png", "patient": "p", "split": "test", "note": "One."},
        {"study": "c", "file": "6.png", "patient": "p", "split": "test", "note": "Two."},
        {"study": "", "file": "7.png", "patient": "p", "split": "test", "note": "One."},
    ]
    config = make(rows, {"study": "study", "patient": "patient", "split": "split", "report": "note"})
    assert [(study.study_id, study.report.raw) for study in studies(config)] == [("c", "One.")]
    assert [(one.study_id, one.reason) for one in rejections(config)] == [
        ("row 7", Reason.ROW_INVALID), ("a", Reason.ROW_INVALID),
        ("b", Reason.SPLIT_UNKNOWN), ("c", Reason.REPORT_SURPLUS),
    ]  # fmt: skip


def test_masks_questions_and_labels(make, layouts, tmp_path):
    layouts.write_png(tmp_path / "masks" / "m.png")
    rows = [
        {"study": "a", "file": "a.png", "m": "m.png", "q": "Is it clear?", "a": "yes", "label": "Lung Opacity"},
        {"study": "a", "file": "a.png", "m": "gone.png", "q": "Which view?", "a": "PA", "label": "Lung Opacity"},
    ]
    columns = {"study": "study", "mask": "m", "question": "q", "answer": "a", "label": "label"}
    config = make(rows, columns, mask_root=tmp_path / "masks")
    (study,) = studies(config)
    assert len(study.images) == 1
    assert study.masks == {"mask": tmp_path / "masks" / "m.png"}
    assert study.questions == (("Is it clear?", "yes"), ("Which view?", "PA"))
    assert {name: finding.status for name, finding in study.findings.items()} == {"lung_opacity": Status.PRESENT}
    assert [(one.reason, one.path) for one in rejections(config)] == [
        (Reason.FILE_MISSING, tmp_path / "masks" / "gone.png")
    ]


def test_masks_and_questions_of_many_rows_reach_the_manifest(make, layouts, tmp_path):
    for name in ("m1.png", "m2.png"):
        layouts.write_png(tmp_path / "masks" / name)
    rows = [
        {"file": "a.png", "who": "P1", "m": "m1.png", "q": "Is it clear?", "a": "No"},
        {"file": "b.png", "who": "P2", "m": "", "q": "", "a": ""},
        {"file": "c.png", "who": "P3", "m": "m1.png", "q": "How many?", "a": "2"},
        {"file": "a.png", "who": "P1", "m": "m2.png", "q": "What else?", "a": "None"},
        {"file": "a.png", "who": "P1", "m": "m1.png", "q": "Is it clear?", "a": "No"},
        {"file": "c.png", "who": "P3", "m": "", "q": "Which side?", "a": ""},
    ]
    columns = {"study": "file", "patient": "who", "mask": "m", "question": "q", "answer": "a"}
    config = make(rows, columns, mask_root=tmp_path / "masks")
    result = index(config, 0, tmp_path / "out")
    found = {study.study_id: study for study in Manifest.open(result.manifest).studies()}
    assert found["a.png"].questions == (("Is it clear?", "No"), ("What else?", "None"))
    assert found["a.png"].masks == {"mask": tmp_path / "masks" / "m1.png", "mask_2": tmp_path / "masks" / "m2.png"}
    assert found["c.png"].questions == (("How many?", "2"),)
    assert (found["b.png"].questions, found["b.png"].masks) == ((), {})
    assert {name: result.counts[name] for name in ("with_masks", "with_questions", "image_without_report")} == {
        "with_masks": 2, "with_questions": 2, "image_without_report": 1,
    }  # fmt: skip
    assert result.rejected == {"row_invalid": 1}  # a question without answer


def test_rows_of_an_image_are_gathered_for_their_questions(make, tmp_path):
    listed = (("a", "train"), ("b", "train"), ("a", "train"), ("a", "test"))
    rows = [
        {"file": f"{letter}.png", "q": f"Q{number}", "a": "yes", "part": part}
        for number, (letter, part) in enumerate(listed)
    ]
    columns = {"question": "q", "answer": "a"}
    assert {study.study_id: len(study.questions) for study in studies(make(rows, columns))} == {"a.png": 3, "b.png": 1}
    found = studies(make(rows, columns | {"split": "part"}))
    assert [(study.study_id, study.split, len(study.questions)) for study in found] == [
        ("a.png", "train", 2), ("b.png", "train", 1), ("a.png#test", "test", 1),
    ]  # fmt: skip
    assert found[0].patient_key == found[2].patient_key != found[1].patient_key
    assert [study.study_id for study in studies(make(rows, {}))] == ["a.png", "b.png", "a.png#3", "a.png#4"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_none_is_an_answer_and_nothing_is_none(layouts, tmp_path, kind):
    layouts.write_png(tmp_path / "a.png")
    rows = pd.DataFrame({"file": ["a.png"] * 3, "q": ["Q1", "Q2", "none"], "a": ["None", None, "n/a"]})
    path = tmp_path / f"t.{kind}"
    rows.to_csv(path, index=False) if kind == "csv" else rows.to_parquet(path)
    columns = {"image": "file", "study": "file", "question": "q", "answer": "a"}
    (study,) = studies(DataConfig(reader="table", path=path, columns=columns))
    assert study.questions == (("Q1", "None"),)


@pytest.mark.parametrize(("given", "lacking"), [("question", "answer"), ("answer", "question")])
def test_questions_need_answers(make, given, lacking):
    config = make([{"file": "a.png", "text": "x"}], {given: "text"})
    with pytest.raises(DataError, match=rf"data\.columns\.{lacking}: is not set.*one of the columns file, text"):
        studies(config)


@pytest.mark.shared
def test_real_lung_masks(shared):
    folder = shared / "covid_cxr"
    columns = {"image": "filename", "patient": "patientid", "mask": "lung_mask", "label": "finding"}
    config = DataConfig(
        reader="table", path=folder / "metadata.csv", columns=columns,
        image_root=folder / "images", mask_root=folder / "lung_masks",
    )  # fmt: skip
    found = studies(config)
    assert (len(found), sum(bool(study.masks) for study in found)) == (544, 236)


def test_a_row_with_too_many_fields_is_set_aside_and_a_short_one_is_not(make, tmp_path):
    config = make([{"file": "a.png", "note": "x"}, {"file": "b.png", "note": "y"}], {"report": "note"})
    (tmp_path / "t.csv").write_text("file,note\na.png,Clear,lungs\nb.png\n\na.png,Clear.,,\n")
    assert [study.study_id for study in studies(config)] == ["b.png", "a.png"]
    rejected = [(one.study_id, one.reason) for one in rejections(config)]
    assert rejected == [("row 1", Reason.ROW_INVALID), ("b.png", Reason.REPORT_EMPTY)]


def test_relative_image_root_starts_at_the_working_folder_then_at_the_table(layouts, tmp_path, monkeypatch):
    config = layouts.table(tmp_path / "a")
    assert studies(config)[0].images[0].path == tmp_path / "a" / "images" / "s0_PA.png"
    layouts.table(tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    assert studies(config)[0].images[0].path == tmp_path / "b" / "images" / "s0_PA.png"


def test_all_wrong_columns_are_named_with_those_that_exist(make):
    config = make(
        [{"file": "a.png", "note": "x"}], {"image": "fil", "report": "notes", "patient": "zzz"}, where={"kind": "y"}
    )
    with pytest.raises(DataError) as caught:
        table.read(config)
    for part in (
        "data.columns.image=fil,",
        "data.columns.report=notes",
        "data.columns.patient=zzz",
        "got data.columns.image=fil, data.columns.report=notes, data.columns.patient=zzz, data.where.kind;",
    ):
        assert part in str(caught.value)
    assert "columns file, note." in str(caught.value)
    assert "Did you mean data.columns.image=file, data.columns.report=note?" in str(caught.value)


def test_image_column_must_be_said(make):
    with pytest.raises(DataError, match=r"data.columns.image: is not set; expected one of the columns file, note"):
        table.read(make([{"file": "a.png", "note": "x"}], {"image": None}))


def test_a_value_that_never_occurs_lists_those_that_do(make):
    rows = [{"file": "a.png", "view": "PA", "side": "L"}, {"file": "b.png", "view": "AP", "side": "R"}]
    with pytest.raises(DataError, match=r"data.where.view=LAT; expected view: AP \| PA"):
        list(table.read(make(rows, {}, where={"view": "LAT"})))
    with pytest.raises(DataError, match="all of these values together"):
        list(table.read(make(rows, {}, where={"view": "PA", "side": "R"})))


def test_patients_are_not_listed_in_an_error(make):
    rows = [{"file": "a.png", "patient": "DOE^JANE"}]
    with pytest.raises(DataError) as caught:
        list(table.read(make(rows, {"patient": "patient"}, where={"patient": "x"})))
    assert "DOE" not in str(caught.value)


def test_a_wrong_image_root_is_said_at_once(make, tmp_path):
    rows = [{"file": f"{number}.png"} for number in range(150)]
    config = make(rows, {}, images=False)
    with pytest.raises(DataError, match=r"data.image_root.*100 named"):
        list(table.read(config))
    with pytest.raises(DataError, match=r"data.image_root.*1 named"):
        list(table.read(make(rows[:1], {}, images=False)))
    with pytest.raises(DataError, match="no such folder"):
        table.read(config.model_copy(update={"image_root": Path("nowhere")}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("file,note\n", "no rows"),
        ('file,note\na.png,"never closed\nb.png,x\n', "never closed"),
        ("file,file\na,b\n", r"more than one column; got data\.columns\.image=file \(file, file\)"),
    ],
)
def test_broken_tables(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        list(table.read(DataConfig(reader="table", path=tmp_path / "t.csv", columns={"image": "file"})))


def test_broken_parquet(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="no valid Parquet"):
        table.read(DataConfig(reader="table", path=tmp_path / "t.parquet", columns={"image": "file"}))


@pytest.mark.shared
def test_covid_cxr_as_it_is(shared):
    folder = shared / "covid_cxr"
    columns = {"image": "filename", "report": "clinical_notes", "patient": "patientid", "view": "view"}
    config = DataConfig(reader="table", path=folder / "metadata.csv", image_root=folder / "images", columns=columns)
    items = studies(config)
    frame = pd.read_csv(folder / "metadata.csv")
    again = frame["filename"].duplicated()  # some images stand in two rows
    expected = [f"{name}#{row + 1}" if again[row] else name for row, name in enumerate(frame["filename"])]
    assert [study.study_id for study in items] == expected
    assert len({study.patient_key for study in items}) == frame["patientid"].nunique()
    assert sum(study.report is not None for study in items) == frame["clinical_notes"].notna().sum()
    assert [study.images[0].view for study in items] == [None if pd.isna(view) else view for view in frame["view"]]
