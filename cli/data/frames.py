"""`tg data frames`: look at the pictures of an episode."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, store_argument


@click.command(
    epilog="""\b
Examples:
  tg data frames data/sort 0 --strip sort.png
  tg data frames data/sort 0 --channel camera_inspection --count 20 --out pictures
  tg data frames data/sort 0 --row 0 --row 250 --out pictures --json

Depth is drawn near bright and far dark in a strip, and written as 16-bit millimetres in files."""
)
@store_argument
@click.argument("episode", type=click.IntRange(0))
@click.option("--channel", metavar="NAME", help="Which; the first picture where absent. See `tg data ls --channels`.")
@click.option("--count", type=click.IntRange(1, 10_000), default=8, show_default=True, help="Rows, evenly spread.")
@click.option("--row", "rows", type=click.IntRange(0), multiple=True, help="This row instead; may be given again.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for one PNG file a row.")
@click.option("--strip", type=click.Path(path_type=Path, dir_okay=False), help="PNG file with all side by side.")
@json_option
def command(
    store: Path,
    episode: int,
    channel: str | None,
    count: int,
    rows: tuple[int, ...],
    out: Path | None,
    strip: Path | None,
    as_json: bool,
) -> None:
    """Write pictures of EPISODE of STORE, as files or as one strip, and say how its video is kept."""
    from training_ground.configs.errors import DatasetError
    from training_ground.datasets import looking
    from training_ground.datasets.store import Store

    opened = Store.open(store)
    name = looking.choose_channel(opened.schema, channel)
    read = opened.read(episode)
    total = read.length + 1
    if rows and max(rows) >= total:
        raise DatasetError(f"--row {max(rows)}: episode {episode} has rows 0 to {total - 1}")
    chosen = list(rows) or looking.evenly(read, name, count)
    written = looking.write_frames(read, name, chosen, out) if out is not None else []
    if strip is not None:
        written.append(looking.write_png(strip, looking.strip(read, name, chosen)))
    media = read.metadata.media.get(name)
    kept = None if media is None else media.model_dump(mode="json")
    data = {"episode": episode, "channel": name, "rows": chosen, "files": written, "media": kept}
    lines = [str(path) for path in written]
    if media is None:
        lines.append(f"{name}: {total} rows in the episode file")
    else:
        loss = "nothing is lost" if media.psnr_db is None else f"PSNR {media.psnr_db:.1f} dB"
        lines.append(f"{name}: {total} rows, {media.frames} frames, {media.bytes:,} bytes, {loss}")
    emit(data, as_json, lines)
