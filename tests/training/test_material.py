"""Which studies a run learns from: those with images and a target, up to the plan's number; none is lost unnamed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medmm.config.schema import Config, SplitConfig
from medmm.data import manifest as manifests
from medmm.errors import DataError
from medmm.reports.parse import parse_report
from medmm.training.material import chosen_studies, usable
from medmm.training.plan import plan
from medmm.types import ImageRef, Study

TARGET, NONE = "FINDINGS: A nodule.", "INDICATION: Cough."


def made(tmp_path, texts):
    """A manifest of training studies with these reports; None for one without."""
    studies = [
        Study(f"s{n:03}", f"p{n}", (ImageRef(Path(f"{n}.png")),), text and parse_report(text), split="train")
        for n, text in enumerate(texts)
    ]
    path = tmp_path / "m.parquet"
    manifests.build(studies, path, SplitConfig(val=0.0), lambda rejection: None)
    return manifests.Manifest.open(path)


def ids(studies):
    return [study.study_id for study in studies]


def test_studies_without_report_cost_none_of_the_others(tmp_path):
    manifest = made(tmp_path, [TARGET, None, TARGET, None] * 30)
    config = Config()
    train, _ = chosen_studies(manifest, config, plan(config, 60))
    assert ids(train) == [f"s{n:03}" for n in range(0, 120, 2)]


def test_the_plan_counts_targets_and_what_has_none_comes_along_to_be_named(tmp_path):
    manifest = made(tmp_path, [TARGET, NONE, None] * 10)
    config = Config()
    assert len(list(usable(manifest, "train", config))) == 10
    train, _ = chosen_studies(manifest, config, replace(plan(config, 10), studies=4))
    with_target = [study for study in train if "findings" in study.report.sections]
    assert len(with_target) == 4
    assert ids(study for study in train if study not in with_target) == [f"s{n:03}" for n in range(1, 30, 3)]
    assert ids(train) == sorted(ids(train))


def test_fewer_are_chosen_by_the_seed_alone(tmp_path):
    manifest = made(tmp_path, [TARGET] * 50)
    one, again, other = (
        ids(chosen_studies(manifest, config, replace(plan(config, 50), studies=10))[0])
        for config in (Config(), Config(), Config(seed=1))
    )
    assert len(one) == 10
    assert one == again != other


def test_nothing_to_learn_from_says_what_there_is(tmp_path):
    manifest = made(tmp_path, [None] * 3)
    with pytest.raises(DataError, match="no training study has a report; got 3 training studies, 3 with images"):
        chosen_studies(manifest, Config(), plan(Config(), 3))
