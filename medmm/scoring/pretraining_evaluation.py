"""A pretrained model before any fine-tuning: findings by prompts, and studies and reports that find each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from medmm.config.schema import Config
from medmm.data.pairing import write_quarantine
from medmm.metrics import bootstrap
from medmm.metrics.classification import ClassificationScores
from medmm.metrics.retrieval import hits_at, permuted_recall, same_sets
from medmm.scoring import class_card, class_tables, outputs
from medmm.scoring.class_samples import ClassMaterial, gather
from medmm.scoring.drafting import DraftingModel, Progress, stack
from medmm.scoring.evaluation import QUARANTINE, Evaluation, Request, refuse_others, require_some
from medmm.scoring.images import Prepared, prepared
from medmm.scoring.markdown import Table, interval, number, table
from medmm.tasks.statements import target_sentences
from medmm.tasks.study_labels import LabelSource
from medmm.types import Status, Study

if TYPE_CHECKING:
    from medmm.tasks.pretraining import Pretraining

Floats = npt.NDArray[np.float64]
KS = (1, 5, 10)
WAYS = ("text_to_image", "image_to_text")
_EXPECTED = "studies with images, labels and a report"


@dataclass(frozen=True)
class _Found:
    """What the model makes of a split: probabilities ``[N, F]``, vectors of studies and of reports ``[N, D]``."""

    probabilities: Floats
    images: Floats
    texts: Floats


def evaluate_model(model: DraftingModel, request: Request, /) -> Evaluation:
    """Ask for every finding and search the split; as :class:`medmm.scoring.evaluation.EvaluateModel`.

    Raises:
        UsageError: ``request.others`` names a run: pretrained models are not compared yet.
    """
    refuse_others(request.others)
    manifest, config, split, out = request.manifest, request.config, request.split, request.out
    task = cast("Pretraining", model.task)  # type: ignore[attr-defined]
    material = _with_texts(gather(manifest, split, config, task.findings), config)
    outputs.begin(out)
    with prepared(material.studies, config, out, request.progress) as images:
        material.drop(images.unread)
        write_quarantine(out / QUARANTINE, images.rejections)
        require_some(material.samples, material.left_out, split, _EXPECTED)
        found = _look(task, material.studies, images, config, request.progress)
    scorer = ClassificationScores(
        found.probabilities, found.probabilities > 0.5, material.truth, material.known, material.names,  # noqa: PLR2004
        config.evaluate.min_positives, config.classification.specificity,
    )  # fmt: skip
    right = same_sets(_shown(material.studies, config, material.names))
    hits = _hits(found, right)
    test = {name: float(values[0]) for name, values in scorer.scores().items()}
    test |= {name: float(values.mean()) for name, values in hits.items()}
    patients = [one.patient_key for one in material.samples]
    card = class_card.describe(model, manifest, config, split, material, scorer, request.trained, request.device)
    metrics: dict[str, Any] = {
        "test": test,
        "ci95": _intervals(scorer, hits, patients, config),
        "baselines": {"permuted": {name: permuted_recall(right, k) for k in KS for name in _names(k)}},
        "card": card | _asked(task, card),
    }
    shown = (_summary(metrics), class_tables.class_table(metrics))
    declined = np.zeros(found.probabilities.shape, bool)
    rows = material.lines(found.probabilities, found.probabilities > 0.5, declined)  # noqa: PLR2004
    outputs.write_figures(out, metrics, rows, _page(metrics, shown))
    return Evaluation(metrics, shown, tuple(card["warnings"]), out, len(images.rejections))


def _asked(task: Pretraining, card: Mapping[str, Any]) -> dict[str, Any]:
    """What findings are asked for with, and how retrieval is counted."""
    counted = {
        "f1, sensitivity, specificity": "at one half",
        "recall": "medmm.metrics.retrieval; a hit is a study with the same findings on the same sides",
        "permuted": "exact mean over all permutations of the candidates",
    }
    said = {"present": list(task.prompts.present), "absent": list(task.prompts.absent)}
    return {"prompts": said, "implementations": card["implementations"] | counted}


def _with_texts(material: ClassMaterial, config: Config) -> ClassMaterial:
    """Only studies with a text to search by."""
    kept = [place for place, study in enumerate(material.studies) if _text(study, config)]
    material.left_out["section_missing"] += len(material.studies) - len(kept)
    material.studies = [material.studies[place] for place in kept]
    material.samples = [material.samples[place] for place in kept]
    return material


def _text(study: Study, config: Config) -> str:
    """The report as it was learned from, empty where there is none."""
    return "" if study.report is None else " ".join(text for _, text in target_sentences(study.report, config.target))


def _look(
    task: Pretraining, studies: Sequence[Study], images: Prepared, config: Config, progress: Progress | None
) -> _Found:
    size = config.score.batch_size
    vectors, texts = [], []
    for start in range(0, len(studies), size):
        some = studies[start : start + size]
        array, mask = stack([images.views(study.study_id) for study in some])
        device = task.model.log_scale.device
        vectors.append(task.embed_images(torch.from_numpy(array).to(device), torch.from_numpy(mask).to(device)))
        texts.append(task.embed_texts([_text(study, config) for study in some]))
        if progress is not None:
            progress(start + len(some), len(studies), "looking")
    seen = torch.cat(vectors)
    probabilities = task.probabilities(seen).double().cpu().numpy()
    return _Found(probabilities, seen.double().cpu().numpy(), torch.cat(texts).double().cpu().numpy())


def _shown(studies: Sequence[Study], config: Config, names: Sequence[str]) -> list[frozenset[str]]:
    """Findings with their sides, by which two studies are the same."""
    kind = {"auto": "both"}.get(config.classification.labels, config.classification.labels)
    source = LabelSource(config, kind)
    sets = []
    for study in studies:
        labels = source.read(study) or {}
        present = [(name, labels[name]) for name in names if name in labels and labels[name].status is Status.PRESENT]
        sets.append(frozenset(f"{name} {finding.laterality or ''}" for name, finding in present))
    return sets


def _names(k: int) -> tuple[str, ...]:
    """A recall's names: of both ways together, and of each."""
    return (f"recall_at_{k}", *(f"{way}_recall_at_{k}" for way in WAYS))


