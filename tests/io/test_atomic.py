import errno
import json
import os
import stat
import subprocess

import numpy as np
import pytest

from medmm.errors import ResourceError, UsageError
from medmm.io import atomic


def test_replacing_swaps_whole_files_and_makes_folders(tmp_path):
    target = tmp_path / "a" / "b" / "table.parquet"
    with atomic.replacing(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".parquet"
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["table.parquet"]


def test_a_failed_block_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "x.json"
    target.write_text("old")

    def half():
        with atomic.replacing(target) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_mode_holds_also_where_the_writer_makes_a_file_of_its_own(tmp_path):
    target = tmp_path / "quarantine.jsonl"
    with atomic.replacing(target, mode=0o600) as temporary:
        temporary.unlink()
        temporary.write_text("path")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    atomic.append_line(tmp_path / "ledger", "a", mode=0o600)
    assert stat.S_IMODE((tmp_path / "ledger").stat().st_mode) == 0o600


def test_json_keeps_order_and_has_no_nan(tmp_path):
    path = tmp_path / "m.json"
    atomic.write_json(path, {"z": float("nan"), "a": np.float32(1.5), "n": [np.int64(3), np.inf], "t": "ä"})
    assert path.read_text() == '{\n  "z": null,\n  "a": 1.5,\n  "n": [\n    3,\n    null\n  ],\n  "t": "ä"\n}\n'
    with pytest.raises(TypeError):
        atomic.write_json(path, {"a": object()})
    assert json.loads(path.read_text())["a"] == 1.5


def test_a_torn_last_line_spoils_only_itself(tmp_path):
    path = tmp_path / "ledger.jsonl"
    atomic.append_line(path, "one")
    with path.open("ab") as file:
        file.write(b'{"half')
    atomic.append_line(path, "two")
    assert path.read_text().splitlines() == ["one", '{"half', "two"]
    with pytest.raises(ValueError, match="line break"):
        atomic.append_line(path, "a\nb")


def test_a_file_in_the_way_and_a_folder_in_the_way_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="part of the path is a file"):
        atomic.write_text(tmp_path / "file" / "x.json", "")
    with pytest.raises(UsageError, match="folder of that name"):
        atomic.write_text(tmp_path / "folder", "")
    with pytest.raises(UsageError, match="too long"):
        atomic.append_line(tmp_path / ("x" * 300), "")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(atomic.PREFIX)]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system of 64 KiB can only be mounted as root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full(small_disk):
    target = small_disk / "weights.bin"
    atomic.write_bytes(target, b"old")
    with pytest.raises(
        ResourceError, match=r"weights\.bin: the disk is full; got [\d,]+ bytes free; expected 100,000 bytes"
    ):
        atomic.write_bytes(target, b"x" * 100_000)
    assert target.read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [target]
    with pytest.raises(ResourceError, match="ledger: the disk is full"):
        atomic.append_line(small_disk / "ledger", "y" * 100_000)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_found_at_fsync_keeps_the_old_file(tmp_path, monkeypatch, number):
    target = tmp_path / "x"
    target.write_text("old")

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError):
        atomic.write_text(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_other_writers_words_for_a_full_disk(tmp_path):
    for error in (
        RuntimeError("I/O error: No space left on device (os error 28)"),
        OSError("database or disk is full"),
    ):
        with pytest.raises(ResourceError), atomic.full_disk_named(tmp_path / "x"):
            raise error
    with pytest.raises(RuntimeError, match="other"), atomic.full_disk_named(tmp_path / "x"):
        raise RuntimeError("other")


def test_a_full_disk_is_named_by_whoever_knows_how_much_the_whole_needs(tmp_path):
    with pytest.raises(ResourceError, match=r"part: .*expected 5 bytes"), atomic.full_disk_named(tmp_path / "whole"):
        with atomic.full_disk_named(tmp_path / "part", 5):
            raise OSError(errno.ENOSPC, "full")
    with pytest.raises(ResourceError, match=r"whole: .*expected 1,234 bytes"):
        with atomic.full_disk_named(tmp_path / "whole", 1234), atomic.full_disk_named(tmp_path / "part", 5):
            raise OSError(errno.ENOSPC, "full")
    with pytest.raises(ResourceError, match=r"bytes free; expected more than that\. .*--resume --out DIR"):
        with atomic.full_disk_named(tmp_path / "x"):
            raise OSError(errno.ENOSPC, "full")
