"""Sources made by code as others publish them: Parquet shards with labels, tars in WebDataset's layout."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LABELS = {
    "artist": ["Unknown Artist", "boris-kustodiev", "Claude Monet"],
    "genre": ["portrait", "landscape", "Unknown Genre"],
    "style": ["Art_Nouveau", "Impressionism"],
}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_shard(
    path: Path,
    pictures: Mapping[str, Sequence[dict[str, Any] | None]],
    labels: Mapping[str, list[int | None]],
    texts: Mapping[str, list[str]] | None = None,
) -> Path:
    """A shard as the package `datasets` writes it: image structs, integer labels, their names in the schema."""
    features: dict[str, Any] = {name: {"_type": "Image"} for name in pictures}
    features |= {name: {"names": LABELS[name], "_type": "ClassLabel"} for name in labels}
    columns = {name: pa.array(values, IMAGE) for name, values in pictures.items()}
    columns |= {name: pa.array(values, pa.int64()) for name, values in labels.items()}
    columns |= {name: pa.array(values, pa.string()) for name, values in (texts or {}).items()}
    noted = json.dumps({"info": {"features": features}})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata({"huggingface": noted}), path, row_group_size=2)
    return path


def image(data: bytes, path: str | None = None) -> dict[str, Any]:
    """What lies in a cell of a column of pictures."""
    return {"bytes": data, "path": path}


def tar_bytes(members: Mapping[str, bytes], compression: str = "") -> bytes:
    """A tar of some members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
