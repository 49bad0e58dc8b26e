"""`tg leaderboard`: a page that ranks signed product tests, from the result files in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, progress, table

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="""\b
Examples:
  tg leaderboard results --key signing.pem.pub --out board.html
  tg leaderboard results --key ours.pem.pub --key theirs.pem.pub --out board.html --title "Button presses"
  tg leaderboard results --key signing.pem.pub --out board.html --json

Ranked is only what was signed with a --key that you trust and whose numbers follow from its trials; the rest is listed
apart. The same content is written as JSON beside the page. Sign results with `tg certify --key`."""
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=FILE, required=True, help="The page; its JSON gets the same name with .json.")
@click.option("--key", "keys", type=FILE, multiple=True, help="Public key that you trust.")
@click.option("--title", default="Leaderboard", show_default=True)
@json_option
def command(folder: Path, out: Path, keys: tuple[Path, ...], title: str, as_json: bool) -> int:
    """Rank the signed results in FOLDER and below it, and write the page."""
    from training_ground.agents.certification.leaderboard import gather
    from training_ground.agents.certification.report.board_page import build_board
    from training_ground.agents.files import to_json, write_atomic
    from training_ground.cli.data._place import read_keys
    from training_ground.configs.errors import AgentError

    data_path = out.with_suffix(".json")
    if data_path == out:
        raise AgentError(f"--out {out}: the page's name must not end in .json; that is its data")
    if data_path.resolve().is_relative_to(folder.resolve()):
        raise AgentError(f"--out {out}: lies in the folder of results; its .json would be taken for one")
    with progress("checking", None, unit="files", quiet=as_json) as shown:
        board = gather(folder, read_keys(keys), lambda name: shown.advance(1, name))
    write_atomic(out, build_board(board, title))
    data = board.to_json()
    write_atomic(data_path, to_json(data))
    rows = [
        (
            f"{e.place}{' =' if e.tied else ''}",
            e.policy,
            e.rate,
            f"{e.low:.1%} to {e.high:.1%}",
            one.scenario,
            one.tier,
            one.title,
        )
        for one in board.tables
        for e in one.entries
    ]
    left = [f"not ranked: {one.file}: {one.reason}" for one in board.unranked]
    left += [f"refused: {one.file}: {one.reason}" for one in board.refused]
    columns = ["place", "policy", "success", "95 % interval", "scenario", "tier", "test"]
    emit(
        data | {"page": str(out), "data": str(data_path)},
        as_json,
        [table("", columns, rows), *left, f"{out}, {data_path}"],
    )
    return 0
