"""Headers that would not end, or would fill the memory, are given up; what follows them does not matter."""

from __future__ import annotations

import importlib.util
import io
import struct
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from medmm import read_volumes
from medmm.errors import ImageError, Reason
from medmm.io import bounded, elements
from medmm.io.dataset import open_dataset
from medmm.io.dicom import read_dicom
from medmm.io.header import read_header
from medmm.io.image import read_image

MEGABYTE = 1 << 20
PIXELS, ROWS = 0x7FE00010, 0x00280010


@pytest.fixture(scope="module")
def parts():
    """The module ``mutants.py``, which puts files together."""
    spec = importlib.util.spec_from_file_location("medmm_test_parts", Path(__file__).with_name("mutants.py"))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def reason(tmp_path):
    """Return ``reason(content, read) -> why the file is refused``."""

    def told(content, read=read_header):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ImageError) as caught:
            read(path)
        return caught.value.reason

    return told


def most_memory(read, *arguments):
    tracemalloc.start()
    try:
        return read(*arguments), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_header_is_read_without_inflating_what_follows_it(parts, tmp_path):
    """Two gigabytes behind the header were inflated before a single element was looked at."""
    path = tmp_path / "bomb.dcm"
    head = parts.described(8, 9) + parts.element(PIXELS, b"OW", b"", 2000 * MEGABYTE)
    path.write_bytes(parts.start(parts.DEFLATED) + parts.deflated(head, b"\0" * MEGABYTE, 2000))
    header, memory = most_memory(read_header, path)
    assert (header.rows, header.columns, header.has_pixels) == (8, 9, True)
    assert memory < 200 * MEGABYTE


def test_a_deflated_file_is_inflated_to_a_limit(parts, reason, monkeypatch):
    monkeypatch.setattr("medmm.io.dataset._LARGEST_INFLATED", 5 * MEGABYTE)
    monkeypatch.setattr("medmm.io.dataset._LARGEST_HEADER", 5 * MEGABYTE)
    content = parts.start(parts.DEFLATED) + parts.deflated(parts.described(8, 8), b"\0" * MEGABYTE, 50)
    assert reason(content) is Reason.TOO_LARGE
    head = parts.described(512, 512) + parts.element(PIXELS, b"OW", b"", 50 * MEGABYTE)
    content = parts.start(parts.DEFLATED) + parts.deflated(head, b"\0" * MEGABYTE, 50)
    assert reason(content, read_dicom) is Reason.TOO_LARGE


@pytest.mark.parametrize("size", [1, 65_535, 3 * MEGABYTE + 1])
def test_a_deflated_file_is_inflated_to_its_last_byte(parts, tmp_path, size):
    values = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes() + b"\0" * (size % 2)
    path = tmp_path / "file.dcm"
    head = parts.described(8, 8) + parts.element(PIXELS, b"OW", values)
    path.write_bytes(parts.start(parts.DEFLATED) + parts.deflated(head, b"", 0))
    assert elements.raw_bytes(open_dataset(path, (ROWS, PIXELS), with_pixels=True).dataset, PIXELS) == values


def test_elements_without_end_are_given_up(parts, reason, monkeypatch):
    monkeypatch.setattr(bounded, "LIMIT_S", 0.2)
    flood = parts.element(0x00290010, b"LO", b"") * 500_000
    assert reason(parts.start(parts.EXPLICIT) + parts.described(8, 8, extra=flood)) is Reason.TOO_SLOW


def test_items_without_end_are_as_good_as_none(parts, tmp_path, monkeypatch):
    """A sequence whose length is given lies in memory, where no limit of the file reached it."""
    monkeypatch.setattr(bounded, "LIMIT_S", 0.2)
    monkeypatch.setattr(bounded, "MOST_ITEMS", 500_000)
    path = tmp_path / "file.dcm"
    items = parts.element(0x52009229, b"SQ", parts.item(b"") * 500_000)
    path.write_bytes(parts.start(parts.EXPLICIT) + parts.described(8, 8, extra=items))
    dataset = open_dataset(path, (ROWS, 0x52009229), with_pixels=False).dataset
    assert elements.items(dataset, 0x52009229) == []
    assert not dataset.get_item(0x52009229).is_raw  # nor is it tried again


@pytest.mark.parametrize("vr", [b"SQ", b"UN"])
def test_items_of_a_sequence_are_those_of_pydicom(parts, tmp_path, vr):
    import pydicom

    inner = parts.element(0x00080100, b"SH", b"CODE")
    if vr == b"UN":  # implicit inside, PS3.5 6.2.2
        inner = struct.pack("<HHI", 0x0008, 0x0100, 4) + b"CODE"
    path = tmp_path / "file.dcm"
    sequence = parts.element(0x00540220, vr, parts.item(inner) + parts.item(inner, 0xFFFFFFFF) + parts.ITEM_END)
    path.write_bytes(parts.start(parts.EXPLICIT) + parts.described(8, 8, extra=sequence))
    found = elements.items(open_dataset(path, (ROWS, 0x00540220), with_pixels=False).dataset, 0x00540220)
    assert [elements.text(one, 0x00080100) for one in found] == ["CODE", "CODE"]
    assert [one.CodeValue for one in pydicom.dcmread(path)[0x00540220].value] == ["CODE", "CODE"]


def test_a_syntax_that_is_no_uid_is_not_quoted(parts, tmp_path):
    path = tmp_path / "file.dcm"
    path.write_bytes(parts.start("Doe^Jane\n1960") + parts.described(8, 8) + parts.element(PIXELS, b"OW", b"\1" * 64))
    with pytest.raises(ImageError) as caught:
        read_dicom(path)
    assert caught.value.reason is Reason.SYNTAX_UNSUPPORTED
    assert "Doe" not in str(caught.value)
    assert read_header(path).syntax == "no UID"


