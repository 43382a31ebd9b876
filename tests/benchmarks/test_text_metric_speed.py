"""CIDEr-D of 10,000 pairs against pycocoevalcap's, in one run.

Run with ``pytest -m slow -s tests/benchmarks/test_text_metric_speed.py``; the figures stand in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import csv
import random
import time
from pathlib import Path

import numpy as np
import pytest

from medmm.metrics.text import text_statistics
from medmm.metrics.tokenizers import ptb_tokens

PAIRS, ROUNDS = 10_000, 3


@pytest.mark.slow
@pytest.mark.shared
def test_cider_is_three_times_as_fast(shared: Path) -> None:
    """medmm's time holds BLEU and ROUGE-L too; pycocoevalcap's is CIDEr-D alone."""
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider
    with (shared / "openi/indiana_reports.csv").open(newline="") as handle:
        words = [ptb_tokens(f"{row['findings']} {row['impression']}") for row in csv.DictReader(handle)]
    generator = random.Random(0)
    references, drafts = (generator.choices(words, k=PAIRS) for _ in range(2))
    gts = {number: [" ".join(one)] for number, one in enumerate(references)}
    res = {number: [" ".join(one)] for number, one in enumerate(drafts)}
    ours, theirs = [], []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        found = text_statistics(references, drafts)
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        _, each = cider().compute_score(gts, res)
        theirs.append(time.perf_counter() - begun)
    np.testing.assert_allclose(found.cider_d, each, atol=1e-9)
    ratio = min(theirs) / min(ours)
    print(f"\n{PAIRS} pairs: medmm {min(ours):.2f} s, pycocoevalcap {min(theirs):.2f} s, {ratio:.1f} times as fast")  # noqa: T201
    assert ratio >= 3
