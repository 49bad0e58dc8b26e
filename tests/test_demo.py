"""`tg demo`, and the page about recorded episodes."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium
from click.testing import CliRunner

from training_ground.agents import demo as demo_module
from training_ground.agents.demo import Demo, choose_policy, run_demo
from training_ground.agents.policy import ZeroPolicy
from training_ground.agents.report.charts import Chart, Limit, Line, nice_ceiling, ticks, visible_points
from training_ground.agents.report.measures import hardest, joint_loads, measure
from training_ground.agents.report.motion import figure_data, motion_data
from training_ground.agents.report.strip import film_strip, project
from training_ground.agents.viewing.figure import Figure
from training_ground.assets.catalog import load_model
from training_ground.cli.main import main, tg
from training_ground.configs.errors import AgentError, DatasetError
from training_ground.datasets import markup
from training_ground.datasets.store import Store
from training_ground.envs.world import World

SHORT: dict[str, Any] = {"push_speed": [0.5, 0.5], "push_interval_s": 0.2, "episode_length_s": 0.6}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    out = tmp_path_factory.mktemp("demo") / "demo"
    return run_demo(out, ZeroPolicy(), "zero", episodes=2, workers=1, conditions=SHORT)


@pytest.fixture(scope="module")
def store(done: Demo) -> Store:
    return Store.open(done.out / "data")


@pytest.fixture(scope="module")
def page(done: Demo) -> str:
    assert done.page is not None
    return done.page.read_text(encoding="utf-8")


def test_demo_does_every_step(done: Demo):
    assert done.ok and not done.interrupted
    assert (done.recorded, done.identical, done.exported) == (2, 2, 60)
    assert set(done.seconds) == {"record", "check", "replay", "export", "page"}
    assert (done.out / "lerobot" / "meta" / "info.json").is_file()
    assert json.loads(json.dumps(done.to_json()))["wilson_95"][0] >= 0


class _Links(HTMLParser):
    """Collects what a page would load, and checks that elements close in order."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_stands_alone_and_tells_the_numbers(page: str, done: Demo, store: Store):
    parser = _Links()
    parser.feed(page)
    assert parser.open == []
    assert parser.loads and all(value.startswith("data:image/jpeg;base64,") for value in parser.loads)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "{{" not in page
    assert f"{done.successes} of 2" in parser.text
    for number in store.episodes():
        metadata = store.metadata(number)
        assert f"seed {metadata.seed}" in parser.text
        assert metadata.content_sha256[:12] in parser.text
    assert store.schema.model_hash in parser.text
    assert "tg replay" in parser.text
    assert "--set 'push_speed=[0.5,0.5]'" in parser.text
    assert page.count("<svg") == 2 + 6, "a small multiple an episode, six charts of one"
    for drawing in re.findall(r"<svg.*?</svg>", page, re.S):
        ET.fromstring(drawing)


@pytest.mark.slow
def test_the_player_plays_in_a_real_browser(done: Demo, tmp_path: Path):
    with chromium(tmp_path) as browser:
        browser.open(done.page.absolute().as_uri())  # type: ignore[union-attr]
        browser.wait("document.querySelector('#stage .clock').textContent.endsWith(' s')")
        assert browser.run("document.querySelectorAll('#stage .episode option').length") == 2
        browser.run("replay.seek(0.3)")
        assert browser.run("document.querySelector('#stage .clock').textContent") == "0.30 s"
        assert browser.run("document.querySelector('#stage input').value") == "0.3"
        browser.run("document.querySelector('#stage .play').click()")
        browser.wait("Number.parseFloat(document.querySelector('#stage .clock').textContent) > 0.35")
        assert browser.problems == []


def test_page_holds_the_recorded_motion(page: str, store: Store):
    block = re.search(r'<script type="application/json" id="motion-data">(.*?)</script>', page, re.S)
    assert block is not None
    motions = json.loads(block[1])
    episode = store.read(1)
    motion = motions[1]
    assert motion["count"] == 16 and motion["step"] == pytest.approx(0.04)
    position = np.frombuffer(base64.b64decode(motion["position"]), "<f4").reshape(-1, 3)
    np.testing.assert_allclose(position, episode.columns["base_position"][::2], atol=1e-6)
    angles = np.frombuffer(base64.b64decode(motion["angles"]), "<i2").reshape(16, -1) * np.pi / 32767
    np.testing.assert_allclose(angles, episode.columns["joint_angle"][::2], atol=2e-4)
    pushes = np.flatnonzero(np.any(episode.columns["push_velocity"] != 0, axis=1))
    assert [push[0] for push in motion["pushes"]] == pytest.approx([(row - 1) * 0.02 for row in pushes])
    assert len(pushes) >= 2


def test_figure_survives_packing():
    figure = Figure.load("g1_legs")
    data = figure_data(figure)
    part = next(p for p in figure.parts if p.meshes)
    packed = data["parts"][figure.parts.index(part)]["meshes"][0]
    steps = np.frombuffer(base64.b64decode(packed["vertices"]), "<u2").reshape(-1, 3) / 65535
    unpacked = steps * packed["size"] + packed["low"]
    np.testing.assert_allclose(unpacked, part.meshes[0].vertices, atol=2e-5)


