"""Studies that a search found, as one page and as one picture, both readable by their owner alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medmm.data.thumbnails import Thumbnail, thumbnails
from medmm.errors import StudyError
from medmm.io import atomic
from medmm.scoring.archive import Hit
from medmm.scoring.lines import PRIVATE
from medmm.types import ImageRef, ImageSource

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

PAGE, PICTURE = "search.html", "search.png"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;color:#1b1f24;background:#f6f7f9;margin:0}
main{max-width:1180px;margin:0 auto;padding:24px}h1{font-size:22px;margin:0 0 4px;overflow-wrap:anywhere}
.note{color:#57606a;margin:0 0 4px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:14px;margin-top:16px}
article{background:#fff;border:1px solid #d8dee4;border-radius:6px;padding:10px}article.query{border:2px solid #0969da}
.frame{background:#000;height:190px;display:flex;align-items:center;justify-content:center;color:#c9d1d9}
.frame img{max-width:100%;height:190px;object-fit:contain}
article h2{font-size:14px;margin:8px 0 2px;display:flex;justify-content:space-between}
article p{margin:0 0 2px;overflow-wrap:anywhere}.id{font:11px/1.4 ui-monospace,monospace;color:#57606a}
"""
_TILE, _SIDE, _LINE, _GAP, _COLUMNS, _LINES = 220, 200, 18, 12, 5, 5
_INK, _GREY, _PAPER, _BLUE = "#1b1f24", "#57606a", "#ffffff", "#0969da"
_Pictures = Mapping[ImageSource, Thumbnail | StudyError]


def write(folder: Path, title: str, notes: Sequence[str], hits: Sequence[Hit], query: Path | None = None) -> None:
    """Write ``search.html``, which needs nothing else, and ``search.png``.

    An image that has gone since it was embedded is named so. The picture names studies by their tags, the page by their
    ids too.

    Args:
        folder: Folder to write to.
        title: What was searched for.
        notes: Sentences below the title.
        hits: Studies, best first.
        query: The picture that was searched with; None for a text.

    Raises:
        ResourceError: The disk is full.
    """
    wanted = [hit.path for hit in hits] + ([query] if query else [])
    pictures = thumbnails(ImageRef(path=path) for path in wanted)
    atomic.write_text(folder / PAGE, _page(title, notes, hits, query, pictures), PRIVATE)
    atomic.write_bytes(folder / PICTURE, _picture(title, notes, hits, query, pictures), PRIVATE)


def _page(title: str, notes: Sequence[str], hits: Sequence[Hit], query: Path | None, pictures: _Pictures) -> str:
    asked = f'<article class="query">{_frame(pictures[query])}<h2>query</h2></article>' if query else ""
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>Search</title><style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>",
            *(f'<p class="note">{escape(note)}</p>' for note in notes),
            '<p class="note">This page shows images of patients. Treat it as patient data.</p>',
            '<div class="cards">',
            asked,
            *(_card(place, hit, pictures[hit.path]) for place, hit in enumerate(hits, 1)),
            "</div></main></body></html>\n",
        )
    )


def _card(place: int, hit: Hit, picture: Thumbnail | StudyError) -> str:
    lines = "".join(f"<p>{escape(text)}</p>" for text in (_facts(hit), hit.finding_words) if text)
    return (
        f"<article>{_frame(picture)}<h2><span>{place}. {hit.tag}</span><span>{hit.score:.3f}</span></h2>"
        f'{lines}<p class="id">{escape(hit.study_id)}</p></article>'
    )


def _frame(picture: Thumbnail | StudyError) -> str:
    if isinstance(picture, StudyError):
        return f'<div class="frame">cannot be shown: {escape(str(picture.reason))}</div>'
    shape, data = f"aspect-ratio:{picture.aspect:.4f}", base64.b64encode(picture.png).decode()
    return f'<div class="frame"><img alt="" style="{shape};object-fit:fill" src="data:image/png;base64,{data}"></div>'


def _facts(hit: Hit) -> str:
    day = None if hit.days is None else f"day {hit.days}"
    return " · ".join(filter(None, (hit.modality, ", ".join(hit.views), day)))


def _picture(title: str, notes: Sequence[str], hits: Sequence[Hit], query: Path | None, pictures: _Pictures) -> bytes:
    """A grid of tiles as PNG, without any metadata."""
    from PIL import Image, ImageDraw

    tiles: list[tuple[Thumbnail | StudyError, list[str]]] = [(pictures[query], ["query"])] if query else []
    for place, hit in enumerate(hits, 1):
        tiles.append((pictures[hit.path], [f"{place}. {hit.score:.3f}  {hit.tag}", _facts(hit), hit.finding_words]))
    columns = max(3, min(_COLUMNS, len(tiles)))
    head = _GAP + 30 + _LINE * len(notes) + _GAP
    height = _SIDE + _LINE * _LINES + _GAP
    sheet = Image.new("RGB", (columns * _TILE + _GAP, head + height * -(-len(tiles) // columns)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write_lines(draw, (_GAP, _GAP), [title], sheet.width - 2 * _GAP, 20, 1)
    _write_lines(draw, (_GAP, _GAP + 30), notes, sheet.width - 2 * _GAP, 13, len(notes))
    for number, (picture, said) in enumerate(tiles):
        left, top = _GAP + number % columns * _TILE, head + number // columns * height
        draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), "black", _BLUE if said == ["query"] else None, 3)
        if isinstance(picture, Thumbnail):
            small = Image.open(io.BytesIO(picture.png)).convert("L").resize(_fitted(picture.aspect))
            sheet.paste(small, (left + (_SIDE - small.width) // 2, top + (_SIDE - small.height) // 2))
        else:
            _write_lines(draw, (left + 8, top + 8), [f"cannot be shown: {picture.reason}"], _SIDE - 16, 12, 3, "white")
        _write_lines(draw, (left, top + _SIDE + 4), [text for text in said if text], _SIDE, 12, _LINES)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _fitted(aspect: float) -> tuple[int, int]:
    """Width and height in the tile of a picture whose width is ``aspect`` times its height."""
    side = _SIDE - 6
    return max(1, round(side * min(1, aspect))), max(1, round(side * min(1, 1 / aspect)))


def _write_lines(
    draw: ImageDraw, place: tuple[int, int], texts: Sequence[str], width: int, size: int, most: int, ink: str = _INK
) -> None:
    """Write texts below each other, broken between words to ``width`` pixels; beyond ``most`` lines they are cut."""
    font = _font(size)
    lines: list[tuple[str, str]] = []
    for number, text in enumerate(texts):
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append((line, _GREY if number and ink == _INK else ink))
                line = word
            else:
                line = longer
        lines.append((line, _GREY if number and ink == _INK else ink))
    for number, (line, colour) in enumerate(lines[:most]):
        last = number == most - 1 and len(lines) > most
        shown = f"{line} …" if last else line
        while shown and font.getlength(shown) > width:
            shown = shown.removesuffix("…")[:-1].rstrip() + ("…" if len(shown) > 2 else "")
        draw.text((place[0], place[1] + number * (size + 5)), shown, fill=colour, font=font)


def _font(size: int) -> Any:
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
