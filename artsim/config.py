"""The settings tree: every default, with its unit and range."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from artsim import UserError

Level = Literal["moderate", "radical"]
LEVELS: tuple[Level, ...] = get_args(Level)
Configuration = Literal["a70", "b80"]
Tier = Literal["any", "other_genre", "same_genre", "same_artist", "original"]
TIERS: tuple[Tier, ...] = get_args(Tier)
Column = Literal["uri", "id", "genre", "artist", "title", "subset"]
EmbeddingTable = Literal["embeddings", "generated_embeddings", "caption_embeddings", "generated_caption_embeddings"]
LATENT_PX = 8
"""Side of a latent in px (Podell et al. 2023: SDXL's autoencoder is that of Rombach et al. 2022 with f = 8)."""
ImagePx = Annotated[int, Field(ge=64, le=4096)]


class ConfigError(UserError, ValueError):
    """Settings that cannot be used; the message lists every mistake, one a line."""


class Section(BaseModel):
    """A frozen group of settings that knows no field but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Workers(Section):
    """How a stage is run. Nothing here may change a row, so nothing here is part of a table's recipe."""

    num_workers: int = Field(0, ge=0, description="worker processes; 0: one for every num_cpus that the cluster has")
    num_cpus: float = Field(1.0, ge=0, description="CPU cores of one worker")
    num_gpus: float = Field(0.0, ge=0, description="GPUs of one worker; fractions share a card")
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
    workers: Workers = Workers()

    @field_validator("sizes")
    @classmethod
    def _distinct(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes or len(set(sizes)) != len(sizes):
            raise ValueError("at least one size, and each only once")
        return sizes


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


class SplitConfig(Section):
    """Which paintings are trained on, which choose the epoch, and which nobody has seen."""

    configuration: Configuration = Field("a70", description="a70: 70/15/15, b80: 80/10/10")
    group: Literal["artist", "painting"] = Field("artist", description="what may not be cut in two")
    workers: Workers = Workers(rows_per_part=4096, batch_size=4096, num_workers=1)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the paintings in train, val and test."""
        train, val, test = {"a70": (0.70, 0.15, 0.15), "b80": (0.80, 0.10, 0.10)}[self.configuration]
        return {"train": train, "val": val, "test": test}


class TripletsConfig(Section):
    """Which negatives an anchor is compared with."""

    tiers: tuple[Tier, ...] = Field(TIERS, min_length=1)
    num_negatives: int = Field(1, ge=1, le=1000, description="draws for each positive and tier")
    workers: Workers = Workers(rows_per_part=4096, batch_size=4096, num_workers=1)

    @field_validator("tiers")
    @classmethod
    def _distinct(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        if len(set(tiers)) != len(tiers):
            raise ValueError("each tier only once")
        return tiers


class HeadConfig(Section):
    """The siamese head on the frozen features. `pooled` is the thesis's; `tokens` attends over patches."""

    preset: Literal["pooled", "tokens"] = "tokens"
    caption_fusion: bool = Field(False, description="mix the caption's embedding into the picture's (pooled only)")
    num_layers: int = Field(2, ge=1, le=24)
    num_heads: int = Field(8, ge=1, le=64)
    hidden_size: int = Field(1024, ge=8, description="width of the feed-forward layers")
    model_size: int = Field(256, ge=8, description="width of the attention of preset tokens")
    dropout: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(0.07, gt=0, description="where the temperature starts")
    min_temperature: float = Field(0.01, gt=0)
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
    loss: Literal["triplet", "infonce"] = Field("infonce", description="the thesis's, or in-batch both ways")
    tier: Tier = Field("any", description="the negatives of loss=triplet and of validation")
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
    num_workers: int = Field(2, ge=1, description="processes, or GPUs, that train together")
    num_cpus: float = Field(1.0, gt=0, description="CPU cores of one process")
    use_gpu: bool = False
    max_failures: int = Field(3, ge=0, description="times that a lost worker is replaced")


class PlanConfig(Section):
    """How a plan of a run is made."""

    num_paintings: int = Field(16, ge=1, description="paintings of the source that every stage is tried on")


class Config(Section):
    """Everything that ArtSim can be told."""

    root: str = Field("runs/demo", min_length=1, description="folder or fsspec URL below which all tables live")
    num_buckets: int = Field(256, ge=1, le=65536, description="hash buckets of a new root")
    seed: int = Field(0, ge=0)
    max_failure_rate: float = Field(0.05, ge=0, le=1, description="share of a table's rows that may be quarantined")
    source: SourceConfig = SourceConfig()
    duplicates: DuplicatesConfig = DuplicatesConfig()
    gallery: GalleryConfig = GalleryConfig()
    letterbox: LetterboxConfig = LetterboxConfig()
    caption: CaptionConfig = CaptionConfig()
    prompt: PromptConfig = PromptConfig()
    generate: GenerateConfig = GenerateConfig()
    pairs: PairsConfig = PairsConfig()
    embed: EmbedConfig = EmbedConfig()
    split: SplitConfig = SplitConfig()
    triplets: TripletsConfig = TripletsConfig()
    head: HeadConfig = HeadConfig()
    training: TrainingConfig = TrainingConfig()
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
        return self.training.name or self.split.configuration
