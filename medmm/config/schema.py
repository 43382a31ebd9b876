"""Every setting of every stage. Frozen; an unknown key is an error; each field is documented right below itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medmm import registry
from medmm.config.evaluation import EvaluateConfig, LabelerConfig
from medmm.config.pretraining import FusionConfig, PretrainConfig, PromptsConfig, TextEncoderConfig
from medmm.config.probing import ProbeConfig
from medmm.config.segmentation import SegmentationConfig
from medmm.config.sources import ColumnsConfig, DataConfig, Fraction, PhantomConfig, Section, SplitConfig
from medmm.config.tasks import ClassificationConfig, ReliabilityConfig
from medmm.config.tune import TuneConfig
from medmm.config.vqa import VqaConfig

__all__ = ["ColumnsConfig", "Config", "DataConfig", "PhantomConfig", "SplitConfig"]

TargetSection = Literal["findings", "impression"]


class PreprocessConfig(Section):
    """From a file to the tensor that the encoder takes; travels with the weights as ``preprocess.json``."""

    size: int = Field(default=128, ge=32, le=1024)
    """Pixels along each side; images are stretched to a square by area averaging."""
    depth: int | None = Field(default=None, ge=8, le=512)
    """Slices that a volume is stretched to; None for projections."""
    window: Literal["auto"] = "auto"
    """The header's window where there is one, else the full range; MONOCHROME1 is inverted."""
    mean: float = 0.5
    """Subtracted from [0, 1] values."""
    std: float = Field(default=0.25, gt=0)
    """Divides what is left."""


class EncoderConfig(Section):
    """The MONAI image encoder."""

    name: Literal["resnet_lean", "densenet121", "resnet18", "resnet50", "vit"] = "resnet_lean"
    """``resnet_lean`` is MONAI's ResNet with a block a stage and narrow stages, for training without a GPU."""
    spatial_dims: Literal[2, 3] = 2
    """2 for projections and slices, 3 for volumes."""
    width: int = Field(default=256, ge=16)
    """Channels of an image token."""
    dropout: Fraction = 0.0
    weights: str | None = None
    """File of published weights for densenet121, resnet18 or resnet50 (docs/weights.md); None starts at random."""

    @model_validator(mode="after")
    def _weights_are_of_such_networks(self) -> EncoderConfig:
        if self.weights is not None and self.name not in ("densenet121", "resnet18", "resnet50"):
            raise ValueError(f"weights are for densenet121, resnet18 and resnet50, and name is {self.name}")
        return self


class FindingHeadConfig(Section):
    """Auxiliary head: each finding asks the image for itself, and what it sees enters the prefix."""

    weight: float = Field(default=1.0, ge=0)
    """Weight of its loss; 0 switches the head off."""
    image_share: Fraction = 0.3
    """Share of training studies whose image the language model reads beside their findings; at a draft it always does.
    More makes it know the training studies by heart."""
    names: tuple[str, ...] = ()
    """Findings; empty means those present in enough of the training reports."""
    minimum: int = Field(default=10, ge=1)
    """Training studies that must have a finding for it to be chosen."""


class DecoderConfig(Section):
    """The language model."""

    source: str | None = None
    """Local folder or hub id of a Hugging Face causal model; None trains a small one from scratch."""
    layers: int = Field(default=3, ge=1)
    width: int = Field(default=256, ge=32)
    heads: int = Field(default=4, ge=1)
    vocabulary: int = Field(default=2000, ge=100)
    """Size of the tokenizer learned from the training reports; these four only without ``source``."""
    dropout: Fraction = 0.1
    max_tokens: int = Field(default=160, ge=8)
    """Longest target; longer reports are cut there, and how many is said."""

    @model_validator(mode="after")
    def _heads_divide(self) -> DecoderConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self


class ModelConfig(Section):
    """Image encoder, finding head and language model."""

    encoder: EncoderConfig = EncoderConfig()
    findings: FindingHeadConfig = FindingHeadConfig()
    decoder: DecoderConfig = DecoderConfig()
    text: TextEncoderConfig = TextEncoderConfig()
    fusion: FusionConfig = FusionConfig()
    init: str | None = None
    """Run directory whose weights are taken where name and shape fit; None starts at random."""
    prefix_grid: int = Field(default=4, ge=1, le=32)
    """Most image tokens of a view along each axis that the language model reads; finer maps are averaged to it."""
    max_views: int = Field(default=2, ge=1, le=8)
    """Views of a study that enter together."""


class TargetConfig(Section):
    """What the model learns to write."""

    sections: tuple[TargetSection, ...] = Field(default=("findings", "impression"), min_length=1)
    """Sections of the target, in this order."""
    whole_text: bool = False
    """Take the whole text of notes that have no headings at all."""
    without_priors: bool = False
    """Leave comparisons with earlier studies (``stable``, ``new``, ``compared to``) out of what a model learns: one
    study does not show them. English, Spanish, German, French and Chinese; the references that ``evaluate`` compares
    with stay as they were written."""


class AugmentConfig(Section):
    """Changes of the training images; never a mirror image, which would swap the sides."""

    shift: Fraction = 0.05
    """Largest shift, as a share of the side."""
    rotate_deg: float = Field(default=5.0, ge=0, le=45)
    scale: Fraction = 0.08
    intensity: Fraction = 0.15
    """Largest change of brightness and of contrast."""


