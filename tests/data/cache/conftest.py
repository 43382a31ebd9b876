"""Pictures, and a store that each test has for itself."""

import cv2
import numpy as np
import pytest

from medmm.config.schema import CacheConfig, PreprocessConfig
from medmm.data import decoding
from medmm.data.cache import ImageCache, read_view
from medmm.types import ImageRef, Study

SMALL = PreprocessConfig(size=32)


@pytest.fixture(scope="session")
def picture():
    """Write noise to a path, other noise for each seed."""

    def write(path, seed):
        pixels = np.random.default_rng(seed).integers(0, 65536, (40, 40), dtype=np.uint16)
        assert cv2.imwrite(str(path), pixels)
        return path

    return write


@pytest.fixture
def paths(tmp_path, picture):
    return [picture(tmp_path / f"{number}.png", number) for number in range(6)]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def build(tmp_path, root):
    """Cache of studies s0, s1, ... with one image each."""

    def call(paths, limit_gb=1.0, preprocess=SMALL, workers=0):
        shared = CacheConfig(root=root, limit_gb=limit_gb)
        studies = [Study(f"s{number}", "p", (ImageRef(path=path),)) for number, path in enumerate(paths)]
        return ImageCache.build(studies, preprocess, tmp_path / "run", 1, workers, shared=shared)

    return call


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded."""
    names, attempt = [], decoding.attempt
    monkeypatch.setattr(decoding, "attempt", lambda job, *more: names.append(job.source.name) or attempt(job, *more))
    return names


@pytest.fixture(scope="session")
def require_right():
    """Assert that the cache gives what reading gives."""

    def require(cache, paths):
        for number, path in enumerate(paths):
            np.testing.assert_array_equal(cache.views(f"s{number}")[0], read_view(path, SMALL))

    return require
