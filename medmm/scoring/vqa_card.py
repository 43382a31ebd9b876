"""What stands beside the numbers of answers: what was asked, of what, by which means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.metrics.answers import KINDS, is_closed, kind_of
from medmm.metrics.classification import BINS
from medmm.scoring import doubts
from medmm.scoring.drafting import DraftingModel
from medmm.scoring.run_card import describe_data, describe_run, describe_versions
from medmm.scoring.vqa_samples import VqaMaterial

_IMPLEMENTATIONS = {
    "accuracy": "medmm.metrics.answers, exact match of normalised answers",
    "kinds": "read from the words of question and answer",
    "ece": f"all answers, {BINS} bins of equal width",
    "ci95": "percentile bootstrap over patients",
}


def describe(  # noqa: PLR0913, PLR0917
    model: DraftingModel, manifest: Manifest, config: Config, split: str, material: VqaMaterial,
    trained: Mapping[str, Any], device: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The card of ``metrics.json``, but for its warnings."""
    return {
        **describe_run(model, config, split, trained, device),
        **describe_data(model, manifest, config),
        "image_share": model.config.vqa.image_share,
        "most_wrong": config.reliability.most_wrong,
        "generate": config.generate.model_dump(mode="json"),
        "counts": _counts(material),
        "implementations": _IMPLEMENTATIONS,
        **describe_versions(("torch", "transformers", "numpy")),
    }


def _counts(material: VqaMaterial) -> dict[str, Any]:
    samples = material.samples
    closed = sum(is_closed(one.question, one.reference) for one in samples)
    kinds = [kind_of(one.question, one.reference) for one in samples]
    sorts = {"accuracy": len(samples), "accuracy_closed": closed, "accuracy_open": len(samples) - closed}
    return {
        "questions": len(samples),
        "studies": len(material.studies),
        "patients": len({study.patient_key for study in material.studies}),
        "images": sum(len(study.images) for study in material.studies),
        "of": sorts | {f"accuracy/{kind}": kinds.count(kind) for kind in KINDS},
        "left_out": dict(material.left_out),
    }


def warnings(card: Mapping[str, Any], gain: Mapping[str, Any], test: Mapping[str, float]) -> list[str]:
    """Sentences that a reader of the numbers should know.

    Args:
        card: As :func:`describe` gives it.
        gain: ``difference`` and ``ci95`` of the accuracy to that without image.
        test: The figures.
    """
    said = doubts.on_data(card)
    if card["image_share"] == 0:
        said.append("This model was trained without images and sees none.")
    elif gain["difference"] <= 0 or ("ci95" in gain and gain["ci95"][0] <= 0):
        said.append("It is not shown that the images help: the same model without them does as well, within chance.")
    if card["most_wrong"] and test.get("declined_share") == 1:
        said.append(
            f"Every answer is declined: that at most {card['most_wrong']:.0%} of them are wrong cannot be promised,"
            " because validation has too few questions, or too few that were answered right."
        )
    return said
