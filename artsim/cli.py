"""The command `artsim`: what a root holds, and how alike two pictures are."""

from __future__ import annotations

import json
import posixpath
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from artsim import UserError

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Root = Annotated[str, typer.Argument(help="folder or URL of the tables")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object, for programs")]


@contextmanager
def _one_sentence() -> Iterator[None]:
    """End the program with exit code 1 and the error's own words where the user can do something about it."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")


@app.callback()
def main() -> None:
    """Regenerate a data set of paintings, learn how similar a picture is to an artwork, serve that score."""


@app.command()
def status(root: Root, as_json: Json = False) -> None:
    """Rows expected, done and quarantined in each table; how fast a running one goes, and when it will be done."""
    from artsim.tables import status as read_status

    with _one_sentence():
        found = read_status(root)
    print(json.dumps(found, indent=1) if as_json else "\n".join(_status_lines(found)))


def _status_lines(found: dict[str, Any]) -> list[str]:
    from artsim.progress import sentence

    lines = [f"{'table':<28} {'done':>11} {'expected':>11}  {'state':<42} quarantined"]
    for name, table in found["tables"].items():
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in table["quarantined"].items()) or "-"
        expected = "?" if table["expected"] is None else f"{table['expected']:,}"
        lines.append(f"{name:<28} {table['done']:>11,} {expected:>11}  {sentence(table):<42} {reasons}")
    return lines


def _print_reasons(wanted: bool) -> None:
    if wanted:
        from artsim.schemas import REASONS

        print("\n".join(f"{reason:<15} {meaning}" for reason, meaning in REASONS.items()))
        raise typer.Exit


@app.command()
def quarantine(
    root: Root,
    table: Annotated[str | None, typer.Option(help="only this table, such as resized")] = None,
    reason: Annotated[str | None, typer.Option(help="only this reason; --reasons lists them")] = None,
    export: Annotated[str | None, typer.Option(help="write all rows to this .csv or .parquet file")] = None,
    limit: Annotated[int, typer.Option(min=0, help="rows to show")] = 50,
    as_json: Json = False,
    reasons: Annotated[
        bool, typer.Option("--reasons", is_eager=True, callback=_print_reasons, help="what each reason means")
    ] = False,
) -> None:
    """Rows that could not be done, with the reason of each. Jobs try them again with --retry-quarantine."""
    from artsim import quarantine as lost

    with _one_sentence():
        found = lost.Quarantine.of(root, table, reason)
        if export is not None:
            print(f"{found.export(export):,} rows in {export}")
            return
        rows = found.first(limit)
    counts, more = found.counts(), found.num_rows - len(rows)
    if as_json:
        print(json.dumps({"root": root, "quarantined": counts, "rows": rows, "more": more}, indent=1))
        return
    lines = [*lost.counts_lines(counts), "", *map(lost.row_line, rows)] if counts else ["nothing is in quarantine"]
    print("\n".join(lines))
    if more:
        print(f"and {more:,} more: --limit shows more rows, --export writes all")


@app.command()
def export(
    root: Root,
    destination: Annotated[str, typer.Argument(help="empty folder or URL")],
    form: Annotated[str, typer.Option("--as", help="folders, parquet or webdataset")] = "folders",
    originals: Annotated[
        str, typer.Option(help="the painting beside its versions: none, square (as resized) or content (cut out)")
    ] = "none",
) -> None:
    """Write the regenerated set for others: pictures, what is known of them, and a data set card."""
    from artsim.export import export as write

    with _one_sentence():
        counts = write(root, destination, form, originals)
    print(f"{counts['versions']:,} versions of {counts['paintings']:,} paintings in {destination}")


@app.command()
def remove(
    root: Root,
    ids: Annotated[
        list[str] | None, typer.Argument(help="works, by id: the path below the source, no extension")
    ] = None,
    from_file: Annotated[Path | None, typer.Option(help="a text file with an id on each line")] = None,
    export: Annotated[list[str] | None, typer.Option(help="an export that they are taken out of too")] = None,
) -> None:
    """Take works out of all tables, and of exports, for good: no job brings them back. Stop the jobs first."""
    from artsim import recall, removal

    lines = _read(from_file)[1].decode().splitlines() if from_file else []
    wanted = [*(ids or []), *filter(None, map(str.strip, lines))]
    if not wanted:
        sys.exit("error: no work is named: give ids, or --from-file")
    with _one_sentence():
        for place in export or ():
            recall.form_of(place)  # a misspelt one is told before anything is changed
        found = removal.remove(root, wanted)
    print("\n".join(_removal_lines(wanted, found)))
    for place in export or ():
        print(f"{place}: {recall.recall(place, wanted):,} versions")


def _removal_lines(wanted: list[str], found: Any) -> list[str]:
    lines = [f"removed {len(set(wanted)):,} works, and what was made of them; the source still has its files"]
    lines += [f"{name}: {count:,} rows" for name, count in found.rows.items()]
    lines += [f"{name}: its report and examples showed them and are gone" for name in found.reports]
    lines += [
        f"{name}: its index held them and is gone: jobs/index.py makes it anew; restart what serves it"
        for name in found.indexes
    ]
    return lines + [
        f"{name} learned from {', '.join(ids)}: delete it or train it again (jobs/train.py --overwrite)"
        for name, ids in found.models.items()
    ]


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="a picture")],
    second: Annotated[Path, typer.Argument(help="another picture")],
    model: Annotated[str, typer.Option(help="folder or URL of a trained model, such as runs/demo/models/a70")],
    prior: Annotated[
        float, typer.Option(help="share of the pairs at hand that are an original and its version, 0 to 1")
    ] = 0.5,
    drawing: Annotated[
        str | None, typer.Option("--map", help="a .png file: both pictures, matching patches joined")
    ] = None,
    as_json: Json = False,
) -> None:
    """How alike two pictures are, from -1 to 1, and what that means; with --map also where they match."""
    pictures = [_read(path) for path in (first, second)]  # a misspelt name is told at once
    if drawing is not None and not drawing.lower().endswith(".png"):
        sys.exit(f"error: --map {drawing}: is written as PNG, so its name must end in .png")
    from artsim.calibration import check_prior, sentences

    with _one_sentence():
        check_prior(prior)
        from artsim.scorer import Scorer

        scorer = Scorer.load(model)
        seen = scorer.read(pictures)
        similarity = float(seen.embeddings[0] @ seen.embeddings[1])
        found = None if drawing is None else _draw_map(scorer, seen, pictures, drawing)
    meaning = scorer.calibration.meaning(similarity, prior) if scorer.calibration else None
    answer = {"similarity": round(similarity, 6), "model": model, "recipe": scorer.recipe}
    answer |= (meaning or dict.fromkeys(("percentiles", "probability", "prior"))) | {"map": found}
    lines = sentences(meaning) if meaning else ["not calibrated: jobs/evaluate.py measures what that means"]
    if found:
        lines.append(f"{len(found['matches'])} of {found['grid'] ** 2} patches match: {drawing} shows where")
    print(json.dumps(answer) if as_json else "\n".join([f"{similarity:.4f}  {first} and {second}", *lines]))


def _draw_map(scorer: Any, seen: Any, pictures: list[tuple[str, bytes]], place: str) -> dict[str, Any]:
    """Write a PNG of where two pictures match, whole or not at all; and the matches for programs."""
    from io import BytesIO

    from artsim import correspondence, images
    from artsim.store import Store

    matches = scorer.match(*seen.tokens)
    # The scorer has read both by now, within its own limit of pixels.
    first, second = (images.decode_small(data, sys.maxsize, correspondence.MAX_HEIGHT_PX)[0] for _, data in pictures)
    file = BytesIO()
    correspondence.draw(first, second, matches).save(file, "PNG", optimize=True)
    folder, name = posixpath.split(place)
    Store(folder or ("/" if place.startswith("/") else "."), "--map").write(name, file.getvalue())
    return correspondence.to_json(matches, seen.tokens.shape[1])


@app.command()
def search(
    picture: Annotated[Path, typer.Argument(help="a picture")],
    model: Annotated[str, typer.Option(help="folder or URL of a trained model with an index (jobs/index.py)")],
    k: Annotated[int, typer.Option("-k", min=1, help="paintings to show")] = 12,
    genre: Annotated[str | None, typer.Option(help="only paintings of this genre")] = None,
    artist: Annotated[str | None, typer.Option(help="only paintings by this artist")] = None,
    as_json: Json = False,
) -> None:
    """The paintings that a picture is most like, and how alike they are, from -1 to 1."""
    given = _read(picture)
    with _one_sentence():
        from artsim.index import Index
        from artsim.scorer import Scorer

        scorer = Scorer.load(model)
        index = Index.load(model, scorer.recipe)
        num_searched = index.count(genre, artist)
        (hits,) = index.search(scorer.embed([given]), k, genre, artist)
    if not as_json:
        print(f"the {len(hits)} most like {picture} among {num_searched:,} paintings:")
        print("\n".join(f"{hit.similarity:.4f}  {hit.id}" for hit in hits))
        return
    results = []
    for hit in hits:
        meaning = scorer.calibration.meaning(hit.similarity, 0.5) if scorer.calibration else None
        told = {name: meaning[name] if meaning else None for name in ("percentiles", "probability")}
        results.append(hit._asdict() | {"similarity": round(hit.similarity, 6)} | told)
    print(json.dumps({"results": results, "num_searched": num_searched, "model": model, "recipe": scorer.recipe}))


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="whose key it is; letters, digits and ._@-")],
    file: Annotated[Path | None, typer.Option(help="the service's file of keys, to which its line is added")] = None,
) -> None:
    """Make an API key for the service: it is printed this once, alone on standard output."""
    from artsim import keys

    with _one_sentence():
        secret, line = keys.make(name)
        if file is not None:
            keys.append(file, line)
    print(secret)
    where = f"is added to {file}" if file else "belongs into the file of keys"
    print(f"Give it to {name} now: only the hash is kept. This line {where}:\n{line}", file=sys.stderr)


def _read(path: Path) -> tuple[str, bytes]:
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        sys.exit(f"error: {path} cannot be read: {error.strerror}")


if __name__ == "__main__":
    app()
