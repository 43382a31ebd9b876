"""Columns are found whatever their capitals and surrounding blanks, if one fits; the same way in every table."""

from __future__ import annotations

import csv
import gzip

import pandas as pd
import pytest

from medmm import registry
from medmm.config.schema import DataConfig
from medmm.data.readers import dicom, table
from medmm.data.readers._rows import open_table
from medmm.errors import DataError
from medmm.types import Study

TABLES = {
    "table": ("table.csv", None),
    "chexpert_plus": ("df_chexpert_plus_*.csv", None),
    "padchest": ("PADCHEST_*.csv", None),
    "openi_csv": ("indiana_*.csv", None),
    "mimic_cxr": ("mimic-cxr-*.csv.gz", None),
}
"""Layout of ``layouts.py``: its tables, and the columns to rename, None for all."""


def rename(path, names):
    """Swap the capitals of a table's columns and put blanks around their names."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    renamed = [f" {name.swapcase()}  " if names is None or name in names else name for name in header]
    assert renamed != header
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([renamed, *rows])


@pytest.mark.parametrize("layout", TABLES)
def test_other_capitals_and_blanks_give_the_same_studies(layouts, tmp_path, layout):
    config = getattr(layouts, layout)(tmp_path)
    read = registry.resolve("reader", config.reader)
    expected = list(read(config))
    assert sum(isinstance(one, Study) for one in expected) == 5
    pattern, names = TABLES[layout]
    for path in tmp_path.glob(pattern):
        rename(path, names)
    assert list(read(config)) == expected


def test_reports_of_dicom_studies(layouts, tmp_path):
    layouts.write_dicom(tmp_path / "d" / "1.dcm", study="1.1", AccessionNumber="A1")
    rows = [{"ACCESSION": "A1", "Report ": "Normal.", "note": ""}]
    path = layouts.write_csv(tmp_path / "reports.csv", rows)
    (study,) = dicom.read(DataConfig(reader="dicom", path=tmp_path / "d", reports=path))
    assert study.report.raw == "Normal."


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_a_column_may_be_asked_for_by_several_names(layouts, tmp_path, kind):
    for number in range(3):
        layouts.write_png(tmp_path / f"{number}.png", number)
    path = tmp_path / f"t{kind}"
    frame = pd.DataFrame({" File": ["0.png", "1.png", "2.png"], "VIEW": ["PA", "PA", "L"], "Age ": [64, 65, 66]})
    (frame.to_csv if kind == ".csv" else frame.to_parquet)(path, index=False)
    config = DataConfig(
        reader="table", path=path, columns={"image": "file", "view": "View"}, where={"view": "PA", "FILE": "1.png"}
    )
    (study,) = table.read(config)
    assert (study.study_id, study.images[0].view, study.age_band) == ("1.png", "PA", "60-69")


def test_where_names_a_column_of_patients_in_other_capitals_and_none_is_listed(layouts, tmp_path):
    layouts.write_png(tmp_path / "a.png")
    path = layouts.write_csv(tmp_path / "t.csv", [{"file": "a.png", "Patient": "DOE^JANE"}])
    columns = {"image": "file", "patient": "patient"}
    config = DataConfig(reader="table", path=path, columns=columns, where={"PATIENT": "x"})
    with pytest.raises(DataError, match=r"got data\.where\.PATIENT=x; expected PATIENT: another of its many values"):
        list(table.read(config))


def test_of_two_that_differ_by_capitals_the_exact_one_counts(tmp_path):
    (tmp_path / "t.csv").write_text("Note,NOTE,sex\nfirst,second,F\n")
    found = open_table(tmp_path / "t.csv", "data.path")
    found.require({"data.columns.report": "NOTE"}, optional=("Sex", "age"))
    ((_, row),) = found.rows()
    assert row == {"Note": "first", "NOTE": "second", "sex": "F", "Sex": "F"}
    with pytest.raises(DataError) as caught:
        found.require({"data.columns.report": "note", "data.columns.label": "sex"})
    assert str(caught.value) == (
        "data.path: the name fits more than one column; got data.columns.report=note (Note, NOTE). "
        "Write the name just as it stands in the header, or give the columns names of their own."
    )
    with pytest.raises(DataError, match=r"note \(Note, NOTE\)"):
        found.require({}, optional=("note",))


def test_literal_cells_of_a_column_in_other_capitals(tmp_path):
    (tmp_path / "t.csv").write_text("Answer,note\nNone,None\n")
    found = open_table(tmp_path / "t.csv", "data.path")
    found.require({"answer": "answer"})
    ((_, row),) = found.rows(["answer"], literal=("answer",))
    assert (row["answer"], row["note"]) == ("None", "")


def test_a_wrong_name_lists_the_columns(tmp_path):
    (tmp_path / "t.csv").write_text("File,Note\na.png,x\n")
    with pytest.raises(DataError, match=r"got data\.columns\.report=text; expected one of the columns File, Note$"):
        open_table(tmp_path / "t.csv", "data.path").require({"data.columns.report": "text"})


@pytest.mark.parametrize(
    ("columns", "where", "header", "said"),
    [
        ({"image": "file"}, {}, "image,view", "Did you mean data.columns.image=image?"),
        ({"image": "file"}, {}, "Image,view", "Did you mean data.columns.image=Image?"),
        ({"image": "file"}, {}, "photo,view", None),
        ({"image": "fil"}, {}, "photo,file", "Did you mean data.columns.image=file?"),
        ({"image": "image"}, {"vieww": "PA"}, "image,view", "Did you mean data.where.view?"),
        ({"image": "image"}, {"zzz": "PA"}, "image,view", None),
        (
            {"image": "fil", "report": "text"}, {"vieww": "PA"}, "file,report,view",
            "Did you mean data.columns.image=file, data.columns.report=report, data.where.view?",
        ),
    ],
)  # fmt: skip
def test_a_missing_column_is_likely_called_like_its_setting(tmp_path, columns, where, header, said):
    (tmp_path / "t.csv").write_text(f"{header}\n1.png,PA\n")
    with pytest.raises(DataError) as caught:
        table.read(DataConfig(reader="table", path=tmp_path / "t.csv", columns=columns, where=where))
    assert caught.value.fix == said
    typed = [f"data.columns.{key}={name}" for key, name in columns.items() if name != "image"]
    assert caught.value.got == ", ".join([*typed, *(f"data.where.{name}" for name in where)])
