"""A folder of studies through a model, unattended: predictions, quarantine and a manifest that explain each other."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import medmm
from medmm import registry
from medmm.config.schema import Config
from medmm.errors import CheckpointError, ExitCode, UsageError
from medmm.scoring import sources
from medmm.scoring.drafting import DraftingModel, Progress, adopt, require_task
from medmm.scoring.ledger import Ledger, check_folder
from medmm.scoring.stream import Stream
from medmm.types import Rejection

_PACKAGES = ("torch", "monai", "transformers", "numpy", "pydicom", "imagecodecs", "opencv-python-headless", "nibabel")


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What scoring a folder came to.

    Attributes:
        out: Folder with ``predictions.jsonl``, ``quarantine.jsonl`` and ``manifest.json``.
        scored: Studies scored by this call.
        resumed: Studies that an earlier call had scored.
        quarantined: Studies set aside by this call.
        images_left_out: Unreadable images of studies that were scored with their other ones.
        reasons: Reason code to number of studies set aside.
        seconds: Time that this call took, loading the model apart.
        repaired: Torn or spoilt lines of an earlier call that were taken out.
    """

    out: Path
    scored: int
    resumed: int
    quarantined: int
    images_left_out: int
    reasons: Mapping[str, int]
    seconds: float
    repaired: int = 0

    @property
    def exit_code(self) -> ExitCode:
        """10 where studies were set aside, else 0."""
        return ExitCode.QUARANTINED if self.quarantined else ExitCode.DONE


def survey(input: Path) -> dict[str, int]:
    """Count what :func:`score_folder` would score, without reading a pixel.

    Args:
        input: Folder of studies, or a single file.

    Returns:
        ``studies``, ``images``, ``set_aside`` (what can be seen to be broken without reading pixels) and
        ``files_left_out``.

    Raises:
        DataError: There is no such folder, or no image in it.
    """
    listing = sources.list_files(Path(input))
    counts = Counter({"studies": 0, "images": 0, "set_aside": 0, "files_left_out": listing.left_out})
    for found in sources.studies(listing):
        if isinstance(found, Rejection):
            counts["set_aside"] += 1
        else:
            counts["studies"] += 1
            counts["images"] += len(found.images)
    return dict(counts)


def score_folder(
    input: Path,
    run: Path,
    out: Path,
    *,
    config: Config | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
) -> ScoreSummary:
    """Draft a report for every study in a folder.

    DICOM files are grouped by Study Instance UID; where there is none, each PNG, JPEG or NIfTI file is a study of its
    own. No reports are needed.

    Args:
        input: Folder of studies, or a single file.
        run: Run directory.
        out: Folder to write to.
        config: The run's config with settings of this call merged into it; None takes the run's own.
        device: ``auto``, ``cpu`` or ``cuda[:N]``.
        resume: Go on with ``out``: what was scored is skipped, what was set aside is tried again.
        progress: Called as ``progress(done, total, note)``.

    Raises:
        DataError: There is no such folder, or no image in it.
        UsageError: ``out`` holds something and ``resume`` is off, or another process is scoring into it.
        CheckpointError: The run cannot be loaded, or ``out`` holds the scores of another model or other settings.
        ResourceError: Out of disk or memory.
    """
    input, run, out = Path(input), Path(run), Path(out)
    check_folder(out, resume=resume)
    listing = sources.list_files(input, apart_from=out)  # before the model, which takes long to load
    from medmm.training import run as runs

    model = runs.load(run, device=device)
    config = config or model.config
    return score_listing(listing, adopt(model, config), out, config, resume=resume, progress=progress)


def score_listing(
    listing: sources.Listing,
    model: DraftingModel,
    out: Path,
    config: Config,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> ScoreSummary:
    """Do what :func:`score_folder` does with files that are listed and a model that is loaded already."""
    started = time.monotonic()
    require_task(model.config, config)
    _require_questions(config)
    header = {**_header(model, config), "input_hash": listing.hash()}
    with Ledger.open(out, identity(model, config), header, resume=resume) as ledger:
        kind: type[Stream] = registry.resolve("stream", config.task) if config.task in registry.STREAMS else Stream
        stream = kind(listing, model, ledger, config.score, progress)
        status = "interrupted"
        try:
            stream.run()
            ledger.settle()
            status = "done"
        finally:
            seconds = time.monotonic() - started
            ledger.write_manifest(status, {"seconds": round(seconds, 3), "counts": stream.counts()})
        tally = stream.tally
        return ScoreSummary(
            out=out,
            scored=tally["scored"],
            resumed=tally["skipped"],
            quarantined=tally["quarantined"],
            images_left_out=tally["images_left_out"],
            reasons=dict(stream.reasons),
            seconds=seconds,
            repaired=ledger.repaired,
        )


def identity(model: DraftingModel, config: Config) -> dict[str, str]:
    """What must be the same when scores are gone on with: weights, preprocessing, way of writing, seed of draws.

    And what is declined, and the words that findings are asked with, where they are not as the settings begin.
    """
    weights = model.provenance.get("weights_sha256")
    if not weights:
        raise CheckpointError("the model does not say which weights it holds", expected="weights_sha256")
    generate = json.dumps(config.generate.model_dump(mode="json", exclude={"batch_size", "cache"}), sort_keys=True)
    found = {
        "weights": str(weights),
        "preprocess": model.preprocess_hash,
        "generate": hashlib.sha256(generate.encode()).hexdigest(),
    }
    if config.score.questions:
        found["questions"] = hashlib.sha256(json.dumps(config.score.questions).encode()).hexdigest()
    own = Config()
    for name in ("reliability", "prompts"):
        part = getattr(config, name)
        if part != getattr(own, name):
            said = json.dumps(part.model_dump(mode="json"), sort_keys=True)
            found[name] = hashlib.sha256(said.encode()).hexdigest()
    if config.generate.strategy == "sample":  # the only way of writing that draws
        found["seed"] = str(config.seed)
    return found


def _require_questions(config: Config) -> None:
    """A run that answers questions needs some, and no other run may be asked any.

    Raises:
        UsageError: They do not fit the run, or one of them says nothing.
    """
    answers, asked = config.task == "vqa", config.score.questions
    if bool(asked) != answers:
        got = f"{len(asked)} questions for a run of --task {config.task}"
        fix = """Ask some: 'score.questions=["Is there a nodule?"]'.""" if answers else "Leave score.questions out."
        raise UsageError("questions are for runs that answer them", where="score.questions", got=got, fix=fix)
    if any(not question.strip() for question in asked):
        raise UsageError("a question that says nothing", where="score.questions", expected="sentences")


def _header(model: DraftingModel, config: Config) -> dict[str, Any]:
    return {
        "medmm": medmm.__version__,
        "versions": _versions(),
        "run": dict(model.provenance),
        "device": str(getattr(model, "device", config.device)),
        "generate": config.generate.model_dump(mode="json"),
    }


def _versions() -> dict[str, str]:
    """Versions of what has a say in a prediction; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
