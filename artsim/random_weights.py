"""CLIP, BLIP-2 and Llama with random weights: to measure a card that has no network, and for tests.

Nothing is downloaded. What such a model says is noise, but it costs what the real one costs. The tokenizers are of the
real kinds, trained on a few sentences.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
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
MARKERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_PIXELS = {  # CLIP's means and deviations (its model card), which BLIP-2 took over
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "do_convert_rgb": True,
    "do_resize": True,
    "resample": 3,
}
_TINY_TOWER = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 32}
_TINY_OPT = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "ffn_dim": 64,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "max_position_embeddings": 256,
}
# facebook/opt-2.7b as the config.json of Salesforce/blip2-opt-2.7b repeats it; all else are Blip2Config's defaults.
_OPT = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "ffn_dim": 10240,
    "hidden_size": 2560,
    "word_embed_proj_dim": 2560,
    "vocab_size": 50304,
}
# Llama 3 8B (Grattafiori et al. 2024, table 3, with the vocabulary and rope theta of section 3.2).
_LLAMA = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
}
_TINY_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,  # the least that vLLM's attention takes on a CPU
    "max_position_embeddings": 4096,
}


def random_clip(folder: Path, tiny: bool = False, image_size: int = 0) -> Path:
    """Save a CLIP of the sizes of ViT-B/32; tiny: pictures of 64 px in patches of 16, 24 numbers in common.

    `image_size` is the side of its pictures in px, in the place of 224 or 64.
    """
    side, positions = (image_size or 64, 24) if tiny else (image_size or 224, 77)
    tokenizer = clip_tokenizer(positions)
    text = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision: dict[str, Any] = {"image_size": side}
    if tiny:
        text |= {**_TINY_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": positions}
        vision |= {**_TINY_TOWER, "patch_size": 16}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=24 if tiny else 512)
    _save(lambda: CLIPModel(config), folder, tiny)
    tokenizer.save_pretrained(folder)
    size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    _describe(folder, {"image_processor_type": "CLIPImageProcessor", "do_center_crop": True, **size, **_PIXELS})
    return folder


def random_blip2(folder: Path, tiny: bool = False) -> Path:
    """Save a BLIP-2 of the sizes of blip2-opt-2.7b (7.5 GB); tiny: pictures of 56 px, 4 query tokens.

    A caption ends with a line break, as the real one's.
    """
    side, num_queries = (56, 4) if tiny else (224, 32)
    tokenizer = opt_tokenizer()
    text = {"model_type": "opt", "tie_word_embeddings": False, "bos_token_id": 2, "pad_token_id": 1}
    text |= {"eos_token_id": tokenizer.convert_tokens_to_ids("Ċ"), "vocab_size": len(tokenizer)}
    tower = _TINY_TOWER if tiny else {}
    former = {**tower, "encoder_hidden_size": 32, "vocab_size": 30} if tiny else {}
    config = Blip2Config(
        vision_config={**tower, "image_size": side, "patch_size": 14},
        qformer_config=former,
        text_config=text | (_TINY_OPT if tiny else _OPT),
        num_query_tokens=num_queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    _save(lambda: Blip2ForConditionalGeneration(config), folder, tiny)
    tokenizer.save_pretrained(folder)
    size = {"size": {"height": side, "width": side}}
    _describe(folder, {"image_processor_type": "BlipImageProcessor", **size, **_PIXELS})
    processor = {"processor_class": "Blip2Processor", "num_query_tokens": num_queries}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def random_llama(folder: Path, tiny: bool = False) -> Path:
    """Save a Llama of the sizes of Llama 3 8B (16 GB), with its markers and the shape of its chat template."""
    tokenizer = llama_tokenizer(SENTENCES)
    sizes = _TINY_LLAMA | {"vocab_size": len(tokenizer)} if tiny else _LLAMA
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(**sizes, **ends, tie_word_embeddings=False)
    _save(lambda: LlamaForCausalLM(config), folder, tiny)
    tokenizer.save_pretrained(folder)
    return folder


def clip_tokenizer(
    model_max_length: int = 77, corpus: Sequence[str] = SENTENCES, pad_token: str = "<|endoftext|>"
) -> CLIPTokenizer:
    """CLIP's kind: lower case, byte pairs with </w> at the end of a word, the two special tokens last."""
    blank = CLIPTokenizer().backend_tokenizer
    trainee = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    trainee.normalizer, trainee.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    trainee.train_from_iterator(corpus, trainer)
    learnt = json.loads(trainee.to_str())["model"]
    words = sorted(learnt["vocab"], key=learnt["vocab"].get)
    words += [f"{letter}</w>" for letter in sorted(alphabet) if f"{letter}</w>" not in learnt["vocab"]]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    merges: Any = [tuple(merge) for merge in learnt["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=model_max_length, pad_token=pad_token)


def opt_tokenizer() -> PreTrainedTokenizerFast:
    """OPT's kind: byte pairs, every text begins with </s>; <image> comes last, as in BLIP-2."""
    trainee = _byte_pairs(SENTENCES, 400, ("<s>", "<pad>", "</s>", "<unk>"))
    trainee.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trainee, bos_token="</s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    return tokenizer


def llama_tokenizer(corpus: Sequence[str], vocab_size: int = 700) -> PreTrainedTokenizerFast:
    """Llama 3's kind: byte pairs with its markers and the shape of its chat template."""
    trained = _byte_pairs(corpus, vocab_size, MARKERS)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, bos_token=MARKERS[0], eos_token=MARKERS[3])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _byte_pairs(corpus: Sequence[str], vocab_size: int, specials: Sequence[str]) -> Tokenizer:
    trainee = Tokenizer(models.BPE())
    trainee.pre_tokenizer, trainee.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trainee.train_from_iterator(corpus, trainer)
    return trainee


def _save(build: Callable[[], PreTrainedModel], folder: Path, tiny: bool) -> None:
    """Save a model with weights from one seed: bfloat16 at full size; else large enough that answers differ."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if tiny else torch.bfloat16)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build()
            if tiny:
                _spread(model)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)


@torch.no_grad()
def _spread(model: PreTrainedModel) -> None:
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0, 2 * weight.shape[-1] ** -0.5)
        elif "norm" not in name:
            weight.normal_(0, 0.1)


def _describe(folder: Path, preprocessor: dict[str, object]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
