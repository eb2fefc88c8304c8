"""One file per step: the real model and its local stand-in, of which the settings choose one. They never meet."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from artsim import UserError
from artsim.config import CaptionConfig, EmbedConfig, GenerateConfig, PromptConfig

# A library as heavy as vllm or diffusers is imported where its model was asked for, and nowhere else.


class EngineError(RuntimeError):
    """The engine under a stage has died or can no longer be trusted: its process should end, and another try."""


def _need_libraries() -> None:
    if find_spec("transformers") is None:
        raise UserError("the settings name a model, and its libraries are not installed: pip install -e '.[models]'")


def caption_stage(config: CaptionConfig) -> Any:
    """The class that captions pictures: BLIP-2, or measured pixel facts. Built as `Stage(config)`."""
    if config.model.id:
        _need_libraries()
        from artsim.stages.caption_model import CaptionWithModel

        return CaptionWithModel
    from artsim.stages.caption import Caption

    return Caption


def prompt_stage(config: PromptConfig) -> Any:
    """The class that writes prompts: a language model, or templates. Built as `Stage(config, seed)`."""
    if config.model.id:
        _need_libraries()
        from artsim.stages.prompt_model import WritePromptWithModel

        return WritePromptWithModel
    from artsim.stages.prompt import WritePrompt

    return WritePrompt


def generate_stage(config: GenerateConfig) -> Any:
    """The class that makes versions: a diffusion model, or filters. Built as `Stage(config, seed)`."""
    if config.model.id:
        _need_libraries()
        from artsim.stages.generate_model import GenerateWithModel

        return GenerateWithModel
    from artsim.stages.generate import Generate

    return Generate


def embed_image_stage(config: EmbedConfig) -> Any:
    """The class that embeds pictures: a vision model, or descriptors. Built as `Stage(config)`."""
    if config.model.id:
        _need_libraries()
        from artsim.stages.embed_model import EmbedImageWithModel

        return EmbedImageWithModel
    from artsim.stages.embed import EmbedImage

    return EmbedImage


def embed_caption_stage(config: EmbedConfig) -> Any:
    """The class that embeds captions: the vision model's text tower, or hashed words. Built as `Stage(config)`."""
    if config.model.id:
        _need_libraries()
        from artsim.stages.embed_model import EmbedCaptionWithModel

        return EmbedCaptionWithModel
    from artsim.stages.embed import EmbedCaption

    return EmbedCaption
