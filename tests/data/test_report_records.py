"""What is known of a report besides its text goes into a manifest and comes back."""

from dataclasses import replace

import pyarrow as pa
import pytest

from medmm.data.records import rows_of, schema, study_of
from medmm.reports.parse import parse_report
from medmm.types import Study


@pytest.mark.parametrize("repaired", [False, True])
def test_a_repaired_report_stays_called_so(repaired):
    study = Study("1", "p", report=replace(parse_report("FINDINGS: Œdème."), repaired=repaired))
    rows = pa.Table.from_pylist(rows_of(study), schema=schema()).to_pylist()
    assert study_of(rows) == study
    assert rows[0]["report_repaired"] is repaired


def test_a_manifest_without_the_column_is_read():
    study = Study("1", "p", report=parse_report("FINDINGS: Clear."))
    table = pa.Table.from_pylist(rows_of(study), schema=schema()).drop_columns(["report_repaired"])
    assert study_of(table.to_pylist()) == study
