"""``MODEL_CARD.md``: what a run is for, what it learned from, where it must not be trusted (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.errors import UsageError
from medmm.io.atomic import write_text
from medmm.tasks.base import Task
from medmm.training.checkpoint import Standing
from medmm.training.plan import Plan
from medmm.training.purpose import purpose_of

NAME = "MODEL_CARD.md"
_METRICS, _SECTION, _EVALUATION = "## Metrics", "## ", "### "
_TO_COME = "To come: `medmm evaluate --run` on this directory writes them here, with baselines and intervals."
_TEMPLATE = """\
# Model card: {task}

**Not a medical device.** {outputs} are for research and for review by a radiologist; none may enter a record unread.

## Model
- Task: {task}. {about}.
{parts}- {parameters:.1f} M parameters, trained in {precision} on {device}, seed {seed}.

## Input and output
- Input: {takes}.
- Output: {gives}.
- What decides: {decides}.

## Data
- Reader `{reader}`; {train} studies to learn from, {validation} to validate; {aside} studies and images set aside, with
  reasons in `quarantine.jsonl`.
- Data hash `{data_hash}`, split hash `{split_hash}`. {shared}

## Training
- {steps} of {planned} steps of {batch} studies; the kept weights are those after step {best_step}, with validation loss
  {best_loss}.
- Curves: `curves.png`, numbers: `history.json`.

## Metrics
{to_come}

## Intended use
Research on {research} like those it was trained on: the same kind of patients, devices and views, and {alike}.

## Limits
{limits}- Figures of one hospital do not carry over to another; measure on your own data first.
{notes}"""


def write_card(path: Path, task: Task, plan: Plan, standing: Standing, facts: Mapping[str, Any]) -> None:
    """Write the model card.

    Args:
        path: The file.
        task: The task with its trained model.
        plan: What was planned.
        standing: Where training ended.
        facts: ``train``, ``validation`` and ``aside`` (numbers of studies), ``data_hash``, ``split_hash``, ``notes``
            (sentences) and ``patients_in_several_splits`` (a number, as far as patients are known).

    Raises:
        ResourceError: The disk is full.
    """
    entries = (
        _of_model(task, plan, facts["validation"] > 0) | _of_data(task.config, facts) | _of_training(plan, standing)
    )
    write_text(path, _TEMPLATE.format(**entries, to_come=_TO_COME, notes=_listed(facts["notes"])))


def _of_model(task: Task, plan: Plan, validated: bool) -> dict[str, Any]:
    """Entries of the card on the task, the model, and what goes in and comes out."""
    purpose = purpose_of(task, validated)
    words = {name: value for name, value in vars(purpose).items() if isinstance(value, str)}
    return words | {
        "task": task.name,
        "parts": _listed(purpose.parts),
        "limits": _listed(purpose.limits),
        "parameters": sum(one.numel() for one in task.model.parameters()) / 1e6,
        "precision": plan.precision,
        "device": plan.device,
        "seed": task.config.seed,
    }


def _listed(sentences: Sequence[str]) -> str:
    return "".join(f"- {sentence}.\n" for sentence in sentences)


def _of_data(config: Config, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of the card on what the model learned from."""
    counts = {name: facts[name] for name in ("train", "validation", "aside")}
    hashes = {name: facts[name][:16] for name in ("data_hash", "split_hash")}
    return {"reader": config.data.reader, "shared": _shared(facts["patients_in_several_splits"]), **counts, **hashes}


def _of_training(plan: Plan, standing: Standing) -> dict[str, Any]:
    """Entries of the card on how it went."""
    return {
        "steps": standing.step,
        "planned": plan.steps,
        "batch": plan.batch,
        "best_step": standing.best_step or standing.step,
        "best_loss": "none" if standing.best_loss is None else f"{standing.best_loss:.4f}",
    }


def insert_metrics(path: Path, title: str, body: str) -> None:
    """Put the figures of an evaluation into the card; the rest of the card stays, word for word.

    Args:
        path: The card; one without the section gets it at its end.
        title: What was evaluated. Figures that stand under the same title are replaced, others stay.
        body: Markdown without headings.

    Raises:
        UsageError: There is no card, it cannot be read, or writing there is not allowed.
        ResourceError: The disk is full.
    """
    try:
        card = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError("the model card cannot be read", where=path.name) from error
    write_text(path, _with_metrics(card, title, body))


def _with_metrics(card: str, title: str, body: str) -> str:
    lines = card.split("\n")
    start = lines.index(_METRICS) if _METRICS in lines else len(lines)
    rest = lines[start + 1 :]
    end = next((place for place, line in enumerate(rest) if line.startswith(_SECTION)), len(rest))
    parts: dict[str, list[str]] = {"": []}  # what stands before the first title, and below each
    part = parts[""]
    for line in rest[:end]:
        if line.startswith(_EVALUATION):
            part = parts.setdefault(line.removeprefix(_EVALUATION), [])
        else:
            part.append(line)
    parts[title] = body.splitlines()
    said = "\n".join(line for line in parts.pop("") if line != _TO_COME).strip()
    blocks = [f"{_EVALUATION}{name}\n" + "\n".join(block).strip() for name, block in sorted(parts.items())]
    section = "\n\n".join([_METRICS, *([said] if said else []), *blocks])
    chapters = ["\n".join(lines[:start]).rstrip(), section, "\n".join(rest[end:])]
    return "\n\n".join(chapter for chapter in chapters if chapter).rstrip() + "\n"


def _shared(patients: int) -> str:
    if patients:
        return f"**{patients} patients lie in several splits**: figures on the test split are too good."
    return "No patient that the source names lies in two splits."
