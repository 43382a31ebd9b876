"""What a pretrained run learns from few labelled studies: learners on its frozen vectors, beside zero-shot.

Shape legend: N studies, F findings, D channels of the shared space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medmm.errors import DataError
from medmm.metrics import bootstrap
from medmm.metrics.classification import ClassificationScores
from medmm.models.prompt_contexts import PromptContexts
from medmm.scoring.class_samples import ClassMaterial
from medmm.scoring.labelled import Archive, untrained
from medmm.tasks import few_shot
from medmm.tasks.few_shot import Bools, Floats, Tell, Told

ZERO, LINEAR, ADAPTER, PROMPTS, RANDOM = METHODS = (
    "zero_shot", "linear_probe", "adapter", "learned_prompts", "linear_probe_random_weights",
)  # fmt: skip
_MACRO = "auroc_macro"


@dataclass
class Material:
    """What is learned from and judged by.

    Attributes:
        names: The F findings.
        draws: Shots and seed to ``[N, F]``, which training studies teach which finding.
        train, val, test: Each as the run sees it, then as an untrained encoder does.
        patients: Of the test studies.
        counts: Studies of each split; of ``train`` those that were drawn.
        left_out: Sentences on what was left out.
    """

    names: tuple[str, ...]
    draws: dict[tuple[int, int], Bools]
    train: list[Told]
    val: list[Told]
    test: list[Told]
    patients: list[str]
    counts: dict[str, int]
    left_out: list[str] = field(default_factory=list)

    def of_shots(self, shots: int) -> list[int]:
        """Places of the findings that have so many shots."""
        drawn = self.draws[shots, 0].any(0)
        return np.flatnonzero(drawn).tolist()


def gather(archive: Archive) -> Material:
    """Look at validation, test, and at the training studies that are drawn.

    Raises:
        DataError: A split is missing, or no finding can be judged.
    """
    probe, config = archive.config.probe, archive.config
    train = archive.known("train")  # a split that is missing is said before anything is looked at
    archive.known("val")
    models = [archive.model, *([untrained(archive.model, config.seed)] if probe.random else [])]
    test, test_told = archive.told("test", models)
    val, val_told = archive.told("val", models)
    kept, said = _judged(test, val, config.evaluate.min_positives)
    draws, train_told = _drawn(archive, train, models, kept)
    material = Material(
        tuple(test.names[place] for place in kept), draws, train_told, [_columns(one, kept) for one in val_told],
        [_columns(one, kept) for one in test_told], [one.patient_key for one in test.samples],
        {"train": len(train_told[0].truth), "val": len(val.samples), "test": len(test.samples)}, said,
    )  # fmt: skip
    for shots in probe.shots:
        few = [name for place, name in enumerate(material.names) if place not in material.of_shots(shots)]
        if few:
            material.left_out.append(f"{shots} shots: too few training studies with or without {', '.join(few)}")
    return material


def _judged(test: ClassMaterial, val: ClassMaterial, least: int) -> tuple[list[int], list[str]]:
    """Findings that test can judge and validation can choose by, and a sentence on the others."""
    enough = np.ones(len(test.names), bool)
    for part, number in ((test, least), (val, 1)):
        present = (part.truth > 0) & part.known
        absent = (part.truth <= 0) & part.known
        enough &= (present.sum(0) >= number) & (absent.sum(0) >= number)
    others = [name for name, use in zip(test.names, enough, strict=True) if not use]
    if not enough.any():
        expected = f"a finding with {least} positives and negatives in test and one of each in val"
        fix = "Lower evaluate.min_positives, or give more studies."
        raise DataError("no finding can be judged", where="manifest", expected=expected, fix=fix)
    said = f"too few studies of test or val with or without {', '.join(others)}"
    return np.flatnonzero(enough).tolist(), [said] if others else []


def _drawn(
    archive: Archive, train: ClassMaterial, models: Sequence[Any], kept: Sequence[int]
) -> tuple[dict[tuple[int, int], Bools], list[Told]]:
    """Draw shots and look at them; where an image cannot be read, the next study of the draw takes its place."""
    probe, names = archive.config.probe, [train.names[place] for place in kept]
    while True:
        ids = [one.study_id for one in train.samples]
        truth, known = train.truth[:, kept], train.known[:, kept]
        draws = {
            (shots, seed): few_shot.draw(truth, known, ids, names, shots, archive.config.seed + seed)
            for shots in probe.shots
            for seed in range(probe.seeds)
        }
        used = np.any([one.any(1) for one in draws.values()], axis=0)
        if not used.any():
            expected = f"a finding with {probe.shots[0]} positives and negatives"
            raise DataError("no finding has enough training studies", where="probe.shots", expected=expected)
        some = [sample for sample, use in zip(train.samples, used, strict=True) if use]
        studies = [study for study, use in zip(train.studies, used, strict=True) if use]
        part = replace(train, studies=studies, samples=some, left_out=train.left_out.copy())
        vectors = archive.look(part, models)
        if len(part.samples) == len(some):
            told = [Told(one, truth[used], known[used]) for one in vectors]
            return {key: one[used] for key, one in draws.items()}, told
        read = {one.study_id for one in part.samples}
        gone = {one.study_id for one in some} - read
        train.drop({one.study_id: one.reason for one in archive.rejections if one.study_id in gone})


def _columns(told: Told, places: Sequence[int]) -> Told:
    return Told(told.vectors, told.truth[:, places], told.known[:, places])


def measure(archive: Archive, material: Material) -> dict[str, Any]:
    """Figures of each number of shots: its findings, and of each method AUROC over draws with intervals."""
    probe = archive.config.probe
    found: dict[str, Any] = {}
    for place, shots in enumerate(probe.shots):
        if archive.progress is not None:
            archive.progress(place, len(probe.shots), f"learning from {shots} shots")
        columns = material.of_shots(shots)
        if columns:
            names = [material.names[column] for column in columns]
            told = _logits(archive, material, shots, columns)
            found[str(shots)] = {"findings": names, **_figures(archive, material, told, columns)}
    return found


def _logits(archive: Archive, material: Material, shots: int, columns: Sequence[int]) -> dict[str, list[Floats]]:
    """Method to test logits ``[N, F]`` of each draw."""
    probe, task = archive.config.probe, archive.task
    names = [material.names[column] for column in columns]
    places = [task.findings.index(name) for name in names]
    asking = task.asking().double().cpu().numpy()[places]
    scale = float(task.model.scale.detach())
    zero = few_shot.by_prompts(asking, scale)
    val = [_columns(one, columns) for one in material.val]
    told: dict[str, list[Floats]] = {ZERO: [zero(material.test[0].vectors)]}
    for draw in range(probe.seeds):
        seed = archive.config.seed + draw
        drawn = material.draws[shots, draw][:, columns]
        rows = drawn.any(1)
        few = [Told(one.vectors[rows], one.truth[rows][:, columns], drawn[rows]) for one in material.train]
        adapters = {blend: few_shot.adapter(few[0], asking, scale, blend, probe, seed) for blend in probe.blends}
        words = [(task.prompts.names.get(name) or (name.replace("_", " "),))[0] for name in names]
        contexts = PromptContexts(task.model, task.tokenizer, words, probe.context, seed)
        methods: dict[str, Tell] = {
            LINEAR: _probe(few[0], val[0], probe.strengths, names),
            ADAPTER: few_shot.choose(adapters, val[0], names)[1],
            PROMPTS: few_shot.learned_prompts(few[0], contexts, scale, probe),
        }
        for method, tell in methods.items():
            told.setdefault(method, []).append(tell(material.test[0].vectors))
        if probe.random:
            tell = _probe(few[1], val[1], probe.strengths, names)
            told.setdefault(RANDOM, []).append(tell(material.test[1].vectors))
    return told


def _probe(few: Told, val: Told, strengths: Sequence[float], names: Sequence[str]) -> Tell:
    return few_shot.choose({c: few_shot.linear_probe(few, c) for c in strengths}, val, names)[1]


def _figures(
    archive: Archive, material: Material, told: Mapping[str, list[Floats]], columns: Sequence[int]
) -> dict[str, Any]:
    """Figures of each method, and differences to zero-shot and to random weights on the same resamples."""
    config, test = archive.config, _columns(material.test[0], columns)
    names = [material.names[column] for column in columns]
    scorers = {
        method: [_scorer(one, test, names, config.evaluate.min_positives) for one in logits]
        for method, logits in told.items()
    }

    def scores(counts: npt.NDArray[np.float64]) -> dict[str, Floats]:
        return {
            method: np.mean([one.scores(counts)[_MACRO] for one in several], axis=0)
            for method, several in scorers.items()
        }

    number = config.evaluate.bootstrap
    drawn = bootstrap.replicates(scores, material.patients, number, config.seed) if number else {}
    found: dict[str, Any] = {}
    for method, several in scorers.items():
        each = [one.scores() for one in several]
        macro = [float(one[_MACRO][0]) for one in each]
        own = {name: float(np.mean([one[f"auroc/{name}"][0] for one in each])) for name in names}
        spread = float(np.std(macro, ddof=1)) if len(macro) > 1 else None
        found[method] = {_MACRO: float(np.mean(macro)), "sd": spread, "draws": macro, "auroc": own}
        found[method]["ci95"] = _percentiles(drawn.get(method))
    return {"methods": found, "differences": _differences(found, drawn)}


def _scorer(logits: Floats, test: Told, names: Sequence[str], least: int) -> ClassificationScores:
    p = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return ClassificationScores(p, p > 0.5, test.truth, test.known, names, least)  # noqa: PLR2004


def _differences(found: Mapping[str, Any], drawn: Mapping[str, Floats]) -> dict[str, Any]:
    pairs = [(method, ZERO) for method in (LINEAR, ADAPTER, PROMPTS)] + [(LINEAR, RANDOM)]
    differences = {}
    for one, other in pairs:
        if other in found:
            both = drawn[one] - drawn[other] if drawn else None
            value = found[one][_MACRO] - found[other][_MACRO]
            differences[f"{one} - {other}"] = {"difference": value, "ci95": _percentiles(both)}
    return differences


def _percentiles(values: Floats | None) -> list[float] | None:
    known = None if values is None else values[np.isfinite(values)]
    return None if known is None or not len(known) else list(bootstrap.percentiles(known))
