"""What ``--dry-run`` says of an evaluation and of a folder to score, in the words of the run's task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.pipelines import _data
from medmm.pipelines._console import Console, number_of

_DOES = {
    "report_gen": "draft reports on",
    "classification": "classify",
    "regression": "estimate numbers on",
    "segmentation": "outline",
    "vqa": "answer questions on",
    "pretraining": "embed",
}


def evaluation(run: Path, trained: Config, config: Config, split: str, console: Console) -> Mapping[str, Any]:
    """Say how many studies of a split have an image and what the task is judged by, and how much memory they need.

    Args:
        run: Run directory.
        trained: The run's config.
        config: The run's config with settings of this call merged into it.
        split: Part of the data, or ``all``.
        console: Where to speak.
    """
    from medmm.training.material import usable
    from medmm.training.records import planned_memory_gb

    memory = planned_memory_gb(run)
    with _data.dry_manifest_of_run(run, trained, config, console) as (manifest, counts):
        number = counts["studies" if split == "all" else split]
        if manifest is not None:
            number = sum(1 for _ in usable(manifest, split, config))
    does, studies = _DOES[config.registered], number_of(number, "study", "studies")
    console.line(f"would {does} {studies} of split '{split}' and score that in at most {memory:.1f} GB of memory")
    return {"dry_run": True, "studies": number, "memory_gb": memory}


def scoring(run: Path, config: Config, counts: Mapping[str, int], console: Console) -> Mapping[str, Any]:
    """Say what would be done to a folder of studies.

    Args:
        run: Run directory.
        config: The run's config with settings of this call merged into it.
        counts: As :func:`medmm.scoring.engine.survey` gives them.
        console: Where to speak.
    """
    from medmm.training.records import planned_memory_gb

    memory, asked = planned_memory_gb(run), len(config.score.questions)
    does = f"answer {number_of(asked, 'question')} on each of" if config.task == "vqa" else _DOES[config.registered]
    studies, images = number_of(counts["studies"], "study", "studies"), number_of(counts["images"], "image")
    console.line(f"would {does} {studies} with {images} in at most {memory:.1f} GB")
    return {"dry_run": True, **counts, "memory_gb": memory}
