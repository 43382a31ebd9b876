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

    Of the paths of a language model and of a run the last part stays.
    """
    decoder = config.model.decoder
    if decoder.source is not None:
        decoder = decoder.model_copy(update={"source": PurePosixPath(decoder.source.replace("\\", "/")).name})
    init = None if config.model.init is None else PurePosixPath(config.model.init.replace("\\", "/")).name
    model = config.model.model_copy(update={"decoder": decoder, "init": init})
    tracking = config.tracking.model_copy(update={"uri": None})
    cache = config.cache.model_copy(update={"root": None})
    evaluate = config.evaluate.model_copy(update={"bertscore_model": None})
    update = {"model": model, "tracking": tracking, "cache": cache, "evaluate": evaluate, "labeler": LabelerConfig()}
    return config.model_copy(update=update)
