"""The cache's bound, what it never evicts, and where images go when it cannot take them."""

import errno
import gc
import os
from pathlib import Path

import numpy as np
import pytest

from medmm.config.schema import CacheConfig, PreprocessConfig
from medmm.data.cache import read_view, shared_root
from medmm.errors import ResourceError

SMALL = PreprocessConfig(size=32)
ROW = 32 * 32 * 2


def test_what_was_not_used_for_longest_goes_first_and_the_bound_holds(paths, root, build, decoded, require_right):
    limit = 4.5 * ROW / 1e9
    for path in paths[:4]:
        build([path], limit_gb=limit)
    build(paths[:1], limit_gb=limit)  # used again
    gc.collect()
    build(paths[4:5], limit_gb=limit)
    gc.collect()
    assert len(list(root.glob("*.rows"))) == 4
    decoded.clear()
    build([paths[0], paths[2], paths[3], paths[4]], limit_gb=limit)
    assert decoded == []
    cache, _ = build(paths[1:2], limit_gb=limit)
    assert decoded == ["1.png"]
    require_right(cache, paths[1:2])
    del cache
    gc.collect()
    build([], limit_gb=2 * ROW / 1e9)
    assert build([], limit_gb=1)[0].rows == {}
    assert len(list(root.glob("*.rows"))) == 4  # nothing was asked for, so the store was not even opened
    build(paths[:1], limit_gb=2.5 * ROW / 1e9)
    assert len(list(root.glob("*.rows"))) == 2


def test_what_is_in_use_stays_and_the_rest_lies_in_the_runs_own_folder(paths, root, build, tmp_path, require_right):
    limit = 3.5 * ROW / 1e9
    held, _ = build(paths[:3], limit_gb=limit)
    assert held.notes == ()
    rest, aside = build(paths[3:], limit_gb=limit)
    assert aside == []
    assert ["no room" in note for note in rest.notes] == [True]
    require_right(held, paths[:3])
    require_right(rest, paths[3:])
    assert len(list(root.glob("*.rows"))) == 3
    assert list((tmp_path / "run").glob("*.rows"))
    views = held.stored[0]
    del held
    gc.collect()
    again, _ = build(paths[3:5], limit_gb=limit)  # views of the first shard are still held
    np.testing.assert_array_equal(views.astype(np.float32) / np.float32(65535), read_view(paths[0], SMALL))
    assert again.notes == ()
    assert len(list(root.glob("*.rows"))) == 3


def test_one_run_larger_than_the_bound_spills_over(paths, root, build, require_right):
    cache, aside = build(paths, limit_gb=2.5 * ROW / 1e9)
    assert aside == []
    require_right(cache, paths)
    assert sum(path.stat().st_size for path in root.glob("*.rows")) == 2 * ROW


def test_a_limit_of_0_keeps_images_out_of_the_shared_folder(paths, root, build, tmp_path, require_right):
    cache, _ = build(paths, limit_gb=0)
    require_right(cache, paths)
    assert not root.exists()
    assert list((tmp_path / "run").glob("*.rows"))


@pytest.mark.parametrize("kind", ["a file in the way", "read-only"])
def test_a_root_that_cannot_be_written_is_said_and_the_run_goes_on(
    kind, paths, root, build, monkeypatch, require_right
):
    if kind == "read-only":
        real = os.open

        def refuse(path, *words, **more):
            if Path(path).parent == root:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return real(path, *words, **more)

        monkeypatch.setattr(os, "open", refuse)
    else:
        root.write_text("")
    cache, aside = build(paths)
    assert aside == []
    require_right(cache, paths)
    (note,) = cache.notes
    assert "cannot be used" in note
    assert str(root) not in note


def test_a_full_disk_is_said_by_name(paths, build, monkeypatch, require_right):
    def full(*words):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(ResourceError, match=f"{6 * ROW:,} bytes"):
            build(paths)
    require_right(build(paths)[0], paths)


def test_the_root_comes_from_config_environment_or_home(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDMM_CACHE", str(tmp_path))
    assert shared_root(CacheConfig(root=tmp_path / "x")) == tmp_path / "x"
    assert shared_root(CacheConfig()) == tmp_path / "images"
    monkeypatch.delenv("MEDMM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert shared_root(CacheConfig()) == tmp_path / "me" / ".cache" / "medmm" / "images"
