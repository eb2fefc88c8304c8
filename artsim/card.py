"""The data set card of an export: how much there is, what made it, who has a say in it, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from artsim.config import LEVELS
from artsim.mark import ALGORITHMIC, TRAINED

CARD = "README.md"
"""Written last: an export without it is not finished."""

LICENCES = {
    "Salesforce/blip2-opt-2.7b": "MIT; the OPT weights inside it: a licence for non-commercial research",
    "meta-llama/Meta-Llama-3-8B-Instruct": "Meta Llama 3 Community License: name Llama 3, keep to its use policy",
    "stabilityai/stable-diffusion-xl-refiner-1.0": "CreativeML Open RAIL++-M: not for its list of forbidden uses",
    "madebyollin/taesdxl": "MIT",
    "openai/clip-vit-base-patch32": "MIT",
}
"""What the owners of models said when we looked (README, The models); for others their model card does."""
_STEPS = {
    "captions": "captions of the paintings",
    "prompts": "prompts",
    "generated": "versions",
    "generated_captions": "captions of the versions",
}
_ELSEWHERE = ("TakePrompt", "TakeVersion")


class Maker(NamedTuple):
    """What made a part of the set."""

    step: str
    model: str
    revision: str
    licence: str


def makers(recipes: Mapping[str, dict[str, Any]]) -> list[Maker]:
    """What made the tables of an export, as their recipes say; what no model made, its stage did."""
    found = []
    for table, step in _STEPS.items():
        if table not in recipes:
            continue
        recipe = recipes[table]
        models = list(_models(recipe["settings"]))
        stage = "made elsewhere" if recipe["stage"] in _ELSEWHERE else f"{recipe['stage']}, ArtSim's local stand-in"
        found += [Maker(step, name, rev, LICENCES.get(name, "see its model card")) for name, rev in models] or [
            Maker(step, stage, f"version {recipe['version']}", "Apache-2.0" if "ArtSim" in stage else "its owner's")
        ]
    return found


def _models(settings: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(settings, dict):
        return
    if settings.get("id") and "revision" in settings:
        yield settings["id"], settings["revision"]
    for name, value in settings.items():
        if name not in ("tokenizer", "pairs"):  # it counts tokens and makes nothing
            yield from _models(value)


def write_card(
    recipes: Mapping[str, dict[str, Any]],
    counts: Mapping[str, int],
    quarantined: Mapping[str, dict[str, int]],
    form: str,
    originals: str,
) -> str:
    """The card as Markdown, with the front matter that Hugging Face reads."""
    made = "\n".join(
        f"| {maker.step} | {maker.model} | {maker.revision} | {maker.licence} |" for maker in makers(recipes)
    )
    levels = f" ({', '.join(f'{counts[level]:,} {level}' for level in LEVELS)})" if counts["versions"] else ""
    lost = [f"- {name}: {reason} {n:,}" for name, reasons in quarantined.items() for reason, n in reasons.items()]
    source_type = ALGORITHMIC if recipes["generated"]["stage"] == "Generate" else TRAINED
    where = _FORMS[form] + (f" Paintings go with them ({_ORIGINALS[originals]})." if originals != "none" else "")
    return (
        f"""---
license: other
tags: [art, ai-generated]
---

# Versions of paintings

{counts["versions"]:,} pictures{levels} that a machine made after {counts["paintings"]:,} paintings.
Each has its painting's `id`, `level`, `variant`, `approach`, `prompt` and `seed`, what is known of the painting,
and where the tables exist captions and splits. Regenerated with ArtSim.
`box` says where the picture lies inside its black square: left, top, width, height in px.

{where}

## What made it

| part | made by | revision | licence |
|---|---|---|---|
{made}

## Rights

The paintings' rights are their owners'. Whether a version may be used is for them and for the licences above to say.

## Made by a machine

Every version says so in its XMP metadata: `Iptc4xmpExt:DigitalSourceType` is
`{source_type}`.
Keep it when you pass them on.

## What is not in it

{"Rows in quarantine, which could not be done, by table and reason:" if lost else "Nothing: no row is in quarantine."}

{chr(10).join(lost)}
""".rstrip()
        + "\n"
    )


_FORMS = {
    "folders": "`metadata.csv` has a row for each version; `file_name` is its picture below `generated/`.",
    "parquet": "`data/*.parquet` has a row for each version; `image` is its picture as JPEG bytes.",
    "webdataset": "`*.tar` are WebDataset shards: of each version `.jpg`, `.txt` (the prompt) and `.json` (all else).",
}
_ORIGINALS = {"square": "on a black square, as they were resized", "content": "cut to their content"}
