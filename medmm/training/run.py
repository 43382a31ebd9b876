"""From a manifest to a run directory, and back to a model that can be asked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from medmm import registry
from medmm.config.privacy import deidentified
from medmm.config.schema import Config
from medmm.data.manifest import Manifest
from medmm.errors import CheckpointError
from medmm.io.atomic import write_json
from medmm.tasks.base import Task
from medmm.tracking import NoTracker, Tracker
from medmm.training.beginning import begin_from, make_whole
from medmm.training.card import write_card
from medmm.training.case_plan import with_planned_batch
from medmm.training.checkpoint import POINTER, Standing
from medmm.training.curves import draw_curves
from medmm.training.loaded import LoadedModel, load, save_model
from medmm.training.loop import Hooks, Loop
from medmm.training.material import Material, gather
from medmm.training.material import usable as usable_studies
from medmm.training.plan import Plan, choose_device, plan, processes, rank
from medmm.training.portable import portable
from medmm.training.provenance import RECORD, config_hash, describe_run, read_record, write_record

__all__ = ["LoadedModel", "RunResult", "agreed", "finetune", "load", "plan_for", "usable"]
_PATIENCE = timedelta(days=1)  # of processes for the one that reads the images; where one dies, torchrun ends all


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        out: Run directory.
        steps: Optimizer steps done.
        minutes: Time spent training, over all parts of the run.
        best_loss: Validation loss of the weights kept; the last training loss where nothing was validated.
        best_step: Steps after which they stood.
        aside: Reason to how many studies and images were set aside.
        validated: Whether ``best_loss`` is that of a validation.
        learned: Parameters that learned.
    """

    out: Path
    steps: int
    minutes: float
    best_loss: float
    best_step: int
    aside: Mapping[str, int]
    validated: bool
    learned: int = 0


def finetune(
    config: Config,
    manifest: Manifest,
    out: Path,
    resume: bool = False,
    tracker: Tracker | None = None,
    progress: Callable[..., None] | None = None,
    chosen: Plan | None = None,
) -> RunResult:
    """Train a task on the manifest's training split and write a run directory.

    Args:
        config: The whole config; ``out/config.yaml`` holds it (see ``records.claim``).
        manifest: Studies with their split.
        out: Run directory.
        resume: Go on from the last state in ``out``, if there is one.
        tracker: Where numbers go.
        progress: Called as ``progress(done, total, note)``.
        chosen: What :func:`plan_for` gave; asked for if None.

    Raises:
        DataError: No study can be learned from.
        TrainingError: The loss is no finite number.
        CheckpointError: The state to resume from is refused, or weights or a language model cannot be loaded.
        ResourceError: Out of disk or memory.
    """
    tracker = tracker or NoTracker()
    chosen = chosen or plan_for(config, manifest, out, resume)
    torch.set_num_threads(chosen.threads)
    config = with_planned_batch(config, chosen)
    task, material = _prepare(config, manifest, out, chosen, resume, progress)
    goes_on = resume and (out / POINTER).is_file()
    record = _record(config, manifest, chosen, material, tracker.run_id) | begin_from(task, config, out, goes_on)
    if _is_main():
        _announce(config, out, chosen, material, record, tracker)
    loop = _loop(config, manifest, out, chosen, task, material, Hooks(progress, tracker.log_metrics))
    standing = loop.run(resume)
    if _is_main():
        settled = task.settle(loop.validation_batches) if material.validation else {}
        _finish(task, config, out, chosen, standing, material, record, settled, tracker)
    return replace(_result(out, standing, material), learned=record["parameters"]["learned"])


def _prepare(
    config: Config, manifest: Manifest, out: Path, chosen: Plan, resume: bool, progress: Callable[..., None] | None
) -> tuple[Task, Material]:
    """Make the task and its samples; one process of many reads the images, the others find them read."""
    kind: type[Task] = registry.resolve("task", config.registered)
    known = kind.load(out / "model", config) if resume and (out / POINTER).is_file() else None

    def build(studies: Any) -> Task:
        torch.manual_seed(config.seed)
        task = kind.build(config, studies)
        if _is_main():
            task.save(out / "model")
        return task

    with _state(chosen.device).main_process_first():
        gatherer = registry.resolve("gatherer", config.task) if config.task in registry.GATHERERS else gather
        task, material = gatherer(manifest, config, chosen, out / "cache", known or build, progress)
    return task, material


def _record(config: Config, manifest: Manifest, chosen: Plan, material: Material, run_id: str | None) -> dict[str, Any]:
    """What ``run.json`` says of a run that has begun."""
    record = describe_run(config, chosen.device, manifest.data_hash, manifest.split_hash, run_id)
    record |= {"plan": chosen.as_dict(), "finished": False, **material.counts()}
    return record | {"patients_in_several_splits": manifest.counts()["patients_in_several_splits"]}


def _announce(
    config: Config, out: Path, chosen: Plan, material: Material, record: dict[str, Any], tracker: Tracker
) -> None:
    """Say on disk and to the tracker what is going to be trained, and on what."""
    if tracker.run_id is None or read_record(out).get("mlflow_run_id") != tracker.run_id:
        tracker.log_params({**deidentified(config), "plan": chosen.as_dict()})  # MLflow takes them but once
    write_record(out, record)
    material.write_rejections(out / "quarantine.jsonl")
    tracker.log_tags({key: record[key] for key in ("data_hash", "split_hash")})


