"""Reports of the training split as a corpus: what CIDEr-D may count words in instead of the references."""

from __future__ import annotations

from collections.abc import Iterator

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.errors import DataError, StudyError
from medmm.reports.target import target_text


def training_references(manifest: Manifest, config: Config) -> Iterator[str]:
    """Target texts of all training studies that have images, as they were written.

    Raises:
        DataError: There is none.
    """
    number = 0
    for study in manifest.studies("train"):
        if study.report is None or not study.images:
            continue
        try:
            text = target_text(study.report, config.target.sections, config.target.whole_text)
        except StudyError:
            continue
        number += 1
        yield text
    if not number:
        raise DataError(
            "no training report has a target text",
            where="evaluate.cider_df",
            expected="training reports to count words in",
            fix="Set evaluate.cider_df=references.",
        )
