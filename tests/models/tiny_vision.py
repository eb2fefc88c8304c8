"""CLIP and BLIP-2 with a few thousand random weights and real tokenizers, written in a second or two."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SENTENCES = (
    "a painting of a woman in a blue dress by a window",
    "a black and white drawing of a man with a hat",
    "a landscape with trees, a river and mountains in the distance",
    "an abstract painting with red, yellow and blue squares",
    "the still life shows a bowl of fruit on a wooden table",
    "two ships on a stormy sea under dark clouds",
)
CLIP_PIXELS = {
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "do_convert_rgb": True,
    "do_resize": True,
    "resample": 3,
}


def tiny_clip(folder: Path, image_size: int = 64) -> Path:
    """A CLIP with both towers: patches of 16 px, 32 numbers a patch, 24 in common, 24 text positions."""
    tokenizer = _clip_tokenizer()
    tower = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 32}
    text = {
        **tower,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**tower, "image_size": image_size, "patch_size": 16}
    _save(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)), folder)
    tokenizer.save_pretrained(folder)
    size = {"size": {"shortest_edge": image_size}, "crop_size": {"height": image_size, "width": image_size}}
    _describe(folder, {"image_processor_type": "CLIPImageProcessor", "do_center_crop": True, **size, **CLIP_PIXELS})
    return folder


def tiny_blip2(folder: Path) -> Path:
    """A BLIP-2 with OPT: pictures of 56 px, 4 query tokens; a caption ends with a line break, as the real one's."""
    tokenizer = _opt_tokenizer()
    width = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 32}
    text = {
        "model_type": "opt",
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 64,
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "tie_word_embeddings": False,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 256,
        "bos_token_id": 2,
        "pad_token_id": 1,
        "eos_token_id": tokenizer.convert_tokens_to_ids("Ċ"),
    }
    config = Blip2Config(
        vision_config={**width, "image_size": 56, "patch_size": 14},
        qformer_config={**width, "encoder_hidden_size": 32, "vocab_size": 30},
        text_config=text,
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    _save(Blip2ForConditionalGeneration(config), folder)
    tokenizer.save_pretrained(folder)
    size = {"size": {"height": 56, "width": 56}}
    _describe(folder, {"image_processor_type": "BlipImageProcessor", **size, **CLIP_PIXELS})
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "Blip2Processor", "num_query_tokens": 4})
    )
    return folder


def _save(model: PreTrainedModel, folder: Path) -> None:
    """Save with weights large enough that different pictures give different answers."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 2 * weight.shape[-1] ** -0.5, generator=generator)
            elif "norm" not in name:
                weight.normal_(0, 0.1, generator=generator)
    model.save_pretrained(folder)


def _describe(folder: Path, preprocessor: dict[str, object]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def _clip_tokenizer() -> CLIPTokenizer:
    """CLIP's own: lower case, byte pairs with </w> at the end of a word."""
    blank = CLIPTokenizer().backend_tokenizer
    trainee = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    trainee.normalizer, trainee.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    trainee.train_from_iterator(SENTENCES, trainer)
    learnt = json.loads(trainee.to_str())["model"]
    # Like the real vocabulary: the alphabet with </w>, and the two special tokens last.
    words = sorted(learnt["vocab"], key=learnt["vocab"].get)
    words += [f"{letter}</w>" for letter in sorted(alphabet) if f"{letter}</w>" not in learnt["vocab"]]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[tuple(merge) for merge in learnt["merges"]], model_max_length=24)


def _opt_tokenizer() -> PreTrainedTokenizerFast:
    """OPT's: byte pairs, every text begins with </s>; <image> comes last, as in BLIP-2."""
    trainee = Tokenizer(models.BPE())
    trainee.pre_tokenizer, trainee.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trainee.train_from_iterator(SENTENCES, trainer)
    trainee.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trainee, bos_token="</s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    return tokenizer