def _loop(
    config: Config, manifest: Manifest, out: Path, chosen: Plan, task: Task, material: Material, hooks: Hooks
) -> Loop:
    """The loop over the samples; only those of training are augmented."""
    train, validation = material.datasets(task, config)
    return Loop(task, train, validation, config, chosen, out, _mark(config, manifest, material, chosen), hooks)


def _result(out: Path, standing: Standing, material: Material) -> RunResult:
    """How the run ended; where nothing was validated the last weights are those that were kept."""
    return RunResult(
        out=out,
        steps=standing.step,
        minutes=standing.seconds / 60,
        best_loss=standing.best_loss if standing.best_loss is not None else standing.train[-1]["loss"],
        best_step=standing.best_step or standing.step,
        aside=Counter(str(one.reason) for one in material.rejections),
        validated=standing.best_loss is not None,
    )


def _finish(
    task: Task,
    config: Config,
    out: Path,
    chosen: Plan,
    standing: Standing,
    material: Material,
    record: dict[str, Any],
    settled: Mapping[str, float],
    tracker: Tracker,
) -> None:
    """Write what the run is judged and used by."""
    make_whole(task, config)
    save_model(task, out / "model")
    keys = ("step", "best_step", "best_loss", "train", "validation")
    history = {"format": 1, **{key: asdict(standing)[key] for key in keys}, "settled": dict(settled)}
    write_json(out / "history.json", history)
    draw_curves(standing, out / "curves.png")
    facts = material.counts() | {
        "data_hash": record["data_hash"],
        "split_hash": record["split_hash"],
        "patients_in_several_splits": record["patients_in_several_splits"],
        "notes": material.notes,
    }
    write_card(out / "MODEL_CARD.md", task, chosen, standing, facts)
    write_record(out, record | {"finished": True, "steps": standing.step, "best_step": standing.best_step})
    tracker.log_artifact(out / "curves.png")
    tracker.log_artifact(out / "MODEL_CARD.md")
    if config.tracking.log_model:
        with portable(out) as folder:
            tracker.log_model(folder)


def plan_for(config: Config, manifest: Manifest, out: Path, resume: bool = False) -> Plan:
    """The plan of a run, the same for all its processes; one that goes on keeps its own, but for the device.

    Raises:
        UsageError: A GPU is asked for and there is none.
        CheckpointError: The run was started with another number of processes, or its plan is of another version.
    """
    found = read_record(out).get("plan") if resume else None
    if not found:
        fresh: Plan = agreed(fresh_plan(config, manifest) if _is_main() else None, config.device)
        return fresh
    stored = _stored_plan(found)
    if stored.processes != processes():
        raise CheckpointError(
            "the run was started with another number of processes",
            where="--resume",
            got=processes(),
            expected=stored.processes,
            fix=f"Use torchrun --nproc_per_node {stored.processes}, or begin in another --out.",
        )
    return replace(stored, device=choose_device(config.device), machine_gb=None)


def fresh_plan(config: Config, manifest: Manifest | None, number: int = 0) -> Plan:
    """The plan of a run that begins, as the task has it.

    Args:
        config: The config.
        manifest: The data; None for phantom studies that are yet to be made.
        number: How many training studies these will be.
    """
    if config.task in registry.PLANNERS:
        found: Plan = registry.resolve("planner", config.task)(config, manifest, number=number)
        return found
    return plan(config, number if manifest is None else usable(config, manifest))


def _stored_plan(found: Any) -> Plan:
    """The plan that ``run.json`` holds; another version may have written other entries."""
    known = {one.name: one.default is MISSING for one in fields(Plan)}  # name to whether it must be there
    entries = dict(found) if isinstance(found, Mapping) else {}
    unknown = [f"unknown {name}" for name in sorted(entries.keys() - known.keys())]
    missing = [f"missing {name}" for name, required in known.items() if required and name not in entries]
    if not unknown and not missing:
        return Plan(**entries)
    raise CheckpointError(
        "the run's plan was made by another version of medmm",
        where=f"{RECORD}, plan",
        got=", ".join(unknown + missing),
        expected=f"the entries {', '.join(known)}",
        fix=f"Go on with the version that {RECORD} names under versions, or begin in another --out.",
    )


def usable(config: Config, manifest: Manifest) -> int:
    """Number of training studies that have images and a target."""
    return sum(1 for _ in usable_studies(manifest, "train", config))


def agreed(value: Any, device: str) -> Any:
    """What the first of the processes says; the others wait for it, and what they say does not count."""
    if processes() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    _state(choose_device(device))
    said = [value]
    broadcast_object_list(said)
    return said[0]


def _state(device: str) -> Any:
    """Accelerate's view of the processes, who wait long: one of them reads all images."""
    from accelerate import PartialState

    return PartialState(cpu=device == "cpu", **({"timeout": _PATIENCE} if processes() > 1 else {}))


def _mark(config: Config, manifest: Manifest, material: Material, chosen: Plan) -> str:
    """Hash of all that must be the same when a run goes on."""
    parts = [config_hash(config), manifest.data_hash, manifest.split_hash, chosen.shaping(), material.counts()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_main() -> bool:
    return rank() == 0
