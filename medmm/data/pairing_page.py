"""The page that lets a person judge the pairing: counts, what was set aside, and images beside their reports."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from medmm.data.doubts import Doubt, Kind
from medmm.data.thumbnails import Thumbnail, thumbnails
from medmm.errors import StudyError
from medmm.types import ImageRef, ImageSource, Report, Study

_Pictures = Mapping[ImageSource, Thumbnail | StudyError]
_VIEWS = 2
_EXCERPT = 900
_QUESTIONS = 4
_SHOWN_SECTIONS = ("indication", "comparison", "findings", "impression")
_WORDS = {
    "studies": "Studies",
    "patients": "Patients",
    "images": "Images",
    "reports": "Reports",
    "paired": "Studies with images and a report",
    "with_masks": "Studies with images and masks",
    "with_questions": "Studies with images and questions",
    "image_without_report": "Images without a report",
    "report_without_image": "Reports without an image",
    "report_without_target": "Reports with neither findings nor impression",
    "report_empty": "Reports without any text",
    "report_shared": "Reports that several studies claim",
    "patients_in_several_splits": "Patients on both sides of the source's own split",
    "studies_without_patient": "Studies that name no patient: each counts as a patient of its own",
    "other_files": "Files of another kind, passed over",
    "copies": "Copies of a file of the same study, passed over",
    "reference_withheld": "Test images whose masks the data do not bring, passed over",
}
_REASONS = {
    "file_missing": "The source names a file that is not there",
    "file_empty": "The file holds nothing",
    "file_unreadable": "The file cannot be read",
    "no_pixels": "The object holds no image",
    "too_large": "The image is larger than any that is read",
    "too_slow": "The file does not come to an end in the time that it may take",
    "out_of_memory": "The file needs more memory than it may take",
    "header_invalid": "The header lacks what is needed to place the image",
    "image_without_report": "No report belongs to the image",
    "report_without_image": "No image belongs to the report",
    "image_without_mask": "No mask belongs to the image",
    "image_without_question": "No question names the image",
    "question_without_image": "The question names no image",
    "path_outside": "The source names a file outside of its folder",
    "dimensions_mismatch": "Images or masks of a study differ in size",
    "report_empty": "The report holds no text",
    "report_unreadable": "The report's file cannot be read",
    "report_shared": "One report for several studies: nobody can say whose it is",
    "report_surplus": "The study has a report already; this one is not used",
    "split_unknown": "Neither train, val nor test, or several of them",
    "row_invalid": "The row of the table contradicts itself or the header",
    "study_duplicate": "A study of the same id came before",
}
_DOUBTS = {
    Kind.SIDE: "The report speaks of the other side",
    Kind.VIEW: "The report names another view",
    Kind.BODY_PART: "The report speaks of another part of the body",
    Kind.OLDER: "The report is older than the image",
    Kind.SAME_TEXT: "Two patients have the same long report",
    Kind.SAME_IMAGE: "Two patients share an image",
}
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#f6f7f9;margin:0}
main{max-width:1180px;margin:0 auto;padding:24px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 8px}
.note{color:#57606a}.warn{background:#fff4d6;border-left:4px solid #d19a00;padding:8px 12px}
table{border-collapse:collapse;background:#fff;border:1px solid #d8dee4}
th,td{text-align:left;padding:5px 12px;border-bottom:1px solid #eaeef2;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}td.t{font:12px/1.5 ui-monospace,monospace;color:#57606a}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(520px,1fr));gap:14px}
article{background:#fff;border:1px solid #d8dee4;border-radius:6px;padding:12px;display:flex;gap:14px}
figure{margin:0 0 8px;width:170px;flex:none}figure img{width:170px;background:#000;display:block}
figcaption{font-size:12px;color:#57606a}article h3{font:600 13px ui-monospace,monospace;margin:0 0 6px}
article p{margin:0 0 6px;white-space:pre-wrap;overflow-wrap:anywhere}b.s{display:block;font-size:12px;color:#57606a}
.none{color:#a40e26}h3.doubt{font-size:15px;margin:20px 0 6px}
"""


def render(
    record: Mapping[str, Any], examples: Sequence[Study], doubts: Sequence[Doubt], doubtful: Mapping[str, Study]
) -> str:
    """The page as HTML that needs nothing else: no script, no font, no network.

    Args:
        record: What ``pairing.json`` holds.
        examples: Studies to show.
        doubts: Doubts to show.
        doubtful: Study id to study, for those that a doubt names.
    """
    shown = (*examples, *doubtful.values())
    pictures = thumbnails(image for study in shown for image in study.images[:_VIEWS])
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>Pairing of images and reports</title><style>{_STYLE}</style></head><body><main>",
            "<h1>Pairing of images and reports</h1>",
            '<p class="note">This page shows images and report text. Treat it as patient data.</p>',
            _warning(record["counts"]["patients_in_several_splits"]),
            "<h2>What there is</h2>",
            _table((), ((_WORDS[name], number) for name, number in record["counts"].items())),
            "<h2>Split</h2>",
            _table(
                ("Part", "Studies", "Patients"),
                ((name, part["studies"], part["patients"]) for name, part in record["splits"].items()),
            ),
            "<h2>What was set aside</h2>",
            _aside(record["set_aside"]),
            "<h2>What is doubtful</h2>",
            _doubts(record["doubts"], record["deep"]),
            *(_doubt(doubt, doubtful, pictures) for doubt in doubts),
            f"<h2>{len(examples)} studies to look at</h2>",
            '<p class="note">Does each report speak of the image beside it: the side, the view, the body part?</p>',
            '<div class="cards">',
            *(_card(study, pictures) for study in examples),
            "</div></main></body></html>\n",
        )
    )


