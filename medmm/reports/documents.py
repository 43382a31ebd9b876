"""A report as a hospital's systems send it: the text, and to which study it belongs."""

from __future__ import annotations

from dataclasses import dataclass, field

from medmm.types import Report


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A report with what joins it to its images. Its ``repr`` shows nothing of the patient.

    Attributes:
        report: The report.
        accession: Accession number of the order, None where not given.
        patient_id: The patient's id as the source has it, None where not given.
        study_uid: Study Instance UID, None where not given.
        status: ``preliminary``, ``final``, ``corrected``, ``cancelled`` or ``unknown``.
    """

    report: Report = field(repr=False)
    accession: str | None = field(default=None, repr=False)
    patient_id: str | None = field(default=None, repr=False)
    study_uid: str | None = field(default=None, repr=False)
    status: str = "unknown"
