"""Judges from packages: found by entry point, and RadGraph's F1 by a stand-in with the interface of its package."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from medmm.errors import UsageError
from medmm.metrics.judges import judge_scores, load_judge

PACKAGE = """
def green(references, drafts):
    return {"score": [float(r == d) for r, d in zip(references, drafts)], "green_errors": [2.0] * len(drafts)}
"""
RADGRAPH = """
class F1RadGraph:
    def __init__(self, reward_level):
        assert reward_level == "all"

    def __call__(self, hyps, refs):
        assert all(hyps) and all(refs)
        each = [[len(h) / 10 for h in hyps], [len(r) / 10 for r in refs], [0.5] * len(hyps)]
        return [sum(one) / len(one) for one in each], each, [], []
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    (tmp_path / "green_judge.py").write_text(PACKAGE, encoding="utf-8")
    info = tmp_path / "green_judge-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: green-judge\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[medmm.judges]\ngreen = green_judge:green\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("green_judge", "radgraph"):
        sys.modules.pop(name, None)


def test_an_installed_package_offers_a_judge(packages):
    found = judge_scores("green", ["a", "b", "c"], ["a", "x", "c"])
    assert found.version == "unknown"
    assert {name: values.tolist() for name, values in found.each.items()} == {
        "green_score": [1, 0, 1],
        "green_errors": [2, 2, 2],
    }
    np.testing.assert_allclose(found.scores(np.array([[1, 1, 0], [0, 0, 1]]))["green_score"], [0.5, 1])


def test_radgraph_is_used_where_it_is_installed(packages):
    (packages / "radgraph.py").write_text(RADGRAPH, encoding="utf-8")
    found = judge_scores("radgraph", ["aaaa", "bb", ""], ["a", "", "c"])
    assert {name: values.tolist() for name, values in found.each.items()} == {
        "radgraph_simple": [0.1, 0, 0],
        "radgraph_partial": [0.4, 0, 0],
        "radgraph_complete": [0.5, 0, 0],
    }


def test_radgraph_is_no_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "radgraph", None)
    with pytest.raises(UsageError, match="pip install radgraph"):
        load_judge("radgraph")