def _warning(patients: int) -> str:
    if not patients:
        return ""
    plural = "patient has" if patients == 1 else "patients have"
    said = f"{patients} {plural} studies in more than one part of the source's own split: its test looks too good."
    return f'<p class="warn">{escape(said)}</p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "<tr>" + "".join(f"<th>{escape(text)}</th>" for text in heads) + "</tr>" if heads else ""
    return "<table>" + head + "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows) + "</table>"


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    if isinstance(value, list):
        return f'<td class="t">{escape(", ".join(value))}</td>'
    return f"<td>{escape(str(value))}</td>"


def _aside(reasons: Mapping[str, Mapping[str, Any]]) -> str:
    if not reasons:
        return '<p class="note">Nothing.</p>'
    rows = ((_REASONS.get(reason, reason), entry["count"], entry["first"]) for reason, entry in reasons.items())
    page = _table(("Why", "How many", "Such as"), rows)
    return page + '<p class="note">Each of them stands in quarantine.jsonl, with its file.</p>'


def _doubts(kinds: Mapping[str, Mapping[str, Any]], deep: bool) -> str:
    rows = [(_DOUBTS[Kind(kind)], entry["count"], entry["first"]) for kind, entry in kinds.items()
            if deep or kind != Kind.SAME_IMAGE]  # fmt: skip
    page = _table(("Doubt", "How many", "Such as"), rows)
    if not deep:
        page += '<p class="note">Images that several patients share are found by index --deep.</p>'
    return page + '<p class="note">Nothing was set aside for a doubt. Each of them stands in doubts.jsonl.</p>'


def _doubt(doubt: Doubt, studies: Mapping[str, Study], pictures: _Pictures) -> str:
    title = f'<h3 class="doubt">{escape(_DOUBTS[doubt.kind])}: {escape(doubt.detail)}</h3>'
    cards = "".join(_card(studies[one], pictures) for one in doubt.studies if one in studies)
    return f'{title}<div class="cards">{cards}</div>'


def _card(study: Study, pictures: _Pictures) -> str:
    more = len(study.images) - _VIEWS
    figures = "".join(_figure(image, pictures[image.source]) for image in study.images[:_VIEWS])
    figures = figures or '<p class="none">No image</p>'
    if more > 0:
        figures += f'<p class="note">and {more} more</p>'
    facts = [study.split, study.sex, study.age_band and f"{study.age_band} years", study.device]
    said = " · ".join(escape(fact) for fact in facts if fact)
    body = _body(study)
    return f'<article><div>{figures}</div><div><h3>{study.tag}</h3><p class="note">{said}</p>{body}</div></article>'


def _body(study: Study) -> str:
    """What was said of the images, or that nothing was."""
    parts = [] if study.report is None else [_report(study.report)]
    if study.masks:
        parts.append(f'<p><b class="s">MASKS</b>{escape(", ".join(study.masks))}</p>')
    asked = [f"{question} — {answer}" for question, answer in study.questions[:_QUESTIONS]]
    if more := len(study.questions) - len(asked):
        asked.append(f"and {more} more")
    parts += [f"<p>{escape(text)}</p>" for text in asked]
    return "".join(parts) or '<p class="none">No report</p>'


def _figure(image: ImageRef, made: Thumbnail | StudyError) -> str:
    caption = escape(" · ".join(filter(None, (image.modality, image.view or "view unknown"))))
    if isinstance(made, StudyError):
        picture = f'<p class="none">cannot be shown: {escape(str(made.reason))}</p>'
    else:
        shape, data = f"aspect-ratio:{made.aspect:.4f}", base64.b64encode(made.png).decode()
        picture = f'<img alt="{caption}" style="{shape}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _report(report: Report) -> str:
    parts = [(name, report.sections[name].text) for name in _SHOWN_SECTIONS if name in report.sections]
    room = _EXCERPT
    paragraphs = []
    for name, text in parts or [("", report.raw)]:
        shown = text if len(text) <= room else text[:room].rstrip() + " …"
        room = max(0, room - len(text))
        heading = f'<b class="s">{escape(name.upper())}</b>' if name else ""
        paragraphs.append(f"<p>{heading}{escape(shown)}</p>")
        if not room:
            break
    return "".join(paragraphs)