def test_no_decoder_is_given_a_vast_frame(parts, reason):
    """A hundred bytes of JPEG that say 60,000 x 60,000 had gigabytes allocated for them."""
    import cv2

    frame = cv2.imencode(".jpg", np.zeros((64, 64), np.uint8))[1].tobytes()
    at = frame.find(b"\xff\xc0") + 5
    frame = frame[:at] + struct.pack(">HH", 16_000, 16_000) + frame[at + 4 :]
    content = parts.start(parts.JPEG) + parts.described(16_000, 16_000) + parts.encapsulated(frame)
    assert reason(content, read_dicom) is Reason.TOO_LARGE
    assert reason(frame, read_image) is Reason.TOO_LARGE


def test_a_large_picture_is_read_without_a_word(tmp_path):
    """Pillow warns of pictures from 89 megapixels on, though their size is checked before."""
    import cv2

    path = tmp_path / "large.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.full((9_600, 9_600), 51, np.uint8))[1].tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = read_image(path, size=32).array
    assert array.mean() == pytest.approx(0.2, abs=0.005)


def test_a_gzip_file_with_an_endless_name_is_no_image(tmp_path, monkeypatch):
    """gzip reads the name inside a file byte by byte, all of it, before it gives anything."""
    import gzip

    path = tmp_path / "name.nii.gz"
    data = gzip.compress(b"\0" * 1000)
    path.write_bytes(data[:3] + b"\x08" + data[4:10] + b"x" * 5_000_000 + b"\0" + data[10:])
    counted = []

    class Counting(io.BufferedReader):
        def read(self, size=-1, /):
            data = super().read(size)
            counted.append(len(data))
            return data

    monkeypatch.setattr(Path, "open", lambda path, _: Counting(io.FileIO(str(path))))
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.reason is Reason.NOT_AN_IMAGE
    assert 0 < sum(counted) < MEGABYTE


GROUPS = 0x52009230


def many_items(parts, count, frames, is_endless=False):
    """A file with so many empty items of the per-frame functional groups."""
    items = parts.item(b"") * count
    sequence = parts.element(GROUPS, b"SQ", items)
    if is_endless:
        sequence = parts.element(GROUPS, b"SQ", items, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    head = parts.described(1, 1, extra=sequence, frames=frames)
    return parts.start(parts.EXPLICIT) + head + parts.element(PIXELS, b"OW", b"\1" * (frames + frames % 2))


@pytest.mark.parametrize("read", [read_header, read_dicom])
def test_a_sequence_of_too_many_items_is_refused_before_it_is_parsed(parts, reason, tmp_path, monkeypatch, read):
    monkeypatch.setattr(bounded, "MOST_ITEMS", 20)
    assert reason(many_items(parts, 21, 1), read) is Reason.TOO_SLOW
    path = tmp_path / "file.dcm"
    path.write_bytes(many_items(parts, 20, 20))
    assert read(path) is not None


def test_two_million_empty_items_are_refused_at_once(parts, reason, monkeypatch):
    monkeypatch.setattr(bounded, "LIMIT_S", np.inf)  # it is no clock that stops it
    monkeypatch.setattr(elements, "_parsed_items", lambda *_: pytest.fail("they were parsed"))
    assert reason(many_items(parts, 2_000_000, 2_000_000), read_dicom) is Reason.TOO_SLOW


def test_items_of_a_sequence_without_a_length_are_given_up(parts, reason, monkeypatch):
    monkeypatch.setattr(bounded, "LIMIT_S", 0.2)
    assert reason(many_items(parts, 500_000, 1, is_endless=True)) is Reason.TOO_SLOW


def test_frames_without_end_are_refused(parts, reason, monkeypatch):
    """Each takes its time, though it has only a pixel."""
    monkeypatch.setattr("medmm.io.layout.LARGEST_FRAMES", 20)
    assert reason(many_items(parts, 0, 21), read_dicom) is Reason.TOO_LARGE


def test_offsets_without_end_are_refused(parts, tmp_path, monkeypatch):
    """Where frames lie is looked at before their pixels are."""
    offsets = parts.element(0x3004000C, b"DS", b"0\\" * 20 + b"0 ")
    head = parts.described(1, 1, extra=offsets, frames=21)
    (tmp_path / "file").write_bytes(parts.start(parts.EXPLICIT) + head + parts.element(PIXELS, b"OW", b"\1" * 22))
    monkeypatch.setattr("medmm.io.layout.LARGEST_FRAMES", 20)
    with pytest.raises(ImageError) as caught:
        read_volumes(tmp_path)
    assert caught.value.reason is Reason.TOO_LARGE


def test_few_compressed_bytes_hold_no_vast_image(parts, tmp_path, monkeypatch):
    """JPEG 2000 makes of an empty frame of any size a hundred bytes."""
    import imagecodecs

    frame = imagecodecs.jpeg2k_encode(np.zeros((256, 256), np.uint8), codecformat="j2k", reversible=True)
    frames = parts.encapsulated(*[frame] * 4)
    path = tmp_path / "file"
    path.write_bytes(parts.start("1.2.840.10008.1.2.4.90") + parts.described(256, 256, frames=4) + frames)
    monkeypatch.setattr("medmm.io.layout.SAMPLES_OF_ANY", 4 * 256 * 256)
    assert read_dicom(path).array.shape == (1, 4, 256, 256)
    monkeypatch.setattr("medmm.io.layout.SAMPLES_OF_ANY", 100 * 256)
    with pytest.raises(ImageError) as caught:
        read_dicom(path)
    assert caught.value.reason is Reason.TOO_LARGE