def _hits(found: _Found, right: npt.NDArray[np.bool_]) -> dict[str, Floats]:
    """``[N]`` of each recall: whether a study was found, of both ways together their mean."""
    likeness = found.texts @ found.images.T
    hits: dict[str, Floats] = {}
    for k in KS:
        forth, back = (hits_at(one, right, k).astype(np.float64) for one in (likeness, likeness.T))
        hits |= dict(zip(_names(k), ((forth + back) / 2, forth, back), strict=True))
    return hits


def _intervals(
    scorer: ClassificationScores, hits: Mapping[str, Floats], patients: Sequence[str], config: Config
) -> dict[str, list[float]]:
    """Percentile intervals over patients; recall resamples the queries, the archive stays."""
    number = config.evaluate.bootstrap
    if not number:
        return {}
    stacked = np.stack(list(hits.values()))

    def scores(counts: Floats) -> Mapping[str, Floats]:
        means = counts @ stacked.T / counts.sum(1, keepdims=True)
        recalls = {name: means[:, place] for place, name in enumerate(hits)}
        return dict(scorer.scores(counts)) | recalls

    drawn = bootstrap.replicates(scores, patients, number, config.seed)
    finite = {name: values for name, values in drawn.items() if np.isfinite(values).all()}
    return {name: list(bootstrap.percentiles(values)) for name, values in finite.items()}


def _summary(metrics: Mapping[str, Any]) -> Table:
    card, test, permuted = metrics["card"], metrics["test"], metrics["baselines"]["permuted"]
    counts = card["counts"]
    names = ["auroc_macro", "auprc_macro", *(name for k in KS for name in _names(k))]
    rows: list[tuple[str, ...]] = [
        (name, number(test.get(name)), interval(metrics["ci95"].get(name)), number(permuted.get(name)))
        for name in names
    ]
    title = f"{card['split']}: {counts['studies']} studies of {counts['patients']} patients"
    return title, ("metric", "model", "95% interval", "permuted pairs"), rows


def _page(metrics: Mapping[str, Any], shown: Sequence[Table]) -> str:
    card = metrics["card"]
    parts = [f"# Evaluation on {shown[0][0]}"]
    if card["warnings"]:
        parts.append("\n".join(f"- **Mind:** {sentence}" for sentence in card["warnings"]))
    parts += [table(shown[0][1], shown[0][2]), _READING]
    title, columns, rows = shown[1]
    parts += [f"## {title}", table(columns, rows), "## What the numbers rest on"]
    parts.append("\n".join(f"- {line}" for line in class_tables.basis(card)))
    return "\n\n".join(parts) + "\n"


_READING = (
    "Findings are told by prompts alone, without a labelled study (`auroc`, `auprc`). A hit of a search is a study with"
    " the same findings on the same sides, `recall_at_K` the mean of both ways; *permuted pairs* is what a search that"
    " knows nothing finds. Intervals resample patients; the archive that is searched stays as it is."
)
