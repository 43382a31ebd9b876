"""Which of the texts that belong to a study is its report, and when it was made."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from medmm.data.readers._files import report_at, report_from
from medmm.errors import Reason
from medmm.reports.dates import cell_date, report_date
from medmm.types import Rejection, Report


def dated(report: Report, records: Sequence[dict[str, Any]], day: date) -> Report:
    """Say how many days after the study its report was made, by the table's column or by the text itself."""
    cells = (cell_date(record.get("report_date") or "") for record in records)
    made = next((found for found in cells if found), None) or report_date(report.raw)
    return report if made is None else replace(report, days_after=(made - day).days)


def reports_of(
    study_id: str, records: Sequence[dict[str, Any]], folders: Sequence[Path], reports: list[Report]
) -> Iterator[Rejection]:
    """Fill ``reports`` with one, the table's first row or the first file; yield what is no report or one too many.

    Files of one name, as when ``.txt`` and ``.xml`` were both written, are one report; the first readable is taken.
    """
    texts = list(dict.fromkeys(record["report_text"] for record in records if "report_text" in record))
    paths = sorted(Path(record["report_file"]) for record in records if "report_file" in record)
    paths.sort(key=lambda path: path.with_suffix(""))
    files = [list(own) for _, own in itertools.groupby(paths, key=lambda path: path.with_suffix(""))]
    for sources in [*([text] for text in texts), *files]:
        path = sources[0] if isinstance(sources[0], Path) else None
        if reports:
            detail = "the study has a report already; this one is not used"
            yield Rejection(study_id, Reason.REPORT_SURPLUS, detail, path)
            continue
        for source in sources:
            by_path = isinstance(source, Path)
            found = report_at(source, study_id) if by_path else report_from(source, folders, study_id)
            if isinstance(found, Report):
                reports.append(found)
                break
            yield found
