"""Files of strangers: damaged samples of every kind of file that is read, `--tries` of each; see `_fuzz.py`.

`--quick` tries 300 of each, `--only NAME` one kind, `--show NAME NUMBER` does one trial again and prints what it said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _fuzz
import _fuzz_formats
import _fuzz_store
from _measure import report, target

FEW, TRIES = 300, 10_000


def loaders() -> dict[str, _fuzz.Loader]:
    """Every loader by name: those of a store, and those of formats of others."""
    return {loader.name: loader for loader in (*_fuzz_store.LOADERS, *_fuzz_formats.LOADERS)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{FEW} tries of each")
    parser.add_argument("--tries", type=int, default=TRIES, help="of each loader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=sorted(loaders()), help="this loader; may be repeated")
    parser.add_argument("--show", nargs=2, metavar=("NAME", "NUMBER"), help="do one trial again")
    given = parser.parse_args(argv)
    if given.show:
        with tempfile.TemporaryDirectory() as folder:
            name, number = given.show
            return vars(_fuzz.once(loaders()[name], int(number), Path(folder), given.seed))
    chosen = {name: loader for name, loader in loaders().items() if not given.only or name in given.only}
    tries = FEW if given.quick else given.tries
    found = {}
    for name, loader in chosen.items():
        print(f"{name}: {tries} tries", file=sys.stderr, flush=True)
        found[name] = _fuzz.run(loader, tries, given.seed)
    print(_fuzz.table(found), file=sys.stderr)
    targets = [
        target("files tried", sum(one["tried"] for one in found.values()), "files", at_least=tries * len(found)),
        target(
            "loaders that crashed, ran code or wrote outside",
            sum(one["crashed"] for one in found.values()),
            "times",
            at_most=0,
        ),
    ]
    return report({"targets": targets, "seed": given.seed, "loaders": found})


if __name__ == "__main__":
    result = main()
    if "targets" not in result:
        print(result["mutation"], result["verdict"], result["said"], sep="\n")
    sys.exit(0 if all(t["met"] for t in result.get("targets", [])) else 1)
