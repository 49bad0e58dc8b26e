"""Questions in SQL to the index of a store, answered by DuckDB, which is told to touch nothing else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from training_ground.configs.errors import DatasetError
from training_ground.datasets.index import Index
from training_ground.datasets.labels import with_scores

if TYPE_CHECKING:
    import duckdb

DEFAULT_COLUMNS = ("number", "task", "tier", "seed", "policy", "seconds", "success", "failure", "quality", "tags")
MEMORY = "1GB"
TIMEOUT_S = 60.0
"""Seconds after which a question is given up; a single function over a huge text cannot be stopped."""

# Order matters: nothing can be changed after the last one. Spilling to disk is off as well.
_LOCKS = (
    "SET temp_directory = ''",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


def query(
    index: Index, where: str = "", columns: Sequence[str] = DEFAULT_COLUMNS, order: str = "number", limit: int = 0
) -> list[dict[str, Any]]:
    """Return the episodes for which `where` holds, one dict an episode.

    Args:
        index: Of the store.
        where: A condition in SQL such as `success and seed < 100 and task = 'BinPick'`; all episodes where empty.
        columns: Names or expressions, such as `seconds / 60 as minutes`.
        order: What follows ORDER BY, such as `seconds desc`.
        limit: Most rows; 0 for all.

    Raises:
        DatasetError: The SQL is wrong; the message names the columns that there are.
    """
    asked = " ".join([where, *columns, order])
    with _answering(index, asked) as connection:
        # Expressions and nothing else: each is parsed by itself, so that no bracket or semicolon leads out of it.
        relation = connection.table("episodes")
        relation = relation.filter(where) if where.strip() else relation
        relation = relation.order(order) if order.strip() else relation
        relation = relation.limit(limit) if limit else relation
        return _rows(relation.project(", ".join(columns)))


def select(index: Index, where: str) -> list[int]:
    """Return the numbers of the episodes for which `where` holds, in order.

    Raises:
        DatasetError: As `query`.
    """
    return [row["number"] for row in query(index, where, ["number"])]


def sql(index: Index, text: str) -> list[dict[str, Any]]:
    """Answer one SELECT over the tables `episodes` and `records` (every annotation), one dict a row.

    A column `split_<name>` for each split of the store, and the column `scores`, are there where `text` speaks of them.

    Raises:
        DatasetError: It is no single SELECT, is wrong, or takes longer than `TIMEOUT_S` or more than `MEMORY`.
    """
    import duckdb

    with _answering(index, text) as connection:
        statements = connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise DatasetError(f"query: must be one SELECT, and nothing else: {_short(text)}")
        return _rows(connection.execute(statements[0]))


@contextlib.contextmanager
def _answering(index: Index, asked: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that knows the tables and nothing else, and turn its errors into ours."""
    import duckdb

    if "scores" in asked.lower():  # most questions are about something else, and it takes seconds for 100,000 episodes
        index = replace(index, episodes=with_scores(index))
    if "split_" in asked.lower():
        from training_ground.datasets.split import with_splits

        index = replace(index, episodes=with_splits(index))
    episodes = index.episodes
    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": MEMORY}) as connection:
        connection.register("episodes", episodes)
        connection.register("records", index.records)
        for setting in _LOCKS:
            connection.execute(setting)
        timer = threading.Timer(TIMEOUT_S, connection.interrupt)
        timer.start()
        try:
            yield connection
        except duckdb.InterruptException as problem:
            raise DatasetError(f"query: given up after {TIMEOUT_S:g} s: {_short(asked)}") from problem
        except (duckdb.Error, RuntimeError) as problem:
            raise DatasetError(_explain(problem, episodes.column_names)) from problem
        finally:
            timer.cancel()


def _rows(result: duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    names = [str(column[0]) for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _explain(problem: Exception, columns: Sequence[str]) -> str:
    import duckdb

    lines = str(problem).splitlines()
    message = f"query: {lines[0] if lines else type(problem).__name__}"
    near = next((line.strip() for line in lines if line.strip().startswith("LINE")), "")
    message += f" ({near.partition(': ')[2].strip()})" if near else ""
    if isinstance(problem, (duckdb.BinderException, duckdb.ParserException)):
        message += f". Columns: {', '.join(columns)}"
    return message


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:200] + "…"
