"""The vocabulary that lies in a run, for reading findings as its head learned them."""

from __future__ import annotations

from pathlib import Path

from medmm.config.schema import Config


def with_own_vocabulary(config: Config, trained: Config, run: Path) -> Config:
    """Let an evaluation that asks for no other labeler than the training's read with the vocabulary in the run.

    The user's file may be elsewhere, changed or gone by then.

    Args:
        config: The run's config, with the settings of the evaluation merged into it.
        trained: The run's config.
        run: Run directory.
    """
    from medmm.tasks.findings import VOCABULARY

    file = run / "model" / VOCABULARY
    if config.labeler != trained.labeler or not file.is_file():
        return config
    labeler = config.labeler.model_copy(update={"vocabulary": file})
    return config.model_copy(update={"labeler": labeler})
