"""What is said of a table's first line, and of rows chosen by several values."""

import pytest

from medmm.config.schema import DataConfig
from medmm.data.readers import table
from medmm.errors import DataError
from medmm.types import Study


def config(folder, content, **settings):
    (folder / "t.csv").write_text(content)
    return DataConfig(reader="table", path=folder / "t.csv", columns={"image": "file", "report": "text"}, **settings)


@pytest.mark.parametrize(
    "line",
    [
        "SMITH000.png,Findings: There is a left effusion in Mrs Smith. Impression: effusion.,P17",
        "a,19-04-2020",
        "scan.DCM,x",
        "kolonne,\x07\x1b",
        "12345,file2",
        "note,note",
        "DOE^JANE,x",
        "PATIENTID0000,x",
        "MRN_1234,x",
        "Clear lungs. Heart ok,x",
    ],
)
def test_cells_of_a_table_without_header_are_not_shown(tmp_path, line):
    with pytest.raises(DataError) as caught:
        list(table.read(config(tmp_path, line + "\n")))
    said = str(caught.value)
    assert "first line does not look like" in said
    assert f"got {len(line.split(','))} fields" in said
    assert not [cell for cell in line.split(",") if len(cell) > 1 and cell in said]


def test_cells_are_not_shown_where_no_column_is_chosen(tmp_path):
    (tmp_path / "t.csv").write_text("img_SMITH000.png,FINDINGS: Left effusion.,PATIENTID0000\n")
    with pytest.raises(DataError) as caught:
        table.read(DataConfig(reader="table", path=tmp_path / "t.csv"))
    assert str(caught.value) == (
        "data.path: the table's first line does not look like columns' names; got 3 fields; expected a header line"
    )


def test_bytes_that_are_no_table_are_not_shown(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04\x00SMITH\xff\xfe\x00\x01,Doe\x07,x\n\x00\n")
    with pytest.raises(DataError, match="first line does not look like columns' names; got 3 fields") as caught:
        table.read(DataConfig(reader="table", path=tmp_path / "t.csv", columns={"image": "file"}))
    assert "SMITH" not in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_columns_are_listed_with_the_nearest(tmp_path):
    with pytest.raises(
        DataError, match=r"one of the columns files, Text 2, p_id, label_2023\. Did you mean .*image=files"
    ):
        list(table.read(config(tmp_path, "files,Text 2,p_id,label_2023\na.png,b,c,1\n")))


def test_rows_with_one_of_several_values(tmp_path, layouts):
    rows = "file,text,view\n"
    for number, view in enumerate(["PA", "L", "AP", "", "AP Supine"]):
        layouts.write_png(tmp_path / f"{number}.png", number)
        rows += f"{number}.png,Clear.,{view}\n"
    chosen = config(tmp_path, rows, where={"view": ("PA", "AP Supine", "odd")})
    assert [one.study_id for one in table.read(chosen) if isinstance(one, Study)] == ["0.png", "4.png"]
    with pytest.raises(DataError, match=r"got data\.where\.view=X \| Y; expected view: AP \| AP Supine \| L \| PA"):
        list(table.read(chosen.model_copy(update={"where": {"view": ("X", "Y")}})))
