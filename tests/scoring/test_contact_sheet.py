"""The contact sheet: what stands on it, that it needs nothing else, and that it is private."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medmm.scoring import contact_sheet
from medmm.scoring.archive import Hit

EFFUSION = ({"name": "pleural_effusion", "laterality": "left", "severity": "small"},)


@pytest.fixture
def hits(grey, tmp_path):
    paths = [grey(tmp_path / "in" / f"{level}.png", level) for level in (40, 200)]
    return [
        Hit("<DOE>", 0.9, "DX", ("PA", "LATERAL"), EFFUSION, 12, paths[0]),
        Hit("s2", 0.456, None, (), (), None, paths[1]),
        Hit("s3", 0.1, "CR", ("AP",), None, 0, tmp_path / "gone.png"),
    ]


def test_the_page_holds_all_and_needs_nothing(hits, tmp_path):
    contact_sheet.write(tmp_path / "out", "“<effusion>”", ["3 of 9 studies"], hits)
    page = (tmp_path / "out" / "search.html").read_text()
    texts = [
        "“&lt;effusion&gt;”", "3 of 9 studies", "&lt;DOE&gt;", "DX · PA, LATERAL · day 12", "0.900", "0.456",
        "small left pleural effusion", "nothing present", "CR · AP · day 0", "cannot be shown: file_missing",
    ]  # fmt: skip
    for text in texts:
        assert text in page, text
    assert page.count('src="data:image/png;base64,') == 2
    assert not re.search(r"https?:|<script|<link|src=\"(?!data:)", page)
    assert str(tmp_path) not in page


def test_the_picture_shows_each_image_in_its_tile(hits, tmp_path):
    contact_sheet.write(tmp_path, "title", ["one", "two"], hits, query=hits[1].path)
    file = tmp_path / "search.png"
    picture = Image.open(io.BytesIO(file.read_bytes()))
    assert (picture.mode, picture.info) == ("RGB", {})
    pixels = np.asarray(picture)[..., 0]
    tops = 12 + 30 + 2 * 18 + 12
    seen = [int(pixels[tops + 100, 12 + tile * 220 + 100]) for tile in range(3)]
    assert seen == [200, 40, 200]  # the query, then the studies; each 8-bit picture keeps its grey levels
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("search.*")} == {
        "search.html": 0o600, "search.png": 0o600,
    }  # fmt: skip


def test_words_that_are_too_many_end_in_dots(hits, tmp_path):
    long = Hit("s", 1.0, "DX", ("PA",), EFFUSION * 30, 1, Path(hits[0].path))
    contact_sheet.write(tmp_path, "word " * 200 + "x" * 500, [], [long])
    with Image.open(tmp_path / "search.png") as picture:
        assert picture.size == (3 * 220 + 12, 12 + 30 + 12 + 200 + 5 * 18 + 12)
        right = np.asarray(picture)[:40, -10:]
    assert (right == 255).all()  # the title is cut to the page
