"""Data card and Croissant: right numbers, code that runs, and nothing of a stranger's that does."""

from __future__ import annotations

import hashlib
import html.parser
import json
import re
import runpy
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import planted
import pytest
import yaml

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets import about
from training_ground.datasets.card import summary as summaries
from training_ground.datasets.card.document import markdown_text, printable
from training_ground.datasets.card.gathering import Gatherer, limits_of
from training_ground.datasets.card.summary import Summary, summarise
from training_ground.datasets.card.writing import write_card
from training_ground.datasets.croissant import to_croissant
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.quality.measure import ANGLES
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store

pytest.importorskip("matplotlib")
NASTY = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> $\\frac{ ![i](http://x.test/i.png) [l](javascript:a) "
    "|`*_ &lt;b&gt; http://x.test www.x.test a@x.test -->]]></svg> \u202eabc\u0000\u001b[31m\n# head\n- item"
)
TAGS = "html head meta title style body main section div span p h1 h2 ul li b table thead tbody tr th td figure "
TAGS += "figcaption pre code svg g path defs use text rect clippath"


def record(store: Store, seeds: range) -> None:
    fake_env.play(Recorder(fake_env.FakeEnv(steps=20), store, policy="test"), seeds)


@pytest.fixture(scope="module")
def carded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Summary]:
    store = Store.create(tmp_path_factory.mktemp("card") / "fake", make_schema(fake_env.FakeEnv()))
    record(store, range(7))
    assert main(["data", "card", str(store.path), "--title", "Three joints", "--licence", "CC0-1.0"]) == 0
    return store, summarise(store)


