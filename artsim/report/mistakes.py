"""The hardest mistakes, as pictures."""

from __future__ import annotations

import base64
from typing import Any

from PIL import Image

from artsim.images import decode_jpeg, encode_jpeg
from artsim.report.content import Evaluation, Example, Section
from artsim.report.words import KINDS, format_count

THUMBNAIL_PX = 240  # pictures are shown at up to 120 px, on screens of up to two dots a px
THUMBNAIL_QUALITY = 76
TITLE = "The hardest mistakes"


def section(evaluation: Evaluation) -> Section:
    """The galleries, the mistakes first."""
    galleries = {kind: [card(example) for example in evaluation.examples if example.kind == kind] for kind in KINDS}
    return Section("mistakes", TITLE, _lead(evaluation.examples), {"galleries": galleries, "kinds": KINDS})


def _lead(examples: list[Example]) -> str:
    if not examples:
        return "No examples were chosen."
    wrong = [example for example in examples if example.kind == "search"]
    narrow = [example for example in examples if example.kind == "worst"]
    lost = sum(example.positive <= example.negative_similarity for example in narrow)
    parts = [f"{format_count(len(wrong))} searches that put another painting first"] if wrong else []
    parts += (
        [f"the {format_count(len(narrow))} narrowest triplets, {format_count(lost)} of them lost"] if narrow else []
    )
    shown = " and ".join(parts) or "no mistakes, only triplets that it tells apart"
    return f"Where the trained head goes wrong, look for yourself: {shown}."


def card(example: Example) -> dict[str, Any]:
    """An example with its pictures as data URIs of THUMBNAIL_PX at most."""
    is_painting = example.kind == "search" or example.tier == "original"
    other = "Painting" if is_painting else f"{example.level.capitalize()} version of"
    alts = (
        f"Painting {example.painting}",
        f"{example.level.capitalize()} version of {example.painting}",
        f"{other} {example.negative}",
    )
    pictures = [_picture(image, alt) for image, alt in zip(example.images, alts, strict=True)]
    return {"example": example, "pictures": pictures, "won": example.positive > example.negative_similarity}


def _picture(data: bytes, alt: str) -> dict[str, Any]:
    image = Image.fromarray(decode_jpeg(data))
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    encoded = base64.b64encode(encode_jpeg(image, THUMBNAIL_QUALITY)).decode()
    return {"uri": f"data:image/jpeg;base64,{encoded}", "width": image.width, "height": image.height, "alt": alt}
