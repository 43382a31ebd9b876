"""Where labels come from, and what each policy teaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from medmm.config.schema import Config
from medmm.config.tasks import ClassificationConfig
from medmm.errors import DataError
from medmm.reports.parse import parse_report
from medmm.tasks.study_labels import LabelSource, choose_classes, label_targets, only_class, sided
from medmm.types import Finding, ImageRef, Laterality, Status, Study

EDEMA = {"edema": Finding(Status.PRESENT)}
PARTS = {
    "a": Finding(Status.PRESENT, Laterality.LEFT), "b": Finding(Status.ABSENT), "c": Finding(Status.UNCERTAIN),
}  # fmt: skip


def study(findings=None, text=None):
    report = None if text is None else parse_report(text)
    return Study("s", "p", (ImageRef(Path("x.png")),), report, findings=findings or {})


def source(kind, **settings):
    return LabelSource(Config.model_validate({"classification": {"labels": kind, **settings}}), kind)


def test_given_labels_go_before_the_reports():
    both = study(EDEMA, "FINDINGS: No edema. There is a nodule.")
    assert source("given").read(both) == EDEMA
    assert source("both").read(both) == EDEMA
    read = source("report").read(both)
    assert (read["edema"].status, read["nodule"].status) == (Status.ABSENT, Status.PRESENT)


def test_the_report_fills_in_only_where_it_is_asked_to():
    bare = study(text="FINDINGS: There is a nodule.")
    assert source("given").read(bare) is None
    assert source("both").read(bare)["nodule"].status is Status.PRESENT
    assert source("both").read(study(text="INDICATION: Cough.")) is None
    assert source("report").read(study(EDEMA)) is None


def test_auto_is_given_as_soon_as_one_study_has_labels():
    config = Config()
    assert LabelSource.of(config, [study(text="FINDINGS: Nodule."), study(EDEMA)]).kind == "given"
    assert LabelSource.of(config, [study(text="FINDINGS: Nodule.")]).kind == "report"


@pytest.mark.parametrize(
    ("policy", "taught"), [("ignore", (0, 0)), ("zeros", (0, 1)), ("ones", (1, 1)), ("soft", (0.5, 1))]
)
def test_what_uncertain_and_unmentioned_teach(policy, taught):
    config = ClassificationConfig(uncertain=policy, unmentioned=policy)
    targets = label_targets(PARTS, ("a", "b", "c", "d"), config)
    pairs = list(zip(targets["present"].tolist(), targets["known"].tolist(), strict=True))
    assert pairs == [(1, 1), (0, 1), taught, taught]
    assert targets["side"].tolist() == [0, -100, -100, -100]


def test_classes_are_those_of_enough_studies():
    labels = [EDEMA] * 4 + [{"nodule": Finding(Status.PRESENT)}] * 2 + [{"edema": Finding(Status.ABSENT)}] * 2
    assert choose_classes(labels, ClassificationConfig(minimum=3), of_report=False) == {"edema": 0.5}
    assert choose_classes(labels, ClassificationConfig(classes=("nodule",)), of_report=False) == {"nodule": 0.25}


def test_a_class_without_positive_is_refused_with_the_nearest_name():
    with pytest.raises(DataError, match=r"got 'oedema'.*Did you mean 'edema'"):
        choose_classes([EDEMA] * 20, ClassificationConfig(classes=("oedema",)), of_report=False)
    with pytest.raises(DataError, match="at least 2 with 10 studies"):
        choose_classes([EDEMA] * 20, ClassificationConfig(kind="single"), of_report=False)


def test_a_single_label_is_exactly_one():
    present = Finding(Status.PRESENT)
    assert only_class({"b": present}, ("a", "b")) == 1
    assert only_class({"a": present, "b": present}, ("a", "b")) is None
    assert only_class({"c": present}, ("a", "b")) is None


def test_a_side_is_learned_where_half_of_the_positives_say_it():
    left, silent = {"a": Finding(Status.PRESENT, Laterality.LEFT)}, {"a": Finding(Status.PRESENT)}
    assert sided([left] * 5 + [silent] * 5, ("a",)) == ("a",)
    assert sided([left] * 5 + [silent] * 6, ("a",)) == ()
    assert sided([left] * 4, ("a",)) == ()
