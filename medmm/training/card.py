"""``MODEL_CARD.md``: what a run is for, what it learned from, where it must not be trusted (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medmm.config.schema import Config
from medmm.errors import UsageError
from medmm.io.atomic import write_text
from medmm.training.checkpoint import Standing
from medmm.training.plan import Plan

NAME = "MODEL_CARD.md"
_METRICS, _SECTION, _EVALUATION = "## Metrics", "## ", "### "
_TO_COME = "To come: `medmm evaluate --run` on this directory writes them here, with baselines and intervals."
_TEMPLATE = """\
# Model card: {task}

**Not a medical device.** Drafts are for research and for review by a radiologist; none may enter a record unread.

## Model
- Task: {task}. {about}
- Image encoder: {encoder}, {dims}D, {shape} pixels, up to {views} views a study.
- Language model: {decoder}.
- Finding head: {head}.
- {parameters:.1f} M parameters, trained in {precision} on {device}, seed {seed}.

## Input and output
- Input: images `[B, V, 1, {shape_axes}]`, float32 in [0, 1]; `model/preprocess.json` says how they are made, and is
  checked on loading.
- Output: {output}.

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
Research on drafting reports from images like those it was trained on: the same kind of patients, devices, views and
style of reporting.

## Limits
- It says what its training reports say, their omissions and habits included; it knows no earlier study of the patient.
- Findings outside the list above, rare ones, other body parts and other modalities are not recognised as such.
- Figures of one hospital do not carry over to another; measure on your own data first.
{notes}"""


def write_card(path: Path, config: Config, plan: Plan, standing: Standing, facts: Mapping[str, Any]) -> None:
    """Write the model card.

    Args:
        path: The file.
        config: The run's config.
        plan: What was planned.
        standing: Where training ended.
        facts: ``train``, ``validation`` and ``aside`` (numbers of studies), ``data_hash``, ``split_hash``, ``findings``
            (names), ``notes`` (sentences) and ``patients_in_several_splits`` (a number, as far as patients are known).

    Raises:
        ResourceError: The disk is full.
    """
    entries = _of_model(config, plan, facts["findings"]) | _of_data(config, facts) | _of_training(plan, standing)
    notes = "".join(f"- {note}.\n" for note in facts["notes"])
    write_text(path, _TEMPLATE.format(**entries, to_come=_TO_COME, notes=notes))


def _of_model(config: Config, plan: Plan, findings: Sequence[str]) -> dict[str, Any]:
    """Entries of the card on the task, the model, and what goes in and comes out."""
    prep, encoder, decoder = config.preprocess, config.model.encoder, config.model.decoder
    sides = [prep.size, prep.size] if prep.depth is None else [prep.depth, prep.size, prep.size]
    sections = " and ".join(config.target.sections)
    whole = ", or the whole text where none is found" if config.target.whole_text else ""
    from_scratch = f"GPT-2 of {decoder.layers} layers, {decoder.width} wide, from scratch"
    return {
        "task": config.task,
        "about": f"Target: {sections}{whole}.",
        "encoder": encoder.name,
        "dims": encoder.spatial_dims,
        "shape": " x ".join(map(str, sides)),
        "shape_axes": ", ".join(map(str, sides)),
        "views": config.model.max_views,
        "decoder": from_scratch if decoder.source is None else "a pretrained causal model",
        "head": ", ".join(findings) or "none",
        "parameters": plan.parameters_m,
        "precision": plan.precision,
        "device": plan.device,
        "seed": config.seed,
        "output": f"a text with {sections}" + ("; a probability for each finding of the head" if findings else ""),
    }


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
