"""Language models and tokenizers of the real architectures, small enough to be made on the spot."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import torch
from transformers import CLIPTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from artsim.random_weights import CHAT_TEMPLATE, clip_tokenizer, llama_tokenizer

HEAD_SIZE = 32  # the least that vLLM's attention takes on a CPU
NUM_POSITIONS = 4096
ANSWERS = (
    "a quiet harbour at dusk, teal water and amber sails, soft brushwork, long shadows over the wet stones",
    "the same garden under heavy snow, pale blue light, thin glazes, bare branches, a fox by the gate",
    "a woman at a window rebuilt as a mosaic of glass and stone, gold against navy, close raking light",
    "stacked traces of a measured landscape, false colour, contour lines, a calibrated scale at the edge",
    "a bronze age legend of the hunter and his dogs, carved relief, firelight, smoke, worn edges",
    "the orchard grown from veins and shells, moist surfaces, branching light, moss green and ivory",
)


def tiny_llama(folder: Path) -> Path:
    """A Llama of 2 layers with random weights that writes words of ANSWERS about as often as they occur there.

    Dimension 0 of the residual stream is constant, and its row of the output layer holds the frequencies of tokens:
    random weights then end a sentence now and then, as no uniform noise would.
    """
    tokenizer = llama_tokenizer([json.dumps({"prompt": answer}) for answer in ANSWERS])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=HEAD_SIZE,
        max_position_embeddings=NUM_POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 1.0
        model.lm_head.weight.normal_(std=0.3)
        constant = 8.0  # of dimension 0 after the last norm: 1 over the root mean square of 64 numbers
        model.lm_head.weight[:, 0] = _log_frequencies(tokenizer) / constant
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_clip_tokenizer(folder: Path) -> Path:
    """A CLIP tokenizer with a vocabulary of its own, where a diffusion pipeline has it: in `tokenizer_2`."""
    clip_tokenizer(corpus=ANSWERS).save_pretrained(folder / "tokenizer_2")
    (folder / "model_index.json").write_text("{}")
    return folder


def published_clip_tokenizer(vocabulary: Path, folder: Path) -> Path:
    """CLIP's own tokenizer from its published list of merges, of which 48,894 are used (Radford et al. 2021)."""
    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")
    merges = [line.split() for line in lines[1:48895]]
    letters = list(bytes_to_unicode().values())
    ends = ("<|startoftext|>", "<|endoftext|>")
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges), *ends]
    vocab = {token: index for index, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocab, merges=[tuple(merge) for merge in merges]).save_pretrained(folder)
    return folder


def widen_heads(source: Path, folder: Path) -> Path:
    """A Llama whose heads are narrower than HEAD_SIZE, as the same function with heads of HEAD_SIZE.

    Rotary frequencies are powers of theta over the head's size, so that row i of a narrow head lies at row i * ratio
    of a wide one; the rows between are zero. Queries grow by the root of the ratio, which the softmax divides out.
    """
    model = LlamaForCausalLM.from_pretrained(source, dtype=torch.float32)
    narrow = model.config.head_dim
    ratio = HEAD_SIZE // narrow
    half = torch.arange(narrow // 2) * ratio
    rows = torch.cat([half, half + HEAD_SIZE // 2])
    weights = model.state_dict()
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            scale = ratio**0.5 if "q_proj" in name else 1.0
            weights[name] = _spread(weight * scale, rows)
        elif name.endswith("o_proj.weight"):
            weights[name] = _spread(weight.T, rows).T.contiguous()
    config = LlamaConfig.from_pretrained(source, head_dim=HEAD_SIZE, max_position_embeddings=NUM_POSITIONS)
    LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def _spread(weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Heads (K * narrow, H) as (K * HEAD_SIZE, H), each row of a head at its place and zeros between."""
    heads = weight.reshape(-1, len(rows), weight.shape[1])
    wide = torch.zeros(len(heads), HEAD_SIZE, weight.shape[1])
    wide[:, rows] = heads
    return wide.reshape(-1, weight.shape[1])


def _log_frequencies(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """The logarithm of how often each token is written in ANSWERS; what never is counts as a thousandth."""
    answers = [json.dumps({"prompt": answer}) for answer in ANSWERS]
    counts = Counter(token for answer in answers for token in tokenizer(answer)["input_ids"])
    return torch.tensor([counts.get(token, 0.001) for token in range(len(tokenizer))]).log()
