"""The regenerated set as others use it: versions beside their paintings and all that is known of them, and a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artsim import UserError
from artsim.card import CARD, write_card
from artsim.formats import FORMATS
from artsim.mark import ALGORITHMIC, TRAINED, mark
from artsim.schemas import VERSION_KEY, key_strings
from artsim.store import Store
from artsim.tables import Parts, Table, open_root, read_or_empty, status, table_names

ORIGINALS = ("none", "square", "content")
"""Whether the painting goes with its versions: not at all, on its black square as resized, or cut to its content."""
_CONTENT_QUALITY = 95

_TEXTS = {
    "prompts": {"approach": "approach", "prompt": "prompt"},
    "captions": {"caption": "caption"},
    "generated_captions": {"caption": "generated_caption"},
    "artworks": {
        **{name: name for name in ("genre", "artist", "title", "subset", "width", "height", "sha256")},
        "uri": "source_uri",
    },
}
"""What each table tells of a version, and what the export calls it."""
_NEEDED = ("artworks", "prompts", "generated")


class ExportError(UserError, ValueError):
    """An export that cannot be made as asked; the message says why and what to do."""


class Samples:
    """Versions with their pictures and metadata, part by part: no more than one part's pictures is held."""

    def __init__(self, root: str, originals: str = "none") -> None:
        """Raises TableError where a table that an export needs is not finished; captions and splits may lack."""
        num_buckets = open_root(root)
        tables = [Table(root, name, num_buckets) for name in table_names(root)]
        needed = (*_NEEDED, "resized") if originals != "none" else _NEEDED
        for name in needed:
            Table(root, name, num_buckets).finished()
        manifests = {table: table.manifest() for table in tables}
        self.tables = {table.name: table for table, manifest in manifests.items() if manifest is not None}
        self._parts: dict[str, Parts] = {
            table.name: table.parts(manifest) for table, manifest in manifests.items() if manifest is not None
        }
        self._num_buckets, self._originals = num_buckets, originals
        self._source_type = ALGORITHMIC if self.recipe("generated")["stage"] == "Generate" else TRAINED
        self.counts: Counter[str] = Counter()
        """Paintings and versions that were handed out, versions also by level."""

    def recipe(self, table: str) -> dict[str, Any]:
        """What a table was made with."""
        header = self.tables[table].header()
        assert header is not None, f"{table} is finished"
        recipe: dict[str, Any] = header["recipe"]
        return recipe

    def __iter__(self) -> Iterator[pa.Table]:
        for bucket in range(self._num_buckets):
            known = [(name, self._known(name, columns, bucket)) for name, columns in self._texts().items()]
            paintings: set[str] = set()
            for name in self._parts["generated"].rows.get(bucket, []):
                rows = self._joined(
                    self.tables["generated"].read([name], [*VERSION_KEY, "seed", "box", "image"]), known
                )
                if self._originals != "none":
                    rows = rows.append_column("original", self._read_originals(bucket, rows["id"]))
                paintings.update(rows["id"].to_pylist())
                self.counts.update(rows["level"].to_pylist(), versions=len(rows))
                yield rows
            self.counts["paintings"] += len(paintings)

    def _texts(self) -> dict[str, dict[str, str]]:
        splits = {
            name: {"split": name.replace("splits/", "split_")} for name in self.tables if name.startswith("splits/")
        }
        return {name: columns for name, columns in (_TEXTS | splits).items() if name in self.tables}

    def _known(self, name: str, columns: dict[str, str], bucket: int) -> pa.Table:
        table = self.tables[name]
        return read_or_empty(table, self._parts[name].rows.get(bucket, []), [*table.key, *columns])

    def _joined(self, rows: pa.Table, known: list[tuple[str, pa.Table]]) -> pa.Table:
        """Rows of `generated` with their metadata before their picture, which is marked."""
        marked = [mark(image, self._source_type) for image in rows["image"].to_pylist()]
        rows = rows.drop_columns(["image"])
        for name, found in known:
            key = self.tables[name].key
            at = pc.index_in(key_strings(rows, key), value_set=key_strings(found, key))
            for old, new in self._texts()[name].items():
                rows = rows.append_column(new, found[old].take(at))
        return rows.append_column("image", pa.array(marked, pa.binary()))

    def _read_originals(self, bucket: int, ids: pa.ChunkedArray) -> pa.Array:
        settings = self.recipe("generated")["settings"]
        size = settings["size"] if "size" in settings else settings["generate"]["size"]
        columns = ["id", f"image_{size}", f"box_{size}"]
        wanted = pc.field("id").isin(pc.unique(ids))
        found = self.tables["resized"].read(self._parts["resized"].rows[bucket], columns, wanted)
        pictures = found[columns[1]].to_pylist()
        if self._originals == "content":
            pictures = [_content(*pair) for pair in zip(pictures, found[columns[2]].to_pylist(), strict=True)]
        return pa.array(pictures, pa.binary()).take(
            pc.index_in(ids.combine_chunks(), value_set=found["id"].combine_chunks())
        )


def _content(square: bytes, box: list[int]) -> bytes:
    from artsim.images import crop_box, decode_jpeg, encode_jpeg

    return encode_jpeg(crop_box(decode_jpeg(square), np.array(box)), _CONTENT_QUALITY)


def export(root: str, destination: str, form: str, originals: str = "none") -> Counter[str]:
    """Write the regenerated set below a folder or URL, the card last; returns how many of what there are.

    Raises ExportError where the destination is not empty or the form is not known, TableError where a table lacks.
    """
    for option, value, known in (("--as", form, tuple(FORMATS)), ("--originals", originals, ORIGINALS)):
        if value not in known:
            raise ExportError(f"{option} {value}: must be one of {', '.join(known)}")
    store = Store(destination)
    _refuse_what_is_there(store)
    samples = Samples(root, originals)
    writer = FORMATS[form](store)
    for some in samples:
        writer.write(some)
    writer.close()
    recipes = {name: samples.recipe(name) for name in samples.tables}
    lost = {name: table["quarantined"] for name, table in status(root)["tables"].items()}
    store.write(CARD, write_card(recipes, samples.counts, lost, form, originals).encode())
    return samples.counts


def _refuse_what_is_there(store: Store) -> None:
    there = store.list()
    if not there:
        return
    what = (
        "holds an export already" if CARD in there else f"is not empty, and has no {CARD}: an export that was cut off?"
    )
    raise ExportError(f"{store.url} {what}; name another destination, or empty it first")
