"""The settings tree: every default, with its unit and range."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from artsim import UserError

Level = Literal["moderate", "radical"]
LEVELS: tuple[Level, ...] = get_args(Level)
Configuration = Literal["a70", "b80"]
Tier = Literal["any", "other_genre", "same_genre", "same_artist", "nearest", "same_approach", "original"]
TIERS: tuple[Tier, ...] = get_args(Tier)
Choice = Literal[
    "full",
    "triplet_loss",
    "no_hard_negatives",
    "no_group_mask",
    "one_way",
    "fixed_temperature",
    "radical_only",
    "mean_kept",
    "random_start",
    "pooled_head",
    "thesis",
]
CHOICES: tuple[Choice, ...] = get_args(Choice)
APPROACHES: dict[Level, tuple[str, ...]] = {
    "moderate": ("palette", "light", "technique", "weather", "details"),
    "radical": (
        "historical_transposition",
        "cultural_reinterpretation",
        "surreal_deformation",
        "medium_change",
        "emotional_reframing",
        "mythological_reinvention",
        "technological_aesthetics",
        "scale_change",
        "symbolic_transformation",
        "organic_reimagining",
        "scientific_visualisation",
    ),
}
"""The approaches of each level, in the order in which they are dealt out (thesis, prompts)."""
Column = Literal["uri", "id", "genre", "artist", "title", "subset"]
EmbeddingTable = Literal[
    "embeddings",
    "generated_embeddings",
    "caption_embeddings",
    "generated_caption_embeddings",
    "edited_embeddings",
    "edited_version_embeddings",
]
EditedTable = Literal["edited", "edited_versions"]
STRENGTHS: dict[str, tuple[int, ...]] = {
    "crop": (90, 75, 50),
    "jpeg": (90, 60, 30, 10),
    "blur": (2, 5, 10, 20),
    "noise": (5, 10, 20, 40),
    "greyscale": (),
    "hue": (30, 60, 120, 180),
    "flip": (),
    "rotate": (2, 5, 10, 90),
    "perspective": (5, 10, 20),
    "frame": (5, 10, 20),
    "watermark": (20, 40, 60),
    "screenshot": (80, 60, 40),
    "collage": (4,),
    "shuffle": (2, 4, 8),
    "restyle": (50, 100),
}
"""What is done to a picture, and how strongly, the weakest first; stages/edit.py says what the numbers mean."""
FRAMINGS = ("bars-kept", "bars-swapped", "noise-bars-cropped", "noise-bars-kept", "grain-bars-cropped")
"""Other ways to show a picture to an encoder than its content alone."""
EDITS = (
    *(f"{kind}-{strength}" for kind, strengths in STRENGTHS.items() for strength in strengths),
    *(kind for kind, strengths in STRENGTHS.items() if not strengths),
)
LogFormat = Literal["text", "json"]
LATENT_PX = 8
"""Side of a latent in px (Podell et al. 2023: SDXL's autoencoder is that of Rombach et al. 2022 with f = 8)."""
ImagePx = Annotated[int, Field(ge=64, le=4096)]
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_LABEL_NAME = re.compile(rf"({_LABEL}(\.{_LABEL})*/)?{_LABEL}")
_LABEL_SELECTOR = re.compile(rf"!?({_LABEL}|in\({_LABEL}(, ?{_LABEL})*\))")


class ConfigError(UserError, ValueError):
    """Settings that cannot be used; the message lists every mistake, one a line."""


class Section(BaseModel):
    """A frozen group of settings that knows no field but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Workers(Section):
    """How a stage is run. Nothing here may change a row, so nothing here is part of a table's recipe."""

    num_workers: int = Field(
        0, ge=0, description="worker processes at most; 0: one for every num_cpus that the cluster has, or grows to"
    )
    min_workers: int = Field(
        0, ge=0, description="of them, how many are kept all the time; the others come with the work. 0: all"
    )
    num_cpus: float = Field(1.0, ge=0, description="CPU cores of one worker")
    num_gpus: float = Field(0.0, ge=0, description="GPUs of one worker; fractions share a card")
    node_labels: dict[str, str] = Field(
        {},
        description="Ray labels of the machines that may run it, as {kind: cpu}, {kind: '!gpu'} or {kind: 'in(a,b)'}",
    )
    batch_size: int = Field(16, ge=1, description="rows handed to the stage in one call")
    rows_per_part: int = Field(64, ge=1, description="rows of one part, the unit that is lost when a machine dies")
    micro_batch_size: int = Field(
        16, ge=1, description="rows that a model takes at a time at most; fewer where the card's memory holds fewer"
    )
    timeout_s: float = Field(600.0, gt=0, description="seconds that one batch may take before its worker is ended")
    memory_gb: float = Field(
        4.0,
        ge=0,
        description="memory that a worker without a GPU may take beside its loaded stage; 0: no limit (Linux)",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Workers:
        wrong = []
        if 0 < self.num_workers < self.min_workers:
            wrong.append(f"min_workers = {self.min_workers} is more than num_workers = {self.num_workers}")
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            wrong.append(f"num_gpus = {self.num_gpus:g}: a worker has a part of one GPU, or whole ones")
        for name, value in self.node_labels.items():
            if not (_LABEL_NAME.fullmatch(name) and _LABEL_SELECTOR.fullmatch(value)):
                wrong.append(
                    f"node_labels = {{{name}: {value}}}: write it as kind: cpu, kind: '!gpu' or kind: 'in(a,b)'"
                )
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class ModelConfig(Section):
    """Published weights, or a folder of one's own, and exactly which version of them."""

    id: str = Field("", description="Hugging Face id, local folder or fsspec URL; empty: the local stand-in")
    revision: str = Field("main", min_length=1, description="commit of a Hugging Face id; a branch is resolved once")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of weights and activations; auto: bfloat16 on a GPU, float32 on a CPU"
    )


class SourceConfig(Section):
    """Where the paintings come from, and what a decoder may spend on one of them."""

    uri: str = Field(
        "",
        description="local or an fsspec URL: a folder of Genre/artist_title.jpg files, of .tar files or of Parquet "
        "files with pictures, one such file, or a CSV or Parquet file of URIs",
    )
    columns: dict[Column, str] = Field(
        {}, description="which columns have other names, as in {uri: image_url}; uri is that of the pictures or URIs"
    )
    limit: int = Field(0, ge=0, description="take only the first so many paintings by id; 0: all")
    max_bytes: int = Field(128_000_000, ge=1, description="encoded bytes of the largest file that is read")
    max_pixels: int = Field(
        120_000_000, ge=1, le=178_956_970, description="pixels of the largest picture decoded; Pillow refuses 179M"
    )
    workers: Workers = Workers(rows_per_part=1024)


class DuplicatesConfig(Section):
    """How alike two paintings must look to count as one: bits in which their 64-bit phashes differ.

    Measured on 1,897 paintings with 25 pairs of the same: up to 4, 6, 8, 10 and 12 bits lie 16, 19, 23, 25 and 25 of
    the 10,971 pairs by one artist, all true, and 0, 0, 1, 4 and 20 of 1.8 million by two, all false, five times more
    every 2 bits. A set of 81,445 has 3.3 billion pairs: 10 bits across would chain its artists into one group.
    """

    max_distance: int = Field(10, ge=0, le=16, description="bits between two paintings of one artist")
    max_distance_across: int = Field(
        4, ge=0, le=16, description="bits between any two paintings; false matches grow with the square of the set"
    )
    workers: Workers = Workers(rows_per_part=4096, batch_size=4096, num_workers=1)


class GalleryConfig(Section):
    """Paintings made by code, for when no data is at hand."""

    num_paintings: int = Field(300, ge=1, le=1_000_000)
    seed: int = Field(0, ge=0)
    max_side_px: ImagePx = Field(1600, description="longest side of the largest painting")


class LetterboxConfig(Section):
    """The painting, centred on a black square without changing its proportions (thesis, preprocessing)."""

    sizes: tuple[ImagePx, ...] = Field((1024, 768), description="sides of the squares, px")
    jpeg_quality: int = Field(95, ge=1, le=100)
    dct_scaling: bool = Field(
        False,
        description="decode JPEGs at 1/2, 1/4 or 1/8 where that leaves the longer side 1.5 times the largest square: "
        "2.4 times as fast for scans of 3700-4000 px, content within a PSNR of 53 dB (JPEG 95 alone: 43-47)",
    )
    resampler: Literal["pillow", "torch"] = Field(
        "pillow",
        description="whose LANCZOS: pillow, the reference; torch, the same filter with weights of 16 bits, at most 2 "
        "of 255 levels off where it was tried; with AVX2 3.8 times as fast (2.3 with decoding and encoding)",
    )
    workers: Workers = Workers()

    @field_validator("sizes")
    @classmethod
    def _distinct(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes or len(set(sizes)) != len(sizes):
            raise ValueError("at least one size, and each only once")
        return sizes


class ThumbnailConfig(Section):
    """Paintings as small as lists and pages show them."""

    size: int = Field(256, ge=16, le=1024, description="longer side, px; no picture is enlarged")
    jpeg_quality: int = Field(85, ge=1, le=100)
    workers: Workers = Workers(rows_per_part=1024)


class CaptionConfig(Section):
    """One sentence that says what a picture shows. The stand-in measures pixels; it never sees metadata."""

    model: ModelConfig = ModelConfig()
    max_new_tokens: int = Field(30, ge=1, le=200, description="longest caption of a model, in its own tokens")
    table: Literal["captions", "generated_captions"] = Field("captions", description="what the job fills")
    workers: Workers = Workers(rows_per_part=256)


class PromptConfig(Section):
    """What to make of a painting, at each level."""

    model: ModelConfig = ModelConfig()
    tokenizer: ModelConfig = Field(ModelConfig(), description="the image model's, whose tokens max_tokens counts")
    temperature: float = Field(0.8, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(200, ge=16, le=2048, description="longest answer of a model, in its own tokens")
    levels: Literal["both", "share"] = Field("both", description="both levels for each painting, or one by share")
    moderate_share: float = Field(0.2, ge=0, le=1, description="paintings that get the moderate level if levels=share")
    num_variants: int = Field(1, ge=1, le=100, description="versions of each level")
    max_tokens: int = Field(75, ge=16, le=75, description="longest prompt, in tokens; CLIP reads 75")
    workers: Workers = Workers(rows_per_part=512, batch_size=128)

    @model_validator(mode="after")
    def _counted(self) -> PromptConfig:
        if self.model.id and not self.tokenizer.id:
            raise ValueError("model.id needs tokenizer.id: name the image model, whose tokens max_tokens counts")
        return self


class GenerateConfig(Section):
    """A version of a painting that follows its prompt. The stand-in paints with filters."""

    model: ModelConfig = ModelConfig()
    vae: ModelConfig = Field(ModelConfig(), description="in the place of the model's own autoencoder; empty: its own")
    num_inference_steps: int = Field(25, ge=1, le=1000, description="of the whole schedule; strength of them are run")
    guidance_scale: float = Field(7.5, ge=1, description="1: without guidance, at half the work")
    size: ImagePx = Field(768, description="side of the square that is changed, one of letterbox.sizes, px")
    jpeg_quality: int = Field(95, ge=1, le=100)
    moderate_strength: float = Field(0.4, gt=0, le=1, description="how far the moderate level goes, 0..1")
    radical_strength: float = Field(0.4, gt=0, le=1, description="how far the radical level goes, 0..1")
    workers: Workers = Workers()

    @model_validator(mode="after")
    def _makes_steps(self) -> GenerateConfig:
        if not self.model.id:
            return self
        wrong = (
            [] if self.size % LATENT_PX == 0 else [f"size must be a multiple of {LATENT_PX} px for a diffusion model"]
        )
        for level in LEVELS:
            if int(self.num_inference_steps * self.strength(level)) < 1:  # as diffusers counts
                wrong.append(f"{level}_strength must leave one of num_inference_steps or more")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def strength(self, level: Level) -> float:
        """How far a level goes, 0..1."""
        return self.moderate_strength if level == "moderate" else self.radical_strength


class PairsConfig(Section):
    """Versions that exist already: a CSV or Parquet file whose rows name a painting and its version."""

    uri: str = Field(
        "", description="the file, local or an fsspec URL, beside or above the pictures, or Parquet that holds them"
    )
    original: str = Field(
        "original_image", min_length=1, description="column with the painting's path below source.uri, or itself"
    )
    generated: str = Field(
        "generated_image", min_length=1, description="column with the version's URI, from the file, or itself"
    )
    prompt: str = Field("", description="column with what was asked for; empty: not known")
    level: str = Field("", description="column that tells the level; empty: all are default_level")
    levels: dict[str, Level] = Field({level: level for level in LEVELS}, description="what its values mean")
    default_level: Level = "radical"
    workers: Workers = Workers()


class EmbedConfig(Section):
    """Frozen features of a picture. The stand-in measures colour, gradient and texture on a grid of patches."""

    model: ModelConfig = ModelConfig()
    preprocessing: Literal["content", "model"] = Field(
        "content", description="content: what lies in the box, squashed; model: the whole square, as the model's own"
    )
    table: EmbeddingTable = Field("embeddings", description="what the job fills")
    size: ImagePx = Field(768, description="the square that originals are taken from, one of letterbox.sizes, px")
    tokens: bool = Field(True, description="keep the features of each patch beside the pooled ones")
    workers: Workers = Workers()


class EditConfig(Section):
    """What people do to pictures, and other framings of them: how the score bears it is measured on test paintings."""

    table: EditedTable = Field("edited", description="what the job fills: paintings, or their versions (framings only)")
    edits: tuple[str, ...] = Field(EDITS, description="what is done to a painting and how strongly, as in jpeg-30")
    framings: tuple[str, ...] = Field(FRAMINGS, description="how paintings and versions are shown with their bars")
    num_paintings: int = Field(500, ge=0, description="paintings of the test split that are edited, at most")
    num_framed: int = Field(
        2000, ge=0, description="paintings of the test split that are framed otherwise, at most; 0 of both: no edits"
    )
    size: ImagePx = Field(448, description="side of the edited square at most, px")
    jpeg_quality: int = Field(95, ge=1, le=100)
    workers: Workers = Workers(rows_per_part=256, batch_size=64)

    @field_validator("edits", "framings")
    @classmethod
    def _known(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = EDITS if info.field_name == "edits" else FRAMINGS
        wrong = [name for at, name in enumerate(names) if name not in known or name in names[:at]]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: each only once, and one of {', '.join(known)}")
        return names


class CuesConfig(Section):
    """What file, frame and colours of a picture tell without a look at what it shows, and may give a pair away."""

    table: Literal["cues", "generated_cues", "edited_cues"] = Field("cues", description="what the job fills")
    workers: Workers = Workers(rows_per_part=512)


class SplitConfig(Section):
    """Which paintings are trained on, which choose the epoch, and which nobody has seen.

    Near-duplicates are never parted. Besides `duplicates`, frozen embeddings can tell them, from min_similarity on.
    Measured on 287 paintings (41,041 pairs) with 16 pairs of the same, as found / false:

        sha256                               0 / 0
        phash, at its defaults              16 / 0
        cosine, mean removed, at  0.6     0.7     0.8     0.9    0.95
          local descriptors     16 / 5  16 / 1  16 / 0  16 / 0  13 / 0
          MobileNetV1           16 / 4  15 / 1  12 / 0   8 / 0   5 / 0

    phash alone finds them all, and what is safe differs by encoder and grows with the set: off by default. 0.9 is for
    scans that are cropped or framed in other ways, once you have looked at what it joins.
    """

    configuration: Configuration = Field("a70", description="a70: 70/15/15, b80: 80/10/10")
    group: Literal["component", "artist", "genre"] = Field(
        "artist", description="what may not be cut in two; component: what shows the same; genre: held out whole"
    )
    seed: int = Field(0, ge=0, description="another seed gives another split, beside the first")
    min_similarity: float = Field(
        0.0,
        ge=0,
        le=1,
        description="cosine of frozen embeddings from which two paintings are the same; 0: not looked at",
    )
    workers: Workers = Workers(rows_per_part=4096, batch_size=4096, num_workers=1)

    @property
    def name(self) -> str:
        """Of the tables below `splits/` and `triplets/`: `a70`, `a70-genre`, `a70-3`, `a70-component-2`."""
        parts = [self.configuration, *([self.group] if self.group != "artist" else [])]
        return "-".join([*parts, *([str(self.seed)] if self.seed else [])])

    @property
    def shares(self) -> dict[str, float]:
        """Share of the paintings in train, val and test."""
        train, val, test = {"a70": (0.70, 0.15, 0.15), "b80": (0.80, 0.10, 0.10)}[self.configuration]
        return {"train": train, "val": val, "test": test}


class TripletsConfig(Section):
    """Which negatives an anchor is compared with, and which approaches of prompts training never sees.

    Held out by default is one approach of each level, which adds what no other of its level does: veils of fog, rain
    or snow over the picture, and glowing lines in the dark. So nothing like them was learned from a neighbour.
    """

    tiers: tuple[Tier, ...] = Field(TIERS, min_length=1)
    num_negatives: int = Field(4, ge=1, le=100, description="draws for each positive and tier, all different")
    held_out_approaches: tuple[str, ...] = Field(
        ("weather", "technological_aesthetics"), description="versions of train and val that are left out"
    )
    workers: Workers = Workers(rows_per_part=4096, batch_size=4096, num_workers=1)

    @field_validator("tiers")
    @classmethod
    def _distinct(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        if len(set(tiers)) != len(tiers):
            raise ValueError("each tier only once")
        return tiers

    @field_validator("held_out_approaches")
    @classmethod
    def _known(cls, approaches: tuple[str, ...]) -> tuple[str, ...]:
        known = [name for names in APPROACHES.values() for name in names]
        if unknown := [name for name in approaches if name not in known]:
            raise ValueError(f"no approach is called {', '.join(unknown)}: known are {', '.join(known)}")
        for level, names in APPROACHES.items():
            if set(names) <= set(approaches):
                raise ValueError(f"leaves no approach of the level {level} to train with")
        return approaches


class HeadConfig(Section):
    """The siamese head on the frozen features. `pooled` is the thesis's; `tokens` attends over patches."""

    preset: Literal["pooled", "tokens"] = "tokens"
    caption_fusion: bool = Field(False, description="mix the caption's embedding into the picture's (pooled only)")
    num_layers: int = Field(2, ge=1, le=24)
    num_heads: int = Field(8, ge=1, le=64)
    hidden_size: int = Field(1024, ge=8, description="width of the feed-forward layers")
    model_size: int = Field(256, ge=8, description="width of the attention of preset tokens")
    centred: bool = Field(True, description="take the mean of the training set off (preset tokens)")
    starts_as_identity: bool = Field(True, description="start as the frozen embedding itself (preset tokens)")
    dropout: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0, description="where the temperature starts")
    min_temperature: float = Field(0.01, gt=0, description="the same as max_temperature: it is not learned")
    max_temperature: float = Field(0.5, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> HeadConfig:
        wrong = []
        if not self.min_temperature <= self.temperature <= self.max_temperature:
            wrong.append("temperature must lie between min_temperature and max_temperature")
        if self.caption_fusion and self.preset != "pooled":
            wrong.append("caption_fusion needs preset=pooled")
        if self.preset == "tokens" and self.model_size % (4 * self.num_heads):
            wrong.append("model_size must be a multiple of 4 * num_heads")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class TrainingConfig(Section):
    """How the head is trained (thesis, training; AdamW, ReduceLROnPlateau and early stopping)."""

    name: str = Field(
        "", description="folder below models/; empty: the split's name", pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*)?$"
    )
    loss: Literal["triplet", "infonce"] = Field("infonce", description="the thesis's, or in-batch contrast")
    tier: Tier = Field("any", description="the negatives of loss=triplet and of validation")
    hard_share: float = Field(0.5, ge=0, le=1, description="share of a batch's pairs that bring a hard negative along")
    hard_tiers: tuple[Tier, ...] = Field(
        ("same_artist", "nearest"), min_length=1, description="where hard negatives are drawn from, if they are there"
    )
    mask_groups: bool = Field(True, description="what shows the same painting is not each other's negative in a batch")
    both_ways: bool = Field(True, description="tell versions from other paintings too, not only the other way round")
    levels: Literal["both", "moderate", "radical"] = Field("both", description="versions that are trained on")
    caption_weight: float = Field(0.3, ge=0, description="weight of the caption losses with head.caption_fusion")
    lr: float = Field(3e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    batch_size: int = Field(32, ge=2, description="pairs in a step, over all workers")
    num_epochs: int = Field(20, ge=1)
    lr_factor: float = Field(0.5, gt=0, lt=1, description="ReduceLROnPlateau")
    lr_patience: int = Field(3, ge=0, description="ReduceLROnPlateau, epochs")
    patience: int = Field(5, ge=1, description="early stopping, epochs")
    min_delta: float = Field(0.001, ge=0, description="early stopping, least gain in validation loss")
    mixed_precision: bool = Field(True, description="where the device has it")
    num_workers: int = Field(
        2, ge=0, description="processes, or GPUs, that train together; 0: one, at once and without checkpoints"
    )
    num_cpus: float = Field(1.0, gt=0, description="CPU cores of one process")
    use_gpu: bool = False
    max_failures: int = Field(3, ge=0, description="times that a lost worker is replaced")

    @field_validator("hard_tiers")
    @classmethod
    def _versions(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        if "original" in tiers:
            raise ValueError("hard negatives are versions, as positives are: original is no tier of versions")
        return tiers


class IndexConfig(Section):
    """How the nearest paintings are found: by comparing all while that is fast enough, beyond by cells and codes."""

    max_exact: int = Field(1_000_000, ge=0, description="paintings up to which a search compares all of them")
    factory: str = Field("", description="what FAISS's index_factory is to make; empty: by the number of paintings")
    nprobe: int = Field(64, ge=1, description="cells that a search looks into, of an index that is not exact")
    k_factor: int = Field(16, ge=1, description="candidates by code for each hit, which are then compared themselves")


class AblateConfig(Section):
    """Which choices of the recipe are tried, each by training without it or with another in its place."""

    choices: tuple[Choice, ...] = Field(CHOICES, min_length=1, description="full is what the others are compared with")
    num_seeds: int = Field(5, ge=1, le=100, description="splits, and trainings, of each choice")

    @field_validator("choices")
    @classmethod
    def _with_full(cls, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        return ("full", *(choice for choice in dict.fromkeys(choices) if choice != "full"))


class EvaluationConfig(Section):
    """How a trained head is judged on the test split."""

    num_draws: int = Field(2000, ge=100, le=100_000, description="draws of the bootstrap over artists")
    num_examples: int = Field(6, ge=1, le=100, description="triplets shown of each kind; of the worst, twice as many")
    elsewhere: str = Field(
        "", description="another root with paintings, versions and the same features: does what was learned hold there?"
    )


class PlanConfig(Section):
    """How a plan of a run is made."""

    num_paintings: int = Field(16, ge=1, description="paintings of the source that every stage is tried on")


class Config(Section):
    """Everything that ArtSim can be told."""

    root: str = Field("runs/demo", min_length=1, description="folder or fsspec URL below which all tables live")
    num_buckets: int = Field(256, ge=1, le=65536, description="hash buckets of a new root")
    seed: int = Field(0, ge=0)
    max_failure_rate: float = Field(0.05, ge=0, le=1, description="share of a table's rows that may be quarantined")
    log_format: LogFormat = Field("text", description="json: a line is an object, with job, table, stage and row")
    source: SourceConfig = SourceConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    gallery: GalleryConfig = GalleryConfig()
    letterbox: LetterboxConfig = LetterboxConfig()
    thumbnails: ThumbnailConfig = ThumbnailConfig()
    caption: CaptionConfig = CaptionConfig()
    prompt: PromptConfig = PromptConfig()
    generate: GenerateConfig = GenerateConfig()
    pairs: PairsConfig = PairsConfig()
    embed: EmbedConfig = EmbedConfig()
    cues: CuesConfig = CuesConfig()
    split: SplitConfig = SplitConfig()
    triplets: TripletsConfig = TripletsConfig()
    edit: EditConfig = EditConfig()
    head: HeadConfig = HeadConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    index: IndexConfig = IndexConfig()
    ablate: AblateConfig = AblateConfig()
    plan: PlanConfig = PlanConfig()

    @model_validator(mode="after")
    def _sections_agree(self) -> Config:
        wrong = [
            f"{name}.size = {size}"
            for name, size in (("generate", self.generate.size), ("embed", self.embed.size))
            if size not in self.letterbox.sizes
        ]
        if wrong:
            raise ValueError(f"{' and '.join(wrong)}: must be one of letterbox.sizes = {list(self.letterbox.sizes)}")
        if self.head.preset == "tokens" and not self.embed.tokens:
            raise ValueError("head.preset = tokens: needs embed.tokens, or set head.preset=pooled")
        return self

    @property
    def model_name(self) -> str:
        """Folder of the trained model below `models/`."""
        return self.training.name or self.split.name
