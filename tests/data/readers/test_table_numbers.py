"""Numbers of a table's label columns, as they are read, kept in a manifest and counted in its hash."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from medmm.config.load import load
from medmm.config.schema import DataConfig
from medmm.data.readers import phantom, table
from medmm.data.records import fingerprint, rows_of, schema, study_of
from medmm.errors import DataError
from medmm.types import Status, Study


def studies(folder, content, label, **columns):
    (folder / "t.csv").write_text(content)
    for name in "abc":
        (folder / f"{name}.png").write_bytes(b"x")
    named = {"image": "file", "label": label, **columns}
    return list(table.read(DataConfig(reader="table", path=folder / "t.csv", columns=named)))


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("63.5", 63.5), ("-3", -3.0), ("+1.5e2", 150.0), (".5", 0.5), (" 7 ", 7.0), ("0", 0.0),
        ("", None), ("nan", None), ("inf", None), ("-Infinity", None), ("1e999", None), ("abc", None), ("1_000", None),
        ("063Y", None), ("n/a", None),
    ],
)  # fmt: skip
def test_what_is_a_number(tmp_path, cell, number):
    (found,) = studies(tmp_path, f"file,age\na.png,{cell}\n", "age")
    assert found.values == ({} if number is None else {"age": number})


def test_several_columns_and_rows_of_one_study(tmp_path):
    content = "file,id,Age,bmi\na.png,1,63,20.5\nb.png,1,63.0,21\nc.png,2,,30\n"
    one, two = studies(tmp_path, content, ("age", "bmi"), study="id")
    assert one.values == {"age": 63.0}  # the rows of bmi disagree
    assert two.values == {"bmi": 30.0}
    assert one.findings["63"].status is Status.PRESENT  # names of classes are read as ever


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data.columns.label\[1\]=bmx.*Did you mean data.columns.label\[1\]=bmi"):
        studies(tmp_path, "file,age,bmi\na.png,1,2\n", ("age", "bmx"))


def test_the_command_line_lists_columns_in_brackets():
    config = load(None, overrides=["data.columns.label=[age, body mass]"])
    assert config.data.columns.labels == ("age", "body mass")
    assert load(None, overrides=["data.columns.label=age"]).data.columns.labels == ("age",)
    assert load(None).data.columns.labels == ()


def test_numbers_go_through_a_manifest_and_count_in_its_hash():
    study = Study("1", "p", values={"age": 0.1 + 0.2})
    rows = pa.Table.from_pylist(rows_of(study), schema=schema())
    assert study_of(rows.to_pylist()) == study
    assert study_of(rows.drop_columns(["values"]).to_pylist()) == replace(study, values={})  # an older manifest
    assert fingerprint(study) != fingerprint(replace(study, values={"age": 0.4}))


def test_the_phantom_brings_the_numbers_that_are_asked_for():
    config = DataConfig(columns={"label": ["heart_share", "view"]}, phantom={"studies": 2, "size": 64})
    found = list(phantom.read(config))
    assert [list(study.values) for study in found] == [["heart_share"]] * 2
    assert all(0.3 < study.values["heart_share"] < 0.75 for study in found)
