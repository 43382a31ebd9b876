"""What a model card says of each task: its own words, and none of another's."""

import re
from dataclasses import astuple

import pytest

from medmm import registry
from medmm.config.schema import Config
from medmm.data.case_grid import CaseGrid
from medmm.data.outline_code import OutlineCode
from medmm.tasks.classification import Classification
from medmm.tasks.regression import Regression
from medmm.tasks.segmentation import Segmentation
from medmm.training import purpose
from medmm.training.card import write_card
from medmm.training.checkpoint import Standing
from medmm.training.plan import Machine, plan
from medmm.training.purpose import purpose_of

SHARES = {"nodule": 0.2, "mass": 0.1, "edema": 0.3}
SMALL = {"preprocess": {"size": 32}, "model": {"encoder": {"width": 32}}}


def config(task, **more):
    return Config.model_validate({**SMALL, "task": task, **more})


def classifier(source="given", **more):
    return Classification(config("classification", **more), SHARES, source)


def outliner(grid, exclusive, **more):
    return Segmentation(config("segmentation", segmentation=more), OutlineCode(tuple(SHARES), exclusive), grid)


def words(said):
    return " ".join(part if isinstance(part, str) else " ".join(part) for part in astuple(said))


def test_every_task_has_words():
    assert set(purpose._OF) == set(registry.TASKS)


@pytest.mark.parametrize(
    "task",
    [
        classifier(),
        classifier(classification={"kind": "single"}),
        outliner(CaseGrid((32, 32)), False),
        outliner(CaseGrid((32, 32, 32), (2.0, 1.0, 1.0), ((-1000.0, 1000.0),)), True),
        Regression(config("classification", classification={"kind": "regression"}), ("age",)),
    ],
)
def test_nothing_is_said_of_drafts_where_none_are_written(task):
    for validated in (True, False):
        said = words(purpose_of(task, validated))
        assert not re.search(r"draft|language model|GPT|a text|writes", said, re.IGNORECASE)


@pytest.mark.parametrize(
    ("settings", "decides"),
    [
        ({}, "a class is called present from a threshold of its own on, chosen on validation for the best F1"),
        (
            {"threshold": "youden"},
            "a class is called present from a threshold of its own on, chosen on validation for the best sum of"
            " sensitivity and specificity",
        ),
        ({"threshold": "half"}, "a class is called present from a probability of one half on;"),
        ({"kind": "single"}, "the class with the highest probability is called;"),
    ],
)
def test_what_decides_is_what_the_settings_ask_for(settings, decides):
    assert purpose_of(classifier(classification=settings), True).decides.startswith(decides)


def test_without_validation_nothing_was_chosen():
    assert purpose_of(classifier(), False).decides.startswith(
        "a class is called present from a threshold of its own on, one half, as there was no validation"
    )
    assert "validation" not in purpose_of(outliner(CaseGrid((32, 32)), False), False).decides
    said = purpose_of(Regression(config("classification", classification={"kind": "regression"}), ("age",)), False)
    assert said.decides.startswith("nothing was validated, so there are no intervals")


def test_calls_that_may_be_declined_say_so():
    said = purpose_of(classifier(reliability={"most_wrong": 0.05}), True).decides
    assert "calls too unsure for at most 5% of them to be wrong are left uncertain" in said


def test_labels_of_reports_are_not_called_given():
    assert purpose_of(classifier("report"), True).about.endswith(
        "what the labeler reads in the reports, its mistakes included"
    )
    assert purpose_of(classifier("given"), True).about.endswith("labels that the data bring")


def test_a_segmentation_of_volumes_names_its_grid_and_its_network():
    grid = CaseGrid((32, 32, 32), (2.0, 1.5, 1.5), ((-1000.0, 1000.0),))
    said = purpose_of(outliner(grid, True, lesions=("nodule",)), True)
    assert said.parts == (
        "Network: U-Net on the stages of resnet_lean, 3D",
        "Structures, which exclude each other: nodule, mass, edema",
        "Reported by size, beside the mean: nodule",
    )
    assert said.takes.startswith(
        "volumes at 2 x 1.5 x 1.5 mm in patches of 32 x 32 x 32 voxels; values from -1000 to 1000"
    )
    assert said.decides.startswith("a voxel belongs to the class, or the background, with the highest probability;")


def test_a_segmentation_of_pictures_stretches_them_and_lets_classes_overlap():
    said = purpose_of(outliner(CaseGrid((32, 32)), False, network="dynunet", postprocess=False), True)
    assert said.parts[:2] == ("Network: DynUNet of MONAI, 2D", "Structures, which may overlap: nodule, mass, edema")
    assert said.takes.startswith("images stretched to 32 x 32 pixels;")
    assert said.decides == "a pixel belongs to each class whose probability is above one half"


def test_the_card_counts_the_parameters_that_there_are(tmp_path):
    task = classifier()
    facts = {"train": 9, "validation": 3, "aside": 0, "data_hash": "d" * 64, "split_hash": "s" * 64, "notes": ["n"],
             "patients_in_several_splits": 0}  # fmt: skip
    chosen = plan(task.config, 9, Machine(2, False, "cpu"))
    write_card(tmp_path / "card.md", task, chosen, Standing(), facts)
    text = (tmp_path / "card.md").read_text()
    number = sum(one.numel() for one in task.model.parameters())
    assert f"- {number / 1e6:.1f} M parameters, trained in fp32 on cpu" in text
    assert "**Not a medical device.** Findings are for research" in text
    assert "- Classes: nodule, mass, edema." in text
    assert text.rstrip().endswith("- n.")
    assert "{" not in text