class Reader(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(key, value or "") for key, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_the_card_tells_what_is_in_the_store(carded: tuple[Store, Summary]) -> None:
    store, summary = carded
    text = " ".join((store.path / "README.md").read_text().replace("\\", "").split())
    assert "| Success | 4 of 7, 57%; 95 % interval 25% to 84% (Wilson) |" in text  # Wilson 1927, by hand
    assert "7 episodes, 110 steps, 2.2 s of simulated time" in text
    assert "| Lengths | 0.20 to 0.40 s, median 0.40 s |" in text and "| fall | 3 |" in text
    frictions = [store.metadata(n).randomisation["friction"] for n in store.episodes()]
    assert f"| friction | 7 | {min(frictions):.4g} to {max(frictions):.4g} |" in text
    assert "Without success: 1 · 3 · 5." in text and "| joint_velocity | 3 | float32 | rad/s | joint |" in text
    actions = np.concatenate([store.read(n).columns["action"][:-1] for n in store.episodes()])
    assert summary.actions is not None and np.array_equal(summary.actions.high, actions.max(axis=0).astype(float))
    assert np.allclose(summary.actions.q99, np.quantile(actions.astype(float), 0.99, axis=0))
    returns = {n: store.read(n).columns["reward"].sum() for n in store.episodes()}
    assert summary.returns == pytest.approx(returns)
    assert summary.limits is None, "a robot that nobody here knows has no limits"
    assert {e.episode.success for e in summary.examples} == {True, False}


def test_the_page_needs_no_network_and_runs_nothing(carded: tuple[Store, Summary]) -> None:
    page = (carded[0].path / "card.html").read_text()
    reader = Reader(page)
    assert reader.tags <= set(TAGS.split()) and page.count("<svg ") == 6
    assert "default-src 'none'" in page and not re.search(r"(src|href)=\"(?!#)", page)
    assert all(name in reader.text for name in ("Three joints", "CC0-1.0", "left knee", "success (4)"))


def test_same_store_same_bytes(carded: tuple[Store, Summary]) -> None:
    files = [carded[0].path / name for name in ("README.md", "card.html")]
    before = [file.read_bytes() for file in files]
    write_card(carded[0])
    assert [file.read_bytes() for file in files] == before


def test_the_code_on_the_card_runs(carded: tuple[Store, Summary], monkeypatch: pytest.MonkeyPatch) -> None:
    store = carded[0]
    monkeypatch.chdir(store.path)
    blocks = re.findall(r"```python\n(.*?)```", (store.path / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for index, block in enumerate(blocks):
        path = store.path.parent / f"block{index}.py"
        path.write_text(block)
        assert np.array_equal(runpy.run_path(str(path))["values"], store.read(0).columns["joint_position"])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Summary]:
    """A store whose every text is an attack, with its card."""
    env: Any = fake_env.FakeEnv(joints=(NASTY, "$x$", "_"))
    env.channels = tuple(
        c if c.role == "action" else type(c)(**{**c.to_json(), "unit": NASTY[:64], "frame": NASTY[8:70]})
        for c in env.channels
    )
    schema = make_schema(env)
    channels = tuple(c.model_copy(update={"description": NASTY}) for c in schema.channels)
    environment = {"physics": {NASTY: NASTY}}
    texts = {"robot": NASTY, "instruction": NASTY, "environment": environment, "channels": channels}
    store = Store.create(tmp_path_factory.mktemp("card") / "hostile", schema.model_copy(update=texts))
    recorder = Recorder(env, None)
    for seed in range(3):
        recorder.reset(seed=seed)
        while not any(recorder.step(np.full(3, 0.1, np.float32))[2:4]):
            pass
        assert recorder.episode is not None
        update: dict[str, Any] = dict.fromkeys(("env_id", "instruction", "robot"), NASTY)
        update |= {"failure": NASTY, "code_commit": NASTY[:100], "versions": {NASTY: NASTY}, "ended_ns": 2**62}
        update |= {"kwargs": {"tier": NASTY}, "randomisation": {NASTY: {NASTY: NASTY}}, "started_ns": 2**62}
        policy = recorder.episode.metadata.policy.model_copy(update={"name": NASTY, "operator": NASTY[:200]})
        metadata = recorder.episode.metadata.model_copy(update={**update, "policy": policy})
        store.append(Episode(metadata, recorder.episode.columns))
    about.update(store.path, title=NASTY[:500], description=NASTY, licence=NASTY, creators=(NASTY,), limits=(NASTY,))
    return store, write_card(store)


def test_texts_of_strangers_are_shown_and_nothing_else(hostile: tuple[Store, Summary]) -> None:
    store, summary = hostile
    page = (store.path / "card.html").read_text()
    reader = Reader(page)
    assert reader.tags <= set(TAGS.split()), "a stranger's text became an element"
    assert not any(
        key.startswith("on") or "javascript" in value for key, value in reader.attributes if key != "aria-label"
    )
    assert "<script>alert(1)</script>" in reader.text, "it is to be seen as it is"
    assert not set(page) & set("\u0000\u001b\u202e")
    text = (store.path / "README.md").read_text()
    assert "<" not in re.sub(r"```.*?```", "", text, flags=re.DOTALL) and not set(text) & set("\u0000\u001b\u202e")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pretty_name"].startswith("<script>") and "license" not in head
    data = json.dumps(to_croissant(store, summary))
    assert "\\u0000" not in data and "\\u202e" not in data


def test_markdown_of_strangers_makes_no_links(hostile: tuple[Store, Summary]) -> None:
    markdown_it = pytest.importorskip("markdown_it")
    store = hostile[0]
    reader = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse((store.path / "README.md").read_text().split("---\n", 2)[2])
    tokens += [child for token in tokens for child in token.children or ()]
    found = {token.type for token in tokens}
    assert "table_open" in found and not found & {
        "link_open",
        "image",
        "html_block",
        "html_inline",
        "em_open",
        "s_open",
    }
    assert sum(token.type == "heading_open" for token in tokens) == 9
    assert all(token.content.count("script") == 0 for token in tokens if token.type == "fence")
    assert "://" not in markdown_text("see http://x.test") and markdown_text("1. a") == "1\\. a"
    assert printable("a\nb\u202e" + "c" * 600, 8) == "a b\ufffdccc…"


def test_numbers_of_strangers_break_no_plot(carded: tuple[Store, Summary], tmp_path: Path) -> None:
    store = Store.create(tmp_path / "numbers", carded[0].schema.model_copy(update={"control_rate": 1e-300}))
    odd = (1e308, -1e308, np.inf, np.nan, 1e-320, 0.0)
    for value in odd:
        episode = carded[0].read(0)
        columns = {name: values.copy() for name, values in episode.columns.items()}
        columns["reward"][:] = 0
        columns["reward"][1] = value
        columns["joint_position"][3] = np.float32(np.clip(value, -3e38, 3e38))
        columns["action"][2] = np.nan
        store.append(Episode(episode.metadata.model_copy(update={"seed": 2**62}), columns))
    summary = write_card(store)
    assert len(summary.returns) == len(odd) and (store.path / "card.html").read_text().count("<svg ") == 3


def test_somebody_s_own_readme_is_not_overwritten(carded: tuple[Store, Summary], tmp_path: Path) -> None:
    store = Store.create(tmp_path / "own", carded[0].schema)
    (store.path / "README.md").write_text("# Mine\n")
    with pytest.raises(DatasetError, match="was not made by tg data card"):
        write_card(store)
    assert (store.path / "README.md").read_text() == "# Mine\n" and not (store.path / "card.html").exists()


def test_an_empty_store_and_a_damaged_one_have_cards(carded: tuple[Store, Summary], tmp_path: Path) -> None:
    store = Store.create(tmp_path / "empty", carded[0].schema)
    write_card(store)
    assert "0 episodes" in (store.path / "README.md").read_text()
    record(store, range(2))
    raw = bytearray(store.file(1).read_bytes())
    raw[100] ^= 1
    store.file(1).write_bytes(raw)
    summary = write_card(store)
    assert len(summary.damaged) == 1 and "is damaged" in summary.damaged[0] and list(summary.returns) == [0]
    assert "Damaged: episodes" in (store.path / "README.md").read_text()


def test_of_many_episodes_a_sample_is_read(carded: tuple[Store, Summary], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "MOST_READ", 3)
    summary = summarise(carded[0])
    assert list(summary.returns) == [0, 3, 6] and len(summary.episodes) == 7


def test_about_is_kept_and_checked(tmp_path: Path) -> None:
    about.update(tmp_path, title="A", creators=("x", "y"))
    assert about.update(tmp_path, title="", licence="MIT") == about.About(title="A", creators=("x", "y"), licence="MIT")
    for wrong in ({"url": "javascript:alert(1)"}, {"version": "1"}, {"published": "yesterday"}):
        with pytest.raises(DatasetError, match=next(iter(wrong))):
            about.update(tmp_path, **wrong)
    (tmp_path / "about.json").write_text('{"title": "a", "extra": 1}')
    with pytest.raises(DatasetError, match="extra"):
        about.read(tmp_path)


def test_croissant_lists_files_records_and_units(carded: tuple[Store, Summary]) -> None:
    """Whether `mlcroissant` accepts it and reads the records is checked by `make croissant`."""
    store = carded[0]
    data = json.loads((store.path / "croissant.json").read_text())
    assert data["conformsTo"] == "http://mlcommons.org/croissant/1.0" and data["license"] == "CC0-1.0"
    assert "creator" not in data, "what nobody has said is not made up"
    files = {file["@id"]: file for file in data["distribution"]}
    for path, file in files.items():
        if file["@type"] == "cr:FileObject":
            assert hashlib.sha256((store.path / path).read_bytes()).hexdigest() == file["sha256"]
    assert len(files) == 7 + 3 and files["episode-files"]["includes"] == "episodes/episode_*.parquet"
    episodes, steps = data["recordSet"]
    assert [row["episodes/success"] for row in episodes["data"]] == ["true", "false"] * 3 + ["true"]
    fields = {field["name"]: field for field in steps["field"]}
    assert set(fields) == {"episode", *store.schema.columns()}
    assert "Unit: rad/s." in fields["joint_velocity"]["description"]
    assert "'<f8').reshape(2, 2)" in fields["base_pose"]["description"]
    assert (fields["counter"]["dataType"], fields["is_last"]["dataType"]) == ("sc:Integer", "sc:Boolean")


def test_limits_are_those_of_the_dataset(tmp_path: Path) -> None:
    store = planted.record(tmp_path / "arm", [0])
    limits = summarise(store).limits
    assert limits is not None and limits.tolist() == [[-2.5, 2.5]] * 3
    channels = tuple(c for c in store.schema.channels if c.name != "joint_angle")
    observed = store.schema.model_copy(update={"channels": channels})
    assert limits_of(observed, Gatherer(observed, ANGLES, 10)) is None, "what is observed may be counted from a pose"
