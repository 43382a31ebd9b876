"""A run on a split of its data: figures beside baselines and other runs, in ``metrics.json`` and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from medmm import registry
from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.errors import DataError, MedmmError, UsageError
from medmm.scoring import tables
from medmm.scoring.drafting import DraftingModel, Progress, adopt
from medmm.scoring.markdown import Table
from medmm.scoring.own_vocabulary import with_own_vocabulary
from medmm.scoring.run_card import recipe_hash

QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True)
class Others:
    """Runs that an evaluation is held against.

    Attributes:
        against: A run, or an evaluation of one, to compare with.
        seeds: Runs that differ from this one by their seed alone, or evaluations of them.
        device: Where those that have to be asked compute.
    """

    against: Path | None = None
    seeds: tuple[Path, ...] = ()
    device: str = "auto"

    def named(self) -> list[tuple[str, Path]]:
        """Each run with the option that names it."""
        seeds = [("--seeds", place) for place in self.seeds]
        return [*seeds, *([] if self.against is None else [("--against", self.against)])]


@dataclass(frozen=True)
class Request:
    """What an evaluation is asked for.

    Attributes:
        manifest: The data, with its split.
        config: The run's config, with the settings of this evaluation merged into it.
        split: ``train``, ``val``, ``test`` or ``all``.
        out: Folder to write to.
        progress: Called as ``progress(done, total, note)``.
        others: Runs to compare with.
        trained: ``seed`` and ``recipe_sha256`` of the model's training.
        device: Where the model computes, for the card.
    """

    manifest: Manifest
    config: Config
    split: str
    out: Path
    progress: Progress | None = None
    others: Others = Others()
    trained: Mapping[str, Any] = field(default_factory=dict)
    device: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: The content of ``metrics.json``: ``test``, ``ci95``, ``baselines`` and ``card``.
        shown: Tables for people: the main metrics beside intervals and baselines, then what else there is.
        warnings: Sentences that a reader of the numbers should know.
        out: Folder that holds the files.
        broken: Images of the split that could not be read; each has a line in ``quarantine.jsonl``.
        notes: What could not be done besides, such as writing the figures into the run's model card.
    """

    metrics: Mapping[str, Any]
    shown: tuple[Table, ...]
    warnings: tuple[str, ...]
    out: Path
    broken: int = 0
    notes: tuple[str, ...] = ()


def refuse_others(others: Others) -> None:
    """Refuse runs to compare with, for models that cannot be compared.

    Raises:
        UsageError: There is one.
    """
    if others.named():
        raise UsageError("models of this task are not held against other runs", where=others.named()[0][0])


def require_some(
    samples: Sequence[object], left_out: Mapping[str, int], split: str, expected: str, **words: str
) -> None:
    """Refuse a split of which nothing can be evaluated.

    Args:
        samples: What can be.
        left_out: Reason to number of studies that cannot.
        split: The part of the data.
        expected: What a study must have.
        words: ``what`` is evaluated (a study), and another ``fix``.

    Raises:
        DataError: There is no sample.
    """
    if samples:
        return
    left = ", ".join(f"{number} x {name}" for name, number in left_out.items())
    what, fix = words.get("what", "study"), words.get("fix", "Choose another --split.")
    problem = f"no {what} of split '{split}' can be evaluated"
    raise DataError(problem, where="manifest", got=left or "no study at all", expected=expected, fix=fix)


class EvaluateModel(Protocol):
    """How a task's models are evaluated; the registry has one for each task."""

    def __call__(self, model: DraftingModel, request: Request, /) -> Evaluation:
        """Do what :func:`evaluate` does with a model that is loaded already."""


def evaluate(  # noqa: PLR0913, PLR0917 - the order of the command line
    run: Path,
    manifest: Manifest,
    config: Config,
    split: str,
    out: Path,
    device: str = "auto",
    progress: Progress | None = None,
    others: Others | None = None,
) -> Evaluation:
    """Hold what a run says of every study of a split against what is known of it, beside baselines.

    Writes ``metrics.json``, ``metrics.md``, ``predictions.jsonl`` and ``quarantine.jsonl`` (mode 0600, they hold
    references and paths) and pictures; what ``others`` say goes to ``drafts-WEIGHTS.jsonl``. The figures also go into
    the run's model card; where it cannot be written, ``notes`` of what is returned says so.

    Args:
        run: Run directory.
        manifest: The data, with its split.
        config: The run's config, with the settings of this evaluation merged into it.
        split: ``train``, ``val``, ``test`` or ``all``.
        out: Folder to write to; files of an earlier evaluation are replaced.
        device: ``auto``, ``cpu`` or ``cuda[:N]``.
        progress: Called as ``progress(done, total, note)``.
        others: Runs to compare with.

    Raises:
        DataError: No study of the split has an image that can be read and what the task is judged by; or another run
            is not of the same studies, split, task, sections, classes or questions.
        CheckpointError: A run cannot be loaded.
        UsageError: ``others`` names what is no run; a judge cannot be had.
        ResourceError: Out of disk or memory.
    """
    from medmm.training import run as runs

    loaded = runs.load(run, device=device)
    trained = {"seed": loaded.config.seed, "recipe_sha256": recipe_hash(loaded.config)}
    config = with_own_vocabulary(config, loaded.config, run)
    model = adopt(loaded, config)
    evaluate_model: EvaluateModel = registry.resolve("evaluation", config.registered)
    request = Request(manifest, config, split, out, progress, others or Others(), trained, model.device)
    return _entered(evaluate_model(model, request), run)


def _entered(evaluation: Evaluation, run: Path) -> Evaluation:
    """Put the figures into the run's model card; they are written already, so a read-only run is no failure."""
    from medmm.training.card import NAME, insert_metrics

    day = datetime.now(UTC).date().isoformat()
    try:
        insert_metrics(
            run / NAME, *tables.card_section(evaluation.metrics["card"], evaluation.shown[0], evaluation.warnings, day)
        )
    except MedmmError as error:
        return replace(evaluation, notes=(f"the run's model card does not have these figures. {error}",))
    return evaluation
