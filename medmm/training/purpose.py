"""What a run of each task is for, in the words of its model card: what goes in, comes out, decides, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medmm.config.schema import Config
from medmm.tasks.base import Task

if TYPE_CHECKING:
    from medmm.tasks.classification import Classification
    from medmm.tasks.regression import Regression
    from medmm.tasks.segmentation import Segmentation

_VIEWS = (
    "images `[B, V, 1, {axes}]`, float32 in [0, 1]; `model/preprocess.json` says how they are made, and is checked on"
    " loading"
)
_UNKNOWN = "Findings outside the list, rare ones, other body parts and other modalities are not recognised as such"
_NO_PRIORS = "it knows no earlier study of the patient"
_STRANGERS = "a study unlike those of training is declined as a whole (with 20 validation studies and more)"
_BEST = {"f1": "F1", "youden": "sum of sensitivity and specificity"}
_LABELS = {
    "given": "labels that the data bring",
    "report": "what the labeler reads in the reports, its mistakes included",
    "both": "labels that the data bring, and what the labeler reads in the reports where they bring none",
}


@dataclass(frozen=True)
class Purpose:
    """What a model card says that depends on the task; all without the full stop.

    Attributes:
        outputs: What the model gives out, as the subject of a sentence, in the plural.
        about: What is learned.
        parts: What the model is made of, a line each.
        takes: What goes in.
        gives: What comes out.
        decides: How a probability becomes a word, a mark or a mask.
        research: What it is for research on, followed by "like those it was trained on".
        alike: What must be alike beside patients, devices and views.
        limits: Where it must not be trusted, a sentence each.
    """

    outputs: str
    about: str
    parts: tuple[str, ...]
    takes: str
    gives: str
    decides: str
    research: str
    alike: str
    limits: tuple[str, ...]


def purpose_of(task: Task, validated: bool) -> Purpose:
    """What the card of a run says of its task.

    Args:
        task: The task with its trained model.
        validated: Whether there were studies to choose on.
    """
    return _OF[task.name](task, validated)


def _reports(task: Task, validated: bool) -> Purpose:
    config, names = task.config, ", ".join(task.finding_names)
    sections = " and ".join(config.target.sections)
    whole = ", or the whole text where none is found" if config.target.whole_text else ""
    known = "a finding is called present from a threshold of its own on" + _chosen(validated)
    writes = f"writes the text ({config.generate.strategy})"
    calls = f"{known}; the language model reads these calls beside the image and {writes}"
    return Purpose(
        outputs="Drafts",
        about=f"Target: {sections}{whole}",
        parts=(_encoder(config), _writer(config), f"Finding head: {names or 'none'}"),
        takes=_views(config),
        gives=f"a text with {sections}" + ("; a probability for each finding of the head" if names else ""),
        decides=calls if names else f"the language model {writes}",
        research="drafting reports from images",
        alike="style of reporting",
        limits=(
            f"It says what its training reports say, their omissions and habits included; {_NO_PRIORS}",
            _UNKNOWN,
        ),
    )  # fmt: skip


def _classes(task: Classification, validated: bool) -> Purpose:
    config, wanted = task.config, task.config.classification
    names = ", ".join(task.finding_names)
    if task.single:
        about, decides = (
            "Which one of several classes a study shows",
            "the class with the highest probability is called",
        )
    else:
        about, best = "Which classes a study shows", _BEST.get(wanted.threshold)
        on = "probability of one half on" if best is None else "threshold of its own on" + _chosen(validated, best)
        decides = f"a class is called present from a {on}"
    wrong = config.reliability.most_wrong
    if wrong:
        decides += f"; calls too unsure for at most {wrong:.0%} of them to be wrong are left uncertain"
    return Purpose(
        outputs="Findings",
        about=f"{about}, learned from {_LABELS[task.source.kind]}",
        parts=(_encoder(config), f"Classes: {names}"),
        takes=_views(config),
        gives="a status and a calibrated probability for each class, and a side where sides were learned",
        decides=f"{decides}; {_STRANGERS}",
        research="telling such classes from images",
        alike="way of labelling",
        limits=(
            f"It knows what its labels say, their mistakes and gaps included; {_NO_PRIORS}",
            "What is not among the classes is not looked for: that none is called does not make a study normal",
        ),
    )


def _numbers(task: Regression, validated: bool) -> Purpose:
    config, share = task.config, task.config.reliability.coverage
    fitted = f"intervals hold the truth of {share:.0%} of such studies as validation was done on"
    return Purpose(
        outputs="Numbers",
        about="How large something is, learned from numbers that the data bring",
        parts=(_encoder(config), f"Numbers: {', '.join(task.targets)}"),
        takes=_views(config),
        gives="a number in the unit of the data for each, with an interval",
        decides=f"{fitted if validated else 'nothing was validated, so there are no intervals'}; {_STRANGERS}",
        research="estimating such numbers from images",
        alike="way of measuring",
        limits=(
            "It knows what its numbers say, their errors included; beyond the range of training it cannot be trusted",
            "The interval holds for studies on the whole, not for every kind of study",
        ),
    )


def _outlines(task: Segmentation, validated: bool) -> Purpose:
    config, code, grid = task.config, task.code, task.grid
    wanted, dims = config.segmentation, 3 if task.grid.volumes else 2
    own = {"unet": f"U-Net on the stages of {config.model.encoder.name}", "dynunet": "DynUNet of MONAI",
           "swin_unetr": "SwinUNETR of MONAI"}  # fmt: skip
    kind = "which exclude each other" if code.exclusive else "which may overlap"
    decides = "each class whose probability is above one half"
    if code.exclusive:
        decides = "the class, or the background, with the highest probability"
    place = "voxel" if dims == 3 else "pixel"  # noqa: PLR2004
    tidied = "; the largest part is kept, and holes are filled, where that was better on validation"
    lesions = (f"Reported by size, beside the mean: {', '.join(task.lesions)}",) if task.lesions else ()
    return Purpose(
        outputs="Outlines",
        about="Where structures lie in an image, learned from masks",
        parts=(f"Network: {own[wanted.network]}, {dims}D", f"Structures, {kind}: {', '.join(code.classes)}", *lesions),
        takes=f"{grid.words()}; `model/task.json` says how they are made",
        gives="a mask of each structure on the image's own grid",
        decides=f"a {place} belongs to {decides}" + tidied * (validated and wanted.postprocess),
        research="outlining such structures in images",
        alike="way of outlining",
        limits=(
            "It outlines as its training masks were drawn, their conventions and mistakes included",
            "Nothing else is outlined, and nothing is declined: other body parts and modalities get masks too",
        ),
    )  # fmt: skip


def _answers(task: Any, validated: bool) -> Purpose:
    config = task.config
    known = f"{len(task.answers)} answers that it can call" if task.answers else "no answer that it can call"
    worth = "; such an answer counts by how often it was right on validation" if validated else ""
    return Purpose(
        outputs="Answers",
        about="Answers to questions on a study, learned from questions with answers",
        parts=(_encoder(config), _writer(config), f"Answer head: {known}"),
        takes=f"{_views(config)}; a question of up to {config.vqa.question_tokens} tokens",
        gives="an answer in words, with a calibrated probability that it is right",
        decides=f"the head's likeliest answer, or what the language model writes where it knows none{worth}",
        research="answering questions on images",
        alike="kind of questions",
        limits=(
            f"It answers as its training answers do, their mistakes included; {_NO_PRIORS}",
            "A question that the image cannot answer gets one all the same, unless reliability.most_wrong declines it",
        ),
    )


def _likeness(task: Task, validated: bool) -> Purpose:
    config = task.config
    return Purpose(
        outputs="Embeddings",
        about="Which image and which report belong together, learned from pairs of both",
        parts=(_encoder(config), f"Findings told by prompts: {', '.join(task.finding_names) or 'none'}"),
        takes=f"{_views(config)}; texts",
        gives="a place in one space for each study and text, and a probability for each finding by prompts",
        decides="a finding is present where the image is nearer to the prompts that say so",
        research="finding like studies, and beginning other tasks, with images",
        alike="style of reporting",
        limits=("It knows what its training reports say, their omissions and habits included", _UNKNOWN),
    )


def _chosen(validated: bool, best: str | None = None) -> str:
    """Where thresholds come from."""
    if validated:
        return f", chosen on validation{best and f' for the best {best}' or ''} (`history.json`, `settled`)"
    return ", one half, as there was no validation to choose it on"


def _encoder(config: Config) -> str:
    shape, encoder = " x ".join(map(str, _sides(config))), config.model.encoder
    views = f"up to {config.model.max_views} views a study"
    return f"Image encoder: {encoder.name}, {encoder.spatial_dims}D, {shape} pixels, {views}"


def _writer(config: Config) -> str:
    decoder = config.model.decoder
    own = f"GPT-2 of {decoder.layers} layers, {decoder.width} wide, from scratch"
    return f"Language model: {own if decoder.source is None else 'a pretrained causal model'}"


def _views(config: Config) -> str:
    return _VIEWS.format(axes=", ".join(map(str, _sides(config))))


def _sides(config: Config) -> Sequence[int]:
    prep = config.preprocess
    return [prep.size, prep.size] if prep.depth is None else [prep.depth, prep.size, prep.size]


_OF: Mapping[str, Callable[[Any, bool], Purpose]] = {
    "report_gen": _reports,
    "classification": _classes,
    "regression": _numbers,
    "segmentation": _outlines,
    "vqa": _answers,
    "pretraining": _likeness,
}
