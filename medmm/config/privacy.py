"""Settings without what may name a patient or a place, or hold a password: for MLflow and for other hospitals."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from medmm.config.evaluation import LabelerConfig
from medmm.config.schema import Config


def deidentified(config: Config) -> dict[str, Any]:
    """The config as parameters, without what may name a patient or a place, or hold a password."""
    params = without_places(config).model_dump(mode="json")
    for key in ("path", "reports", "image_root", "mask_root", "where"):
        params["data"].pop(key)
    params["tracking"].pop("uri")
    return params


def without_places(config: Config) -> Config:
    """Copy without the tracking store, whose address may hold a password, and the folders of cache and evaluation.

    Of the paths of language models, of published weights and of a run the last part stays.
    """
    wanted = config.model
    decoder = wanted.decoder.model_copy(update={"source": _last(wanted.decoder.source)})
    text = wanted.text.model_copy(update={"source": _last(wanted.text.source)})
    encoder = wanted.encoder.model_copy(update={"weights": _last(wanted.encoder.weights)})
    parts = {"decoder": decoder, "text": text, "encoder": encoder, "init": _last(wanted.init)}
    model = wanted.model_copy(update=parts)
    tracking = config.tracking.model_copy(update={"uri": None})
    cache = config.cache.model_copy(update={"root": None})
    evaluate = config.evaluate.model_copy(update={"bertscore_model": None})
    pretrain = config.pretrain.model_copy(update={"texts": (config.pretrain.texts or "").partition(":")[0] or None})
    prompts = config.prompts.model_copy(update={"file": None})
    labeled = {"labeler": LabelerConfig(), "pretrain": pretrain, "prompts": prompts}
    update = {"model": model, "tracking": tracking, "cache": cache, "evaluate": evaluate, **labeled}
    return config.model_copy(update=update)


def _last(path: str | None) -> str | None:
    return None if path is None else PurePosixPath(path.replace("\\", "/")).name