def test_measures_read_the_store(store: Store):
    episodes = [measure(episode) for episode in store]
    first = episodes[0]
    assert first.tilt.max() > first.tilt[0] >= 0
    assert all(push.speed == pytest.approx(0.5) for m in episodes for push in m.pushes)
    assert hardest(episodes) in episodes
    model = load_model("g1")
    loads = joint_loads(episodes, model)
    assert [load.joint for load in loads] == list(model.joint_names)
    assert all(0 <= load.median <= load.high <= load.most <= 1.0 + 1e-6 for load in loads)
    assert len(motion_data(episodes)) == 2


def test_a_second_run_goes_on_and_other_conditions_start_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(**options: Any) -> Demo:
        return run_demo(
            tmp_path / "d", ZeroPolicy(), "zero", **{"episodes": 2, "workers": 1, "conditions": SHORT, **options}
        )

    monkeypatch.setattr(demo_module, "build_page", lambda *_: "page")

    def stop_after_one(name: str, total: int) -> Any:
        def told(note: str) -> None:
            raise KeyboardInterrupt

        return told

    first = run(step=stop_after_one)
    assert first.interrupted and not first.ok and first.page is None
    second = run()
    assert (second.present, second.recorded, second.ok) == (1, 2, True)
    assert run(conditions={**SHORT, "push_speed": [0.2, 0.2]}).present == 0
    assert run(conditions={**SHORT, "push_speed": [0.2, 0.2]}, fresh=True).present == 0


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(AgentError, match="no demonstration made"):
        run_demo(tmp_path, ZeroPolicy(), "zero", episodes=1, conditions=SHORT)
    assert (tmp_path / "data" / "mine.txt").read_text() == "mine"
    with pytest.raises(AgentError, match="range that training uses"):
        run_demo(tmp_path / "new", ZeroPolicy(), "zero", episodes=1, seed=5)


def test_no_shipped_policy_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(demo_module, "shipped_policies", lambda: [])
    with pytest.raises(AgentError, match=r"no policy ships for Stand with robot 'g1'.*--policy zero"):
        choose_policy(None)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_command_reports_json_and_its_status(done: Demo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo_module, "run_demo", lambda *_, **__: done)
    result = CliRunner().invoke(tg, ["demo", "--policy", "zero", "--json"], standalone_mode=False)
    assert json.loads(result.stdout)["identical"] == 2
    assert result.return_value == 0
    result = CliRunner().invoke(tg, ["demo", "--policy", "zero"], standalone_mode=False)
    assert "2 of 2 bit for bit" in result.stdout and "index.html" in result.stdout
    broken = Demo(done.out, 2, problems=("episode_000000.parquet: damaged",), recorded=2)
    monkeypatch.setattr(demo_module, "run_demo", lambda *_, **__: broken)
    result = CliRunner().invoke(tg, ["demo", "--policy", "zero"], standalone_mode=False)
    assert result.return_value == 1 and "damaged" in result.stdout


def test_markup_escapes_everything():
    nasty = "<script>alert('x')</script>&\""
    assert "<script>" not in markup.tag("p", nasty, title=nasty)
    filled = markup.fill("<p>{{ a }}</p>{{ b }}", {"a": nasty, "b": markup.tag("b", "x")})
    assert filled.endswith("<b>x</b>") and "<script>" not in filled
    block = markup.data_block("d", {"a": "</script><script>alert(1)</script>"})
    assert block.count("</script>") == 1
    assert json.loads(re.sub(r"^<[^>]*>|</script>$", "", block)) == {"a": "</script><script>alert(1)</script>"}
    with pytest.raises(DatasetError, match="a, b"):
        markup.fill("{{ a }}", {"b": 1})


def test_charts_keep_peaks_and_choose_round_ticks():
    x = np.linspace(0, 20, 1001)
    y = np.zeros(1001)
    y[437] = 5.0
    kept = visible_points(x, y, 100)
    assert 437 in kept and {0, 1000} <= set(kept.tolist()) and len(kept) <= 202
    assert ticks(0, 20, 5) == [0, 5, 10, 15, 20]
    assert ticks(0.71, 0.83, 4) == [0.75, 0.8]
    assert [nice_ceiling(v) for v in (0.07, 1.2, 9.9, 1.0, 0)] == [0.08, 1.5, 10, 1, 1]
    chart = Chart(
        "Tilt <&>", x, [Line(y, "c0", "a"), Line(y, "c1", "b")], (0, 6), marks=[3.0], limits=[Limit(5, "top")]
    )
    drawing = ET.fromstring(chart.svg())
    assert len(drawing.findall("polyline")) == 2 and len(drawing.findall("polygon")) == 1
    assert "Tilt &lt;&amp;&gt;" in chart.figure()


def test_arrows_are_drawn_where_the_camera_sees():
    world = World()
    eye, target, place = (2.0, -1.0, 1.2), (0.1, 0.2, 0.7), (0.3, 0.1, 0.9)
    world.add_marker(0.03, (1.0, 0.0, 0.0, 1.0)).move(place)
    seen = world.camera(eye, target, width=160, height=120, field_of_view_deg=38.0).segmentation
    world.close()
    rows, columns = np.nonzero(seen >= 0)
    (x, y), *_ = project(np.array([place]), eye, target, 38.0, 160, 120)
    assert (columns.mean(), rows.mean()) == pytest.approx((x, y), abs=1.5)


def test_film_strip_shows_the_motion(store: Store):
    episode = measure(store.read(0))
    push = episode.pushes[0]
    pictures = film_strip(load_model("g1", visuals=True), episode, push, [push.time + 0.05, episode.seconds])
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)
    assert pictures[0] != pictures[1]
