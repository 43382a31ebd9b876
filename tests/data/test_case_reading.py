"""What dies, hangs or runs out of memory while it reads an image costs that image alone."""

import time

import cv2
import numpy as np
import pytest

from medmm.data import case_reading
from medmm.data.case_grid import CaseGrid
from medmm.data.case_reading import CaseReaders, Request
from medmm.data.cases import CaseCache
from medmm.data.outline_code import OutlineCode
from medmm.data.prepared import prepared, request, request_with_masks
from medmm.errors import ImageError, Reason, UsageError
from medmm.types import ImageRef, Study

GRID, CODE = CaseGrid((32, 32)), OutlineCode(("disc",), exclusive=False)


@pytest.fixture
def study(tmp_path):
    y, x = np.mgrid[:40, :44]
    disc = ((y - 20) ** 2 + (x - 22) ** 2 < 64).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "i.png"), 40 + 160 * disc)
    cv2.imwrite(str(tmp_path / "m.png"), 255 * disc)
    return Study("s", "p", (ImageRef(tmp_path / "i.png"),), masks={"disc": tmp_path / "m.png"})


def test_processes_read_what_is_read_here_in_order_and_what_breaks_them_is_named(study, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    good, broken = request(tmp_path / "i.png", GRID), request(tmp_path / "broken.png", GRID)
    with CaseReaders(2) as readers:
        found = list(readers.each([good, Request("os:abort", (), ()), broken, good]))
        masks = readers.ask(request_with_masks(study, GRID, CODE, {}))
    here = prepared(tmp_path / "i.png", GRID)
    for place in (0, 3):
        np.testing.assert_array_equal(found[place].values, here.values)
        assert found[place].shape == (40, 44)
    assert (found[1].reason, found[1].detail) == (
        Reason.DECODE_FAILED, "the reading process ended with code -6 on this file"
    )  # fmt: skip
    with pytest.raises(ImageError) as caught:
        prepared(tmp_path / "broken.png", GRID)
    assert (found[2].reason, found[2].detail) == (caught.value.reason, caught.value.detail)
    np.testing.assert_array_equal(masks.true, cv2.imread(str(tmp_path / "m.png"), -1) > 0)


def test_what_takes_too_long_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(case_reading, "_PREPARING_S", 0.5)
    monkeypatch.setattr(case_reading.allowance, "SECONDS", 0.0)
    started = time.monotonic()
    with CaseReaders(1) as readers, pytest.raises(ImageError) as caught:
        readers.ask(Request("time:sleep", (), (60,)))
    assert caught.value.reason is Reason.TOO_SLOW
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_that_there_is_not_is_no_bug_and_other_errors_keep_their_words(workers, tmp_path):
    with CaseReaders(workers) as readers:
        with pytest.raises(ImageError) as caught:
            readers.ask(Request("numpy:ones", (), ((1 << 50,),), confined=True))
        assert caught.value.reason is Reason.OUT_OF_MEMORY
        with pytest.raises(UsageError, match="1 to 254 structures"):
            readers.ask(Request("medmm.data.outline_code:OutlineCode", (), ((), True)))


def test_cases_are_the_same_whoever_reads_them_and_a_deadly_one_is_set_aside(study, tmp_path, monkeypatch):
    here, _ = CaseCache.build([study], GRID, CODE, {}, tmp_path / "here")
    there, aside = CaseCache.build([study], GRID, CODE, {}, tmp_path / "there", workers=1)
    assert aside == []
    for kind in ("image", "mask", "places"):
        np.testing.assert_array_equal(getattr(here.case("s"), kind), getattr(there.case("s"), kind))
    monkeypatch.setattr("medmm.data.cases.Request", lambda work, files, args: Request("os:abort", (), ()))
    cases, aside = CaseCache.build([study], GRID, CODE, {}, tmp_path / "dead", workers=1)
    assert "s" not in cases
    assert [one.reason for one in aside] == [Reason.DECODE_FAILED]
