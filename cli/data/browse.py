"""`tg data browse`: look at a dataset in the browser, and correct its labels."""

from __future__ import annotations

import sys
import threading
import webbrowser
from pathlib import Path

import click

from training_ground.cli.common import emit, json_option, store_argument
from training_ground.cli.data._selection import open_store


@click.command(
    epilog="""\b
Examples:
  tg data browse data/bins
  tg data browse data/bins --author ann --no-open
  tg data browse data/bins --port 8123 --json

Episodes with filters, plots, the robot's replay, pictures, quality, and labels that can be corrected. Only this
machine can reach the page, and only with the token in the address that is printed. Ctrl-C ends it."""
)
@store_argument
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="This machine; another one is refused.")
@click.option("--author", envvar="TG_AUTHOR", show_envvar=True, default="", help="Who corrects labels.")
@click.option("--no-open", is_flag=True, help="Print the address and open no browser.")
@json_option
def command(store: Path, port: int, host: str, author: str, no_open: bool, as_json: bool) -> None:
    """Serve a page on this machine about the episodes of STORE."""
    from training_ground.agents.browsing.answers import Answers
    from training_ground.agents.browsing.server import Server

    with Server(Answers(open_store(store), author), port, host) as server:
        data = {"path": str(store), "url": server.url, "token": server.token, "port": server.port}
        emit(data, as_json, [f"{store}: {server.url}", "Ctrl-C ends it."])
        sys.stdout.flush()  # whoever started this reads the address from a pipe
        if not (no_open or as_json):
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            click.echo("ended", err=True)
