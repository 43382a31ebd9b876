"""Concept names of sections in structured reports, and the headings that reports have for them.

The codes are those of PS3.16 context groups 7001 (Diagnostic Imaging Report Headings) and 7002, template TID 2000 and
following, and the LOINC codes that PS3.20 (imaging reports as CDA) and LOINC's panels give to the same sections.
"""

from __future__ import annotations

from medmm.io.coding import Code

INDICATION, TECHNIQUE, COMPARISON = "INDICATION", "TECHNIQUE", "COMPARISON"
FINDINGS, IMPRESSION, RECOMMENDATION = "FINDINGS", "IMPRESSION", "RECOMMENDATION"
ADDENDUM, COMMUNICATION = "ADDENDUM", "COMMUNICATION"
HEADINGS = frozenset({INDICATION, TECHNIQUE, COMPARISON, FINDINGS, IMPRESSION, RECOMMENDATION, ADDENDUM, COMMUNICATION})
"""Every heading that a code stands for."""

_DCM = {
    "121060": INDICATION,  # History
    "121062": INDICATION,  # Request
    "121109": INDICATION,  # Indications for Procedure
    "121110": INDICATION,  # Patient Presentation
    "121064": TECHNIQUE,  # Current Procedure Descriptions
    "121065": TECHNIQUE,  # Procedure Description
    "121066": COMPARISON,  # Prior Procedure Descriptions
    "121068": COMPARISON,  # Previous Findings: they are no findings of this study
    "121069": COMPARISON,  # Previous Finding
    "121070": FINDINGS,  # Findings
    "121071": FINDINGS,  # Finding
    "121072": IMPRESSION,  # Impressions
    "121073": IMPRESSION,  # Impression
    "121076": IMPRESSION,  # Conclusions
    "121077": IMPRESSION,  # Conclusion
    "121111": IMPRESSION,  # Summary
    "121074": RECOMMENDATION,  # Recommendations
    "121075": RECOMMENDATION,  # Recommendation
    "121078": ADDENDUM,  # Addendum
}
_LOINC = {
    "10164-2": INDICATION,  # History of present illness
    "11329-0": INDICATION,  # History
    "18785-6": INDICATION,  # Indications for Procedure
    "29299-5": INDICATION,  # Reason for visit
    "55108-5": INDICATION,  # Patient Presentation
    "55115-0": INDICATION,  # Request
    "55752-0": INDICATION,  # Clinical Information
    "29549-3": TECHNIQUE,  # Medications Administered
    "55111-9": TECHNIQUE,  # Current Procedure Descriptions
    "73569-6": TECHNIQUE,  # Radiation Exposure and Protection Information
    "18834-2": COMPARISON,  # Previous Findings; LOINC: comparison study
    "55114-3": COMPARISON,  # Prior Procedure Descriptions
    "18782-3": FINDINGS,  # Study observation
    "59776-5": FINDINGS,  # Findings
    "19005-8": IMPRESSION,  # Impressions
    "55110-1": IMPRESSION,  # Conclusions
    "55112-7": IMPRESSION,  # Summary
    "18783-1": RECOMMENDATION,  # Recommendations
    "55107-7": ADDENDUM,  # Addendum
    "73568-8": COMMUNICATION,  # Communication of Critical Results
}
_WORDS = {
    "indication": INDICATION,
    "indications": INDICATION,
    "clinical indication": INDICATION,
    "history": INDICATION,
    "clinical history": INDICATION,
    "clinical information": INDICATION,
    "request": INDICATION,
    "reason for study": INDICATION,
    "reason for exam": INDICATION,
    "reason for examination": INDICATION,
    "technique": TECHNIQUE,
    "procedure": TECHNIQUE,
    "procedure description": TECHNIQUE,
    "comparison": COMPARISON,
    "comparison study": COMPARISON,
    "previous findings": COMPARISON,
    "prior findings": COMPARISON,
    "finding": FINDINGS,
    "findings": FINDINGS,
    "impression": IMPRESSION,
    "impressions": IMPRESSION,
    "conclusion": IMPRESSION,
    "conclusions": IMPRESSION,
    "recommendation": RECOMMENDATION,
    "recommendations": RECOMMENDATION,
    "addendum": ADDENDUM,
}


def heading_of(concept: Code | None) -> str | None:
    """The heading of a section, by its code, else by the words of its meaning; None for any other concept."""
    if concept is None:
        return None
    table = {"DCM": _DCM, "LN": _LOINC}.get(concept.scheme, {})
    return table.get(concept.value) or _WORDS.get(" ".join(concept.meaning.lower().split()))
