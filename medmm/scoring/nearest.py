"""Nearest vectors by cosine: the one door to FAISS. Exact up to 100,000 vectors, by a graph (HNSW) beyond."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import DataError, UsageError
from medmm.io import atomic

EXACT_UP_TO = 100_000
EXACT, HNSW = "exact", "hnsw"
NEIGHBOURS, BREADTH_OF_BUILDING, BREADTH = 32, 80, 512
"""M, efConstruction and efSearch of Malkov and Yashunin (2018); figures stand in ``docs/search.md``."""
_PRIVATE = 0o600
Array = npt.NDArray[np.float32]


def require_faiss() -> Any:
    """Import FAISS.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        fix = "Install it with: pip install 'medmm[search]'"
        raise UsageError("an archive needs FAISS, which is not installed", where="faiss", fix=fix) from error
    return faiss


def build(blocks: Iterable[Array], width: int, number: int, path: Path) -> str:
    """Write an index of vectors; equal vectors in equal blocks give an equal index.

    Up to ``EXACT_UP_TO`` vectors are kept as float32 and compared one by one. More are kept as float16 in a graph,
    which is built on one thread: several would make another graph each time.

    Args:
        blocks: Arrays ``[N, D]`` of vectors of length 1.
        width: D.
        number: Vectors in all blocks together.
        path: The file, mode 0600.

    Returns:
        Kind of the index, ``exact`` or ``hnsw``.

    Raises:
        UsageError: FAISS is not installed.
        ResourceError: The disk is full.
    """
    faiss = require_faiss()
    kind = EXACT if number <= EXACT_UP_TO else HNSW
    if kind == EXACT:
        index = faiss.IndexFlatIP(width)
    else:
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexHNSWSQ(width, half, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BREADTH_OF_BUILDING
        index.is_trained = True  # float16 has nothing to learn
    with _one_thread(faiss):
        for block in blocks:
            index.add(np.ascontiguousarray(block, dtype=np.float32))
    with atomic.replacing(path, _PRIVATE) as temporary:
        faiss.write_index(index, str(temporary))
    return kind


class NearestIndex:
    """An index on disk, read into memory.

    Args:
        path: The file.
        kind: ``exact`` or ``hnsw``.

    Raises:
        DataError: The file is missing or no index.
        UsageError: FAISS is not installed.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._faiss = require_faiss()
        try:
            self._index = self._faiss.read_index(str(path))
        except RuntimeError as error:
            fix = "Make the archive anew with embed."
            raise DataError("the index cannot be read", where=path.name, fix=fix) from error
        self.kind = kind
        self._stored = self._index if kind == EXACT else self._faiss.downcast_index(self._index.storage)

    @property
    def shape(self) -> tuple[int, int]:
        """Number and width of the vectors."""
        return int(self._index.ntotal), int(self._index.d)

    def search(
        self, query: Array, top: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Array, npt.NDArray[np.int64]]:
        """Find the vectors nearest to one vector.

        Where not every vector may be found, those that may are compared one by one: a graph would lead past them.

        Args:
            query: ``[D]``, of length 1.
            top: Vectors to find; fewer are found only where there are no more.
            allowed: bool ``[N]``, which vectors may be found; None for all.

        Returns:
            Cosines in [-1, 1] and places of the vectors, highest cosine first; of equal ones the lower place first.
        """
        faiss, row = self._faiss, np.ascontiguousarray(query, dtype=np.float32)[None]
        wanted = min(top, self.shape[0] if allowed is None else int(allowed.sum()))
        if not wanted:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        if allowed is not None:
            selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            scores, places = self._stored.search(row, wanted, params=faiss.SearchParameters(sel=selector))
        else:
            scores, places = self._index.search(row, wanted, params=self._breadth())
            if (places < 0).any():  # the graph did not lead to as many
                scores, places = self._stored.search(row, wanted)
        order = np.lexsort((places[0], -scores[0]))
        return np.clip(scores[0][order], -1, 1), places[0][order]

    def _breadth(self) -> Any:
        return None if self.kind == EXACT else self._faiss.SearchParametersHNSW(efSearch=BREADTH)


@contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