class TrainConfig(Section):
    """The loop."""

    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; None lets the plan choose from the data and the machine."""
    budget_minutes: float = Field(default=12.0, gt=0)
    """Training time that the plan aims at when ``steps`` is None."""
    batch_size: int = Field(default=32, ge=1)
    accumulate: int = Field(default=1, ge=1)
    """Batches summed before an optimizer step."""
    text_parts: int = Field(default=1, ge=1)
    """A batch's texts are cut by length into so many parts, and a step learns one of them, drawn at random; encoder and
    finding head learn from the whole batch. More than 1 gives the image more of the time."""
    lr: float = Field(default=1e-3, gt=0)
    """Highest learning rate of what starts at random."""
    lr_pretrained: float = Field(default=5e-5, gt=0)
    """Highest learning rate of a language model that came with weights."""
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: Fraction = 0.05
    """Share of the steps with a rising learning rate; a cosine falls after it."""
    clip_norm: float = Field(default=1.0, gt=0)
    adapt: str = Field(default="full", pattern=r"^(full|head|lora|last-[1-9]\d?)$")
    """``full``: everything learns; ``head``: neither the encoder's backbone nor a language model that came with
    weights; ``last-K``: their last K blocks do; ``lora``: of a language model that came with weights, low-rank
    additions to its attention do, beside all else. For a run that starts from weights."""
    lora_rank: int = Field(default=8, ge=1, le=256)
    """Rank of these additions; they learn at ``lr``."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of the weights; 0 switches it off. The average is what is evaluated and saved."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """``auto``: bf16 where the processor computes in it, else fp32."""
    validate_every: int | None = Field(default=None, ge=1)
    """Steps between validations; None: ten times a run."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many validations without a better loss; 0 never stops early."""
    save_every: int = Field(default=200, ge=1)
    """Steps between resumable states."""
    keep_states: int = Field(default=2, ge=1)
    workers: int | None = Field(default=None, ge=0)
    """Processes that read the images once, before training; None: one a core, 0: none but the training process."""
    augment: AugmentConfig = AugmentConfig()


class GenerateConfig(Section):
    """How a draft is written."""

    strategy: Literal["greedy", "beam", "sample"] = "greedy"
    beams: int = Field(default=3, ge=2)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=0.9, gt=0, le=1)
    min_tokens: int = Field(default=1, ge=1)
    max_tokens: int = Field(default=160, ge=1)
    length_penalty: float = 1.0
    repetition_penalty: float = Field(default=1.0, gt=0)
    no_repeat_ngram: int = Field(default=0, ge=0)
    cache: bool = True
    """Key-value cache; off only to check it."""
    batch_size: int = Field(default=32, ge=1)


class TrackingConfig(Section):
    """MLflow."""

    enabled: bool = True
    uri: str | None = None
    """Tracking store; None: ``MLFLOW_TRACKING_URI``, else ``sqlite:///mlruns.db`` in the working folder."""
    experiment: str = "medmm"
    log_model: bool = True
    """Store the model with its signature."""


class CacheConfig(Section):
    """Decoded images, kept for all runs of a user."""

    root: Path | None = None
    """Folder; None: ``$MEDMM_CACHE/images``, else ``~/.cache/medmm/images``."""
    limit_gb: float = Field(default=20.0, ge=0)
    """Most that it may hold; what was not used for the longest time goes first. 0: images stay in the run's folder."""


class ScoreConfig(Section):
    """Batch scoring."""

    batch_size: int = Field(default=16, ge=1)
    workers: int | None = Field(default=None, ge=0)
    """Reading processes; None: one a core."""
    questions: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """What a ``vqa`` run is asked of every study; the first one where a study is given without question."""


class Config(Section):
    """The whole config, saved resolved in every run directory as ``config.yaml``."""

    version: Literal[1] = 1
    """Format of this file."""
    task: Literal["report_gen", "classification", "vqa", "segmentation", "pretraining"] = "report_gen"
    seed: int = Field(default=0, ge=0)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """``auto``: cuda where there is one, else cpu."""
    data: DataConfig = DataConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    cache: CacheConfig = CacheConfig()
    target: TargetConfig = TargetConfig()
    classification: ClassificationConfig = ClassificationConfig()
    reliability: ReliabilityConfig = ReliabilityConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    vqa: VqaConfig = VqaConfig()
    pretrain: PretrainConfig = PretrainConfig()
    prompts: PromptsConfig = PromptsConfig()
    probe: ProbeConfig = ProbeConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    generate: GenerateConfig = GenerateConfig()
    labeler: LabelerConfig = LabelerConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    score: ScoreConfig = ScoreConfig()
    tracking: TrackingConfig = TrackingConfig()
    tune: TuneConfig = TuneConfig()

    @property
    def registered(self) -> str:
        """The name under which the registry has the task: a kind that works otherwise has an entry of its own."""
        return registry.KINDS.get((self.task, self.classification.kind), self.task)

    @model_validator(mode="after")
    def _encoder_takes_the_images(self) -> Config:
        encoder, depth = self.model.encoder, self.preprocess.depth
        if (encoder.spatial_dims == 3) != (depth is not None):
            raise ValueError(
                f"model.encoder.spatial_dims is {encoder.spatial_dims} and preprocess.depth {depth}: "
                "set a depth for volumes and none for projections"
            )
        sides = {"preprocess.size": self.preprocess.size} | ({} if depth is None else {"preprocess.depth": depth})
        for name, side in sides.items():
            if encoder.name == "vit" and side % 16:
                raise ValueError(f"{name} is {side}: the patches of vit need a multiple of 16")
            if encoder.name == "densenet121" and side < 32:
                raise ValueError(f"{name} is {side}: densenet121 halves it five times, so it needs at least 32")
        return self
