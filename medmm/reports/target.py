"""What a model learns to write."""

from __future__ import annotations

from collections.abc import Sequence

from medmm.errors import Reason, ReportError
from medmm.reports.priors import without_priors
from medmm.types import Report


def target_text(
    report: Report,
    sections: Sequence[str] = ("findings", "impression"),
    whole_text: bool = False,
    without_comparisons: bool = False,
) -> str:
    """Take the chosen sections of ``report`` as one line of text, white space collapsed.

    With one section asked for, the line is that section's text. With several, each stands behind its heading
    (``FINDINGS: … IMPRESSION: …``), whether or not this report has them all, so that ``parse_report`` of a draft finds
    them again; a merged ``FINDINGS AND IMPRESSION`` is taken once, behind that heading.

    Args:
        report: The report.
        sections: Names of ``medmm.types.SECTIONS``, in the order wanted.
        whole_text: Take the whole text where the report has no sections at all.
        without_comparisons: Leave out references to earlier studies (:func:`medmm.reports.priors.without_priors`);
            a section that holds nothing else is left out.

    Raises:
        ReportError: The report has none of the sections, or they hold nothing but references to earlier studies
            (``Reason.SECTION_MISSING``), or no text (``Reason.REPORT_EMPTY``).
    """
    if not report.raw.strip():
        raise ReportError(Reason.REPORT_EMPTY, "the report holds no text")
    if not report.sections and whole_text:
        return _line(report.raw, report.language, without_comparisons)
    groups: dict[tuple[int, int], list[str]] = {}
    for name in sections:
        part = report.sections.get(name)
        if part is not None:
            groups.setdefault((part.start, part.end), []).append(name)
    if not groups:
        have = ", ".join(report.sections) or "no sections"
        fix = "Choose other target.sections."
        if not report.sections:
            fix = "Choose other target.sections, or set target.whole_text=true."
        what = "the report has none of the target sections"
        raise ReportError(Reason.SECTION_MISSING, what, got=have, expected=" or ".join(sections), fix=fix)
    lines = {span: _line(report.raw[span[0] : span[1]], report.language, without_comparisons) for span in groups}
    texts = [(" AND ".join(names).upper(), lines[span]) for span, names in groups.items() if lines[span]]
    if not texts:
        what = "the target sections only compare with earlier studies"
        raise ReportError(Reason.SECTION_MISSING, what, expected="a finding", fix="Set target.without_priors=false.")
    if len(sections) == 1:
        return texts[0][1]
    return " ".join(f"{heading}: {text}" for heading, text in texts)


def _line(text: str, language: str, without_comparisons: bool) -> str:
    """A part of the report as one line."""
    return " ".join((without_priors(text, language) if without_comparisons else text).split())
