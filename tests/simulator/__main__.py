"""``python -m simulator``: plays seeds, on all processors, until one fails."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer

from simulator.play import be_quiet, play, play_seeds
from simulator.story import story_of

CHUNK = 20


def main(
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many.")] = 1000,
    *,
    notes: Annotated[bool, typer.Option(help="Tell what each seed's ledger has noted.")] = False,
) -> None:
    """Play them; ends with 1 and the shortest story that fails when one does."""
    be_quiet()
    if notes:
        for seed in range(first, first + seeds):
            typer.echo("\n".join((f"seed {seed}", *play(story_of(seed)).notes)))
        return
    began = time.monotonic()
    counts: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool() as pool:
        for found, failure in pool.imap_unordered(play_seeds, _chunks(first, seeds)):
            counts += found
            if failure:
                typer.echo(failure)
                raise typer.Exit(1)
    rate = counts["seeds"] / (time.monotonic() - began) * 60
    for name, count in sorted(counts.items()):
        typer.echo(f"{count:>12,} {name}")
    typer.echo(f"{rate:>12,.0f} seeds a minute")


def _chunks(first: int, seeds: int) -> Iterator[range]:
    for start in range(first, first + seeds, CHUNK):
        yield range(start, min(start + CHUNK, first + seeds))


if __name__ == "__main__":
    typer.run(main)
