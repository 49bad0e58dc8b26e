"""Pages about product tests: they stand alone, tell every number, and run nothing that a result file says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from certified import made, sealed, write
from chromium import chromium

from training_ground.agents.certification.checking import check, sign_result
from training_ground.agents.certification.compare import compare
from training_ground.agents.certification.leaderboard import gather
from training_ground.agents.certification.report.board_page import build_board
from training_ground.agents.certification.report.compare_page import build_comparison
from training_ground.agents.certification.report.films import draw_films, failed_trials
from training_ground.agents.certification.report.page import build_page
from training_ground.agents.certification.report.plots import Count, rate_plot
from training_ground.agents.certification.report.trust import trust_of
from training_ground.agents.certification.report.wording import eval_line
from training_ground.agents.certification.result import Result, read_result
from training_ground.agents.policy import RandomPolicy, ZeroPolicy
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError
from training_ground.datasets.signing import make_key, read_private_key, read_public_keys

NASTY = "</title><script>alert(1)</script><script>document.title='taken'</script><img src=x onerror=\"alert(1)\">"
SMALL = {
    "sweeps": {"friction": {"values": [0.3, 1.0], "seeds": 6}},
    "thresholds": {"success": {"at_least": 0.8}},
    "resamples": 100,
}
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a browser would see: elements that are open, what is loaded, scripts, handlers, the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.scripts = self.handlers = 0
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster", "data")]
        self.handlers += sum(name.startswith("on") for name, _ in attrs)
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed at once, as in SVG."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


FIXED = ("format", "kind", "verdict", "tag", "interval", "axis", "id", "scenario", "tier", "tiers", "metric", "sweep")


def nasty(value: Any, key: str = "") -> Any:
    """Replace every text of a result that may be any text."""
    if isinstance(value, dict):
        return {name: nasty(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [nasty(item, key) for item in value]
    if not isinstance(value, str) or key in FIXED or re.fullmatch(r"[0-9a-f]{64}", value):
        return value
    return NASTY[8:35] if key == "unit" else NASTY


@pytest.fixture(scope="module")
def result() -> Result:
    return made("steady", 0.7, count=30, protocol=SMALL)


@pytest.fixture(scope="module")
def hostile(result: Result) -> Result:
    """A result in which every text that the schema leaves open would run a script if it were markup."""
    data = json.loads(result.model_dump_json())
    content = data["protocol"]["content"]
    data = nasty(data)
    for part in ("scenarios", "sweeps"):  # tasks and options are looked up by name
        data["protocol"]["content"][part] = content[part]
    for condition in data["conditions"]:
        condition["id"] = f"{condition['id']}{NASTY}"
        condition["scenario"] = NASTY if condition["axis"] != "none" else condition["scenario"]
        for metric in condition["metrics"]:
            metric["name"] = NASTY
        for trial in condition["trials"]:
            trial["metrics"] = {NASTY: 1.0}
    return sealed(Result.model_validate_json(json.dumps(data)))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, result: Result) -> Path:
    """A folder with results: two signed, one unsigned, one signed by a stranger, one changed afterwards."""
    folder = tmp_path_factory.mktemp("board")
    make_key(folder / "ours.pem")
    make_key(folder / "theirs.pem")
    ours, theirs = (read_private_key(folder / f"{name}.pem") for name in ("ours", "theirs"))
    places = folder / "results"
    for name, rate, key in (
        ("good", 0.9, ours),
        ("poor", 0.2, ours),
        ("stranger", 0.99, theirs),
        ("forged", 0.5, ours),
    ):
        path = write(made(name, rate, count=30, protocol=SMALL), places / name / "result.json")
        sign_result(path, key)
    path.write_bytes(path.read_bytes().replace(b'"forged"', b'"golden"'))
    write(result, places / "unsigned.json")
    (places / "note.json").write_text("{}")
    write(result, places / "torn" / "result.json").write_bytes(path.read_bytes()[:5000])
    return folder


# ---- one test --------------------------------------------------------------------------------------------------------


def report(result: Result, folder: Path) -> str:
    return build_page(result, trust_of(check(write(result, folder / "result.json"))), missing="None are here.")


def test_the_page_stands_alone_and_tells_the_numbers(result: Result, tmp_path: Path) -> None:
    text = report(result, tmp_path)
    page = Page(text)
    assert page.loads == [] and page.scripts == page.handlers == 0
    assert not re.search(r"https?://|@import|url\(", text) and "{{" not in text
    assert "default-src 'none'" in text and "script-src" not in text
    for part in (
        "Failed" if result.verdict == "fail" else "Inconclusive",
        result.identity,
        result.policy.name,
        "unsigned",
    ):
        assert part in page.text
    for condition in result.conditions:
        for metric in condition.metrics:
            if metric.name == "success" and metric.value is not None:
                assert f"{100 * metric.value:.1f} %" in page.text
    failed = sum(not t.success for c in result.conditions for t in c.trials if c.axis != "emergency_stop")
    assert f"{failed:,}" in page.text and "over force" in page.text
    assert "tg eval --policy steady --task TrainingGround/PressButton-v0 --robot g1" in page.text
    assert "tg certify made --policy steady --out out" in page.text
    assert "No measurement on a real robot" in page.text
    assert len(text.encode()) < 400_000


def test_nothing_of_a_strangers_file_is_markup(hostile: Result, tmp_path: Path) -> None:
    text = report(hostile, tmp_path)
    page = Page(text)
    assert page.scripts == page.handlers == 0 and page.loads == []
    assert "document.title" in page.text, "it is shown as it is"
    assert page.text.count("<script>") > 20
    both = compare(hostile, hostile, across=True)
    checked = check(tmp_path / "result.json")
    page = Page(build_comparison(both, [checked, checked]))
    assert page.scripts == page.handlers == 0 and "<script>" in page.text


def test_a_rate_stands_where_it_belongs() -> None:
    counts = [Count(0.5, 10, 20), Count(1.5, 20, 20)]
    drawn = rate_plot([counts, [*counts[:1], Count(1.5, 0, 20)]], (0.2, 0.5, 0.8), "friction", "×")
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle class="dot" cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    half, whole, other, none = dots
    assert whole[1] < half[1] == other[1] < none[1] and half[1] - whole[1] == pytest.approx(none[1] - half[1], abs=0.2)
    assert other[0] - half[0] == none[0] - whole[0] == 5.0, "side by side"
    assert (
        "friction 0.5: 10 of 20, 95 % interval 29.9% to 70.1%" in drawn
    )  # R: binom.confint(10, 20, methods = "wilson")
    assert ">0.5</text>" in drawn and ">1.5 ×</text>" in drawn and drawn.count('class="band"') == 1


def test_a_command_of_another_program_is_not_shown(result: Result, tmp_path: Path) -> None:
    other = result.session.model_copy(update={"command": ("rm", "-rf", "all")})
    assert "rm -rf" not in report(result.model_copy(update={"session": other}), tmp_path)
    sly = result.session.model_copy(update={"command": ("tg", "certify", "x; rm -rf all")})
    assert "tg certify &#x27;x; rm -rf all&#x27;" in report(result.model_copy(update={"session": sly}), tmp_path)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_values_beyond_any_axis_do_not_stop_the_page(result: Result, tmp_path: Path) -> None:
    first = result.conditions[0]
    huge = first.trials[0].model_copy(
        update={"success": True, "cycle_time": 1e308, "energy": -1e308, "pose_errors": ((1e300, 0.0, -1e300),)}
    )
    strange = first.model_copy(update={"trials": (huge, *first.trials[1:])})
    page = Page(report(result.model_copy(update={"conditions": (strange, *result.conditions[1:])}), tmp_path))
    assert "does not follow from the trials" in page.text
    far = [c.model_copy(update={"value": 10**40}) if c.axis == "friction" else c for c in result.conditions]
    page = Page(report(result.model_copy(update={"conditions": tuple(far)}), tmp_path))
    assert "is another condition than its name says" in page.text


def test_signature_and_check_are_told(signed: Path) -> None:
    keys = read_public_keys(signed / "ours.pem.pub")

    def word(name: str, given: Any = ()) -> str:
        return trust_of(check(signed / "results" / name, given)).word

    assert word("good/result.json", keys) == "verified"
    assert word("good/result.json") == "not verified"
    assert word("stranger/result.json", keys) == word("forged/result.json") == "does not hold"
    assert word("unsigned.json") == word("unsigned.json", keys) == "unsigned"


def test_verb_writes_the_page_and_says_what_is_wrong(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, forged = (signed / "results" / name / "result.json" for name in ("good", "forged"))
    assert main(["report", str(good), "--key", str(signed / "ours.pem.pub"), "--films", "0", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["verified"] and Path(data["page"]).stat().st_size == data["bytes"]
    Path(data["page"]).unlink()
    assert main(["report", str(forged), "--films", "0", "--out", str(signed / "forged.html")]) == 1
    assert "identity" in capsys.readouterr().out
    assert "does not hold" in (signed / "forged.html").read_text()


# ---- failures in pictures --------------------------------------------------------------------------------------------


def test_failures_are_chosen_from_every_kind(result: Result) -> None:
    chosen = failed_trials(result, each=2)
    kinds = [trial.kind for _, trial in chosen]
    assert set(kinds) == {
        t.kind for c in result.conditions for t in c.trials if not t.success and c.axis != "emergency_stop"
    }
    assert all(kinds.count(kind) <= 2 for kind in kinds) and all(c.axis == "none" for c, _ in chosen[:2])
    assert failed_trials(result, each=1, most=1) == chosen[:1]


def falling(tmp_path: Path) -> Path:
    """A real test of the policy that does nothing: three trials, three falls."""
    protocol = tmp_path / "fall.yaml"
    protocol.write_text(
        "title: It falls\nscenarios: {stand: {task: Stand, env: {robot: g1, episode_length_s: 2.0, "
        "push_interval_s: 0.5, push_speed: [1.0, 1.0]}}}\nseeds: {count: 3}\nthresholds: {success: {at_least: 0.9}}\n"
    )
    out = tmp_path / "out"
    assert main(["certify", str(protocol), "--policy", "zero", "--out", str(out), "--workers", "0", "--json"]) in (1, 3)
    return out / "result.json"


def test_failed_seeds_are_simulated_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = falling(tmp_path)
    assert json.loads(capsys.readouterr().out)["page"] == str(source.with_name("report.html"))
    page = Page(source.with_name("report.html").read_text())
    assert len(page.loads) >= 4 and all(url.startswith("data:image/jpeg;base64,") for url in page.loads)
    assert "simulated again it ended another way" not in page.text
    result = read_result(source)
    assert main([*shlex.split(eval_line(result, result.conditions[0]))[1:], "--workers", "0", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["episodes"]
    assert [(e["seed"], e["steps"], e["failure"]) for e in again] == [
        (t.seed, t.steps, t.failure) for t in result.conditions[0].trials
    ]
    condition, trial = failed_trials(result, 1)[0]
    other = trial.model_copy(update={"steps": trial.steps + 1})
    assert [film.same for film in draw_films(result, ZeroPolicy(), [(condition, other)])] == [False]
    with pytest.raises(AgentError, match="the tested policy is 'zero'; this is 'random'"):
        list(draw_films(result, RandomPolicy(), [(condition, trial)]))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"robot": "/etc/passwd"}, "none that ships"), ({"robot": "g1", "surprise": 1}, "surprise")],
)
def test_a_result_does_not_choose_what_is_read(result: Result, kwargs: dict[str, Any], message: str) -> None:
    zero = result.model_copy(update={"policy": result.policy.model_copy(update={"name": "zero"})})
    condition, trial = failed_trials(zero, 1)[0]
    changed = condition.model_copy(update={"kwargs": kwargs})
    with pytest.raises(Exception, match=message) as caught:
        list(draw_films(zero, ZeroPolicy(), [(changed, trial)]))
    assert type(caught.value).__name__ in ("AgentError", "SimulationError")


# ---- the leaderboard -------------------------------------------------------------------------------------------------


def test_only_what_a_trusted_key_signed_is_ranked(signed: Path) -> None:
    board = gather(signed / "results", read_public_keys(signed / "ours.pem.pub"))
    assert {entry.policy for one in board.tables for entry in one.entries} == {"good", "poor"}
    assert {one.tier for one in board.tables} == {"nominal", "tight"}
    for one in board.tables:
        assert [(entry.policy, entry.place, entry.tied) for entry in one.entries] == [
            ("good", 1, False),
            ("poor", 2, False),
        ]
        assert "electronics" in one.sectors
    assert sorted((left.file, left.reason[:8]) for left in board.unranked) == [
        ("stranger/result.json", "signed b"),
        ("unsigned.json", "unsigned"),
    ]
    assert [left.file for left in board.refused] == ["forged/result.json", "torn/result.json"]
    assert gather(signed / "results", ()).tables == ()


def test_overlapping_intervals_share_a_place(tmp_path: Path) -> None:
    make_key(tmp_path / "key.pem")
    key = read_private_key(tmp_path / "key.pem")
    for index, rate in enumerate((0.93, 0.88, 0.3)):
        sign_result(
            write(made(f"p{index}", rate, seed=index, count=40, protocol=SMALL), tmp_path / f"r/{index}.json"), key
        )
    board = gather(tmp_path / "r", read_public_keys(tmp_path / "key.pem.pub"))
    nominal = next(one for one in board.tables if one.tier == "nominal")
    assert [(entry.policy, entry.place, entry.tied) for entry in nominal.entries] == [
        ("p0", 1, True),
        ("p1", 1, True),
        ("p2", 3, False),
    ]


def test_leaderboard_verb_writes_page_and_data(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, key = signed / "board.html", str(signed / "ours.pem.pub")
    assert main(["leaderboard", str(signed / "results"), "--key", key, "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    data = json.loads(out.with_suffix(".json").read_text())
    assert data["tables"] == printed["tables"] and data["tables"][0]["entries"][0]["policy"] == "good"
    page = Page(out.read_text())
    assert page.loads == [] and page.handlers == 0 and page.scripts == 1
    assert "good" in page.text and "unsigned.json" in page.text
    inside = signed / "results" / "board.html"
    assert main(["leaderboard", str(signed / "results"), "--out", str(inside)]) == 2
    assert "folder of results" in capsys.readouterr().err


@pytest.mark.slow
def test_pages_in_a_real_browser(signed: Path, hostile: Result, tmp_path: Path) -> None:
    """At two widths nothing is wider than the page, nothing runs but our own script, and headings sort."""
    pages: dict[str, Callable[[], str]] = {
        "hostile": lambda: report(hostile, tmp_path / "h"),
        "compare": lambda: build_comparison(
            compare(hostile, hostile, across=True), [check(tmp_path / "h/result.json")] * 2
        ),
        "board": lambda: build_board(gather(signed / "results", read_public_keys(signed / "ours.pem.pub")), NASTY),
    }
    with chromium(tmp_path / "profile") as browser:
        for name, build in pages.items():
            path = tmp_path / f"{name}.html"
            path.write_text(build(), encoding="utf-8")
            for width in (1360, 390):
                browser.size(width, 900)
                browser.open(path.as_uri())
                browser.wait(f"location.href.endsWith('{name}.html') && document.readyState === 'complete'")
                assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (name, width)
                assert browser.run("document.title") != "taken"
        sort = (
            "[...document.querySelector('table tbody').rows].map(r => r.cells[1].querySelector('b').textContent).join()"
        )
        assert browser.run(sort) == "good,poor"
        browser.run("document.querySelectorAll('th button')[2].click()")
        assert browser.run(sort) == "poor,good"
        browser.run(
            "const s = document.querySelector('#sector'); s.value = s.options[1].value; s.onchange;"
            "s.dispatchEvent(new Event('change'))"
        )
        assert browser.run("document.querySelector('section[data-sectors]').hidden") is False
        assert browser.problems == []
