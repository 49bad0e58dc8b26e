"""`tg data browse`: who may ask, what is answered, and that a label lands beside what was recorded."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import format_files
import numpy as np
import pytest
from chromium import chromium
from PIL import Image
from test_datasets_index import append, template

from training_ground.agents.browsing.answers import Answers
from training_ground.agents.browsing.listing import PAGE, Filters, Listing
from training_ground.agents.browsing.replay import Replay
from training_ground.agents.browsing.series import phase_spans, series
from training_ground.agents.browsing.server import ASSETS, MAX_BODY, Server
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError, DatasetError
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.schema import DatasetSchema, PolicyInfo
from training_ground.datasets.store import Store

NASTY = "<img src=x onerror=\"document.title='taken'\"></script><script>document.title='taken'</script>"


class Client:
    """Asks a server as a browser does, or not quite."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str | None] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        given: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self.server.port}",
            "Authorization": f"Bearer {self.server.token}",
            "Content-Length": str(len(body)) if method == "POST" else None,
            "Content-Type": "application/json" if method == "POST" else None,
            **(headers or {}),
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, name: str, query: str = "") -> Any:
        status, _, body = self.send("GET", f"/api/{name}" + (f"?{query}" if query else ""))
        assert status == 200, body
        return json.loads(body)

    def label(self, number: int, values: dict[str, Any], **other: Any) -> tuple[int, Any]:
        sha = self.get("episode", f"number={number}")["content_sha256"]
        data = {"number": number, "content_sha256": sha, "author": "ann", "values": values, **other}
        status, _, body = self.send("POST", "/api/labels", json.dumps(data).encode())
        return status, json.loads(body)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three episodes; the last one is named by somebody who wants to run code."""
    import fake_env

    store = Store.create(tmp_path / "data", make_schema(fake_env.FakeEnv()))
    append(store, 0)
    append(store, 1, success=False, failure="fall", env_id="TrainingGround/BinPick-v0")
    append(store, 2, instruction=NASTY, policy=PolicyInfo(name=NASTY))
    return store


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    with Server(Answers(store, "ann")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Client(server)
        server.shutdown()
        thread.join()


# ---- who may ask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "Bearer ", "Bearer x", "Bearer \xe9"])
def test_nothing_is_said_or_written_without_the_token(client: Client, store: Store, token: str | None) -> None:
    refused = {"Authorization": token}
    for name in ("store", "episodes", "episode?number=0", "figure", "nothing"):
        assert client.send("GET", f"/api/{name}", headers=refused)[0] == 401
    status, _, body = client.send("POST", "/api/labels", b"{}", refused)
    assert status == 401 and b"token" in body
    assert not (store.path / "annotations").exists()


def test_the_token_is_another_each_time_and_never_part_of_a_request(client: Client) -> None:
    with Server(client.server.answers) as other:
        assert len(other.token) > 40 and other.token != client.server.token
    address, _, hidden = client.server.url.partition("#")
    assert address == f"http://127.0.0.1:{client.server.port}/" and hidden == f"token={client.server.token}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": None},
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_pages_and_other_names_of_this_machine_are_refused(client: Client, headers: dict[str, Any]) -> None:
    given = {k: v and v.format(port=client.server.port) for k, v in headers.items()}
    for method, path in (("GET", "/"), ("GET", "/api/store"), ("POST", "/api/labels")):
        assert client.send(method, path, headers=given)[0] in (400, 403)
    own = {"Host": f"localhost:{client.server.port}", "Origin": f"http://localhost:{client.server.port}"}
    assert client.send("GET", "/api/store", headers={**own, "Sec-Fetch-Site": "same-origin"})[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_only_this_machine_is_served(store: Store, host: str) -> None:
    with pytest.raises(AgentError, match=r"this machine only.*ssh -L"):
        Server(Answers(store), 0, host)


def test_a_port_that_is_taken(client: Client, store: Store) -> None:
    with pytest.raises(AgentError, match=f"port {client.server.port} on 127.0.0.1"):
        Server(Answers(store), client.server.port)


# ---- what can be asked for ------------------------------------------------------------------------------------------


def test_the_page_is_a_fixed_list_of_files_that_may_load_nothing_else(client: Client) -> None:
    for path, (_, _, kind) in ASSETS.items():
        status, headers, body = client.send("GET", path, headers={"Authorization": None})
        assert (status, headers["content-type"]) == (200, kind) and body
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        text = body.decode()
        assert not any(
            word in text for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "https:")
        )
        assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"{{" not in body and b" style=" not in body and b" onclick=" not in body


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/x",
            "/agents/",
            "/..",
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "//etc/passwd",
            "/style.css/..",
            "/api",
        ),
        *("/page.html", "/server.py", "/style.css?x=1", "/app.js%00", "//[", "http://127.0.0.1/etc/passwd"),
    ],
)
def test_no_path_leads_to_a_file(client: Client, path: str) -> None:
    assert client.send("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/api/labels", b"", {"Content-Length": str(MAX_BODY + 1)}, 413),
        ("POST", "/api/labels", b"", {"Content-Length": "9" * 30}, 411),
        ("POST", "/api/labels", b"", {"Content-Length": "-1"}, 411),
        ("POST", "/api/labels", b"", {"Content-Length": None}, 411),
        ("POST", "/api/labels", b"", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/api/labels", b"{}", {"Content-Type": "text/plain"}, 415),
        ("POST", "/api/labels", b"{}", {}, 400),
        ("POST", "/api/labels", b"[" * 100_000, {}, 400),
        ("POST", "/api/labels", b'{"number": NaN}', {}, 400),
        ("POST", "/api/store", b"{}", {}, 404),
        ("GET", "/api/labels", b"", {}, 400),
        ("GET", "/api/episodes?where=" + "x" * 9000, b"", {}, 414),
        ("GET", "/api/episodes?" + "&".join(f"a{i}=" for i in range(99)), b"", {}, 400),
        ("GET", "/api/episodes?page=1&page=2", b"", {}, 400),
        ("GET", "/api/episodes?order=seed;drop", b"", {}, 400),
        ("GET", "/api/episodes?page=-1", b"", {}, 400),
        ("GET", "/api/episode?number=1e9", b"", {}, 400),
        ("GET", "/api/series?number=0&channel=action&start=nan", b"", {}, 400),
        ("GET", "/api/series?number=0&channel=action&buckets=999999999", b"", {}, 400),
        ("GET", "/api/series?number=0&channel=action&first=99", b"", {}, 400),
        ("GET", "/api/series?number=0&channel=..%2F..%2Fx", b"", {}, 400),
        ("GET", "/api/picture?number=0&channel=x&row=0", b"", {}, 400),
        ("PUT", "/api/labels", b"", {}, 501),
        ("DELETE", "/", b"", {}, 501),
    ],
)
def test_what_is_asked_in_a_wrong_way(
    client: Client, method: str, path: str, body: bytes, headers: dict[str, Any], status: int
) -> None:
    found, given, answer = client.send(method, path, body, headers)
    assert found == status, answer
    assert json.loads(answer)["error"] and len(answer) < 20_000 and "content-security-policy" in given


def test_a_damaged_episode_is_said_and_the_others_are_shown(client: Client, store: Store) -> None:
    path = store.file(1)
    path.write_bytes(path.read_bytes()[:-9])
    status, _, body = client.send("GET", "/api/episode?number=1")
    assert status == 400 and b"damaged" in body
    assert client.get("episode", "number=0")["rows"] == 7
    (store.path / "episodes" / "episode_000009.parquet").symlink_to("/etc/hostname")
    status, _, body = client.send("GET", "/api/episode?number=9")
    assert status == 400 and b"symbolic link" in body


# ---- the list -------------------------------------------------------------------------------------------------------


def test_pages_filters_and_neighbours(store: Store) -> None:
    pytest.importorskip("duckdb")
    one = template()
    many = (one.metadata.model_copy(update={"seed": seed, "success": seed % 2 == 0}) for seed in range(100, 220))
    store.extend(Episode(metadata, one.columns) for metadata in many)
    listing = Listing(store)

    def numbers(**asked: Any) -> list[int]:
        return listing.numbers(Filters(**asked)).tolist()

    first, last = listing.page(Filters()), listing.page(Filters(page=99))
    assert [e["number"] for e in first["episodes"]] == list(range(PAGE))
    assert (first["found"], first["total"], first["pages"], last["page"], len(last["episodes"])) == (123, 123, 3, 2, 23)
    assert numbers(task="BinPick") == numbers(failure="fall") == [1]
    assert numbers(where="seed between 100 and 103", order="seed", down="yes") == [6, 5, 4, 3]
    assert numbers(where="seed < 104", success="yes") == [0, 2, 3, 5]
    assert numbers(order="success", where="seed < 2", down="yes") == [0, 1]
    assert numbers(quality="none", tag="no such tag") == [] == numbers(dropped="yes")
    assert listing.page(Filters(tag="none"))["episodes"] == []
    beside = listing.neighbours(5, Filters(where="seed between 100 and 103"))
    assert beside == {"before": 4, "after": 6, "place": 2, "found": 4}
    assert listing.neighbours(0, Filters(task="BinPick"))["place"] is None
    assert dict(map(tuple, first["choices"]["task"])) == {"Fake": 122, "BinPick": 1}
    with pytest.raises(DatasetError, match="Columns: number"):
        numbers(where="nonsense = 1")


def test_what_others_do_to_the_store_is_seen(store: Store) -> None:
    listing = Listing(store)
    assert listing.page(Filters())["total"] == 3
    append(Store.open(store.path), 3)
    assert listing.page(Filters())["total"] == 4
    assert main(["data", "label", str(store.path), "--episode", "0", "--author", "bob", "tags=[odd]"]) == 0
    assert listing.numbers(Filters(tag="odd")).tolist() == [0]
    assert (
        main(["data", "label", str(store.path), "--episode", "1", "--author", "r", "--source", "rule", "note=x"]) == 0
    )
    assert listing.numbers(Filters(seen="yes")).tolist() == [0]
    assert listing.numbers(Filters(seen="no")).tolist() == [1, 2, 3], "what a rule says is not a person's look"
    assert listing.index() is listing.index(), "an index is read again only when something has changed"


# ---- an episode -----------------------------------------------------------------------------------------------------


def unpacked(text: str, rows: int = 1) -> Any:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(rows, -1)


def test_a_peak_of_one_row_is_never_lost(store: Store) -> None:
    one = template()
    rows = 100_001
    columns = {name: np.repeat(values[:1], rows, axis=0) for name, values in one.columns.items()}
    columns["timestamp_ns"] = np.arange(rows) * 1_000_000
    columns["joint_position"] = columns["joint_position"].copy()
    columns["joint_position"][77_777, 1], columns["joint_position"][5, 2] = 9.0, np.nan
    episode = Episode(one.metadata.model_copy(update={"length": rows - 1}), columns)
    whole = series(episode, store.schema, "joint_position", buckets=500)
    assert (whole["points"], whole["samples"], whole["not_finite"], whole["unit"]) == (500, rows, 1, "rad")
    assert whole["components"] == list(store.schema.joint_names)
    assert unpacked(whole["high"], 3)[1].max() == 9.0 and np.isfinite(unpacked(whole["low"], 3)).all()
    near = series(episode, store.schema, "joint_position", start=77.770, end=77.780, buckets=500)
    times = unpacked(near["time"])[0]
    assert near["points"] == 13 and near["high"] == "" and times[0] < 77.770 and times[-1] > 77.780
    assert unpacked(near["low"], 3)[1].max() == 9.0 and near["span"][1] > 8
    assert len(json.dumps(whole)) < 60_000
    assert series(episode, store.schema, "action")["samples"] == rows - 1, "the last row has no action"
    nested = series(episode, store.schema, "base_pose")
    assert nested["components"] == ["0 x", "0 y", "1 x", "1 y"]
    assert series(episode, store.schema, "reward")["components"] == [""]
    with pytest.raises(AgentError, match="did you mean 'joint_position'"):
        series(episode, store.schema, "joint_positon")


def test_phases_events_and_quality_of_an_episode(client: Client) -> None:
    found = client.get("episode", "number=1")
    assert found["phases"][0]["name"] == "stand" and found["phases"][-1]["last"] == found["rows"] - 1
    assert {"row": 6, "name": "fall"} in found["events"] and {"row": 0, "name": "success"} in found["events"]
    assert (found["start"], found["metadata"]["seed"], found["task"]) == (0.0, 1, "BinPick")
    quality = client.get("quality", "number=1")
    assert quality["verdict"] in ("pass", "warn", "fail") and quality["readings"]["readable"]["value"] == 1.0


def test_what_is_too_long_to_be_looked_at_is_cut(client: Client, store: Store) -> None:
    assert [span["last"] for span in phase_spans(np.array(list("aabbca"), object), 2)] == [1, 3]
    phases = [{"first": i, "last": i, "name": "x" * 200} for i in range(7)]
    client.label(2, {"phase": phases, "note": "y" * 9000})
    found = client.get("episode", "number=2")
    assert found["labels"]["phase"]["value"] == phases and len(found["labels"]["note"]["value"]) == 9000
    assert max(len(json.dumps(one["value"])) for one in found["history"]) < 4100
    assert found["metadata"]["policy"]["name"] == NASTY


def test_pictures_are_the_recorded_ones(tmp_path: Path) -> None:
    store = format_files.record(tmp_path / "pictures", [2])
    answers, seen = Answers(store), store.read(0).columns["camera_head"]
    for row in (0, len(seen) - 1):
        raw = answers.get("picture", {"number": "0", "channel": "camera_head", "row": str(row)})
        assert isinstance(raw, bytes)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(raw))), seen[row])
    assert answers.get("store", {})["pictures"] == ["camera_head"]  # type: ignore[index]
    with pytest.raises(AgentError, match=f"rows 0 to {len(seen) - 1}"):
        answers.get("picture", {"number": "0", "channel": "camera_head", "row": str(len(seen))})


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 1, 1)])
def test_a_channel_that_only_says_that_it_is_a_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    env = format_files.Env()
    schema, one = make_schema(env), format_files.record(tmp_path / "good", [2]).read(0)
    channels = [
        c.model_copy(update={"shape": shape, "components": (), "storage": None}) if c.name == "camera_head" else c
        for c in schema.channels
    ]
    store = Store.create(tmp_path / "bad", schema.model_copy(update={"channels": tuple(channels)}))
    store.append(Episode(one.metadata, one.columns | {"camera_head": np.zeros((one.length + 1, *shape), np.uint8)}))
    with pytest.raises(DatasetError, match="no pictures"):
        Answers(store).get("picture", {"number": "0", "channel": "camera_head", "row": "0"})


def with_poses(store: Store) -> tuple[DatasetSchema, Episode]:
    """A schema with what a replay needs, and an episode of it in which nothing is a number."""
    shapes = {"base_position": (3,), "base_orientation": (4,), "joint_angle": (3,), "joint_torque": (3,)}
    shapes |= {"push_velocity": (2,), "box_place": (3,)}
    joint = store.schema.channels[0].model_copy(update={"role": "state", "frame": "world", "components": ()})
    units = {name: "m" if name.endswith(("position", "place")) else "rad" for name in shapes}
    channels = [joint.model_copy(update={"name": n, "shape": s, "unit": units[n]}) for n, s in shapes.items()]
    schema = store.schema.model_copy(update={"channels": (*store.schema.channels, *channels), "robot": "g1"})
    one = store.read(0)
    return schema, Episode(one.metadata, one.columns | {n: np.full((7, *s), np.nan) for n, s in shapes.items()}, 0)


def test_a_store_cannot_choose_what_is_compiled(store: Store, tmp_path: Path) -> None:
    schema, _ = with_poses(store)
    for robot in (str(tmp_path / "evil.yaml"), "../g1", "fake", "evil.yaml"):
        replay = Replay(schema.model_copy(update={"robot": robot}))
        with pytest.raises(AgentError, match="there is no robot"):
            replay.figure()
    with pytest.raises(AgentError, match="no channel base_position"):
        Replay(store.schema).motion(store.read(0))


def test_poses_that_are_no_numbers(store: Store) -> None:
    schema, episode = with_poses(store)
    motion = Replay(schema).motion(episode)
    json.dumps(motion, allow_nan=False)
    assert (motion["count"], [point["name"] for point in motion["points"]]) == (4, ["box"])


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_a_label_lands_beside_what_was_recorded(
    client: Client, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in store.path.rglob("*.parquet")}
    values = {"success": False, "failure": "slipped", "tags": ["odd"], "event": [{"row": 3, "name": "slip"}]}
    status, found = client.label(0, values, confidence=0.75)
    assert (status, found["written"]) == (200, 4)
    said = {"value": False, "source": "person", "author": "ann", "confidence": 0.75}
    assert found["labels"]["success"].items() >= said.items()
    assert found["recorded"]["success"] is True, "the simulator's truth stays"
    assert found["labels"]["instruction"]["source"] == "simulator" and len(found["history"]) == 4
    listed = client.get("episodes", "success=corrected")["episodes"]
    assert [(e["number"], e["success"], e["success_recorded"], e["tags"]) for e in listed] == [
        (0, False, True, ["odd"])
    ]
    pytest.importorskip("duckdb")
    assert main(["data", "query", str(store.path), "not success and success_source = 'person'", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["number"], row["failure"]) for row in rows] == [(0, "slipped")]
    status, found = client.label(0, {"success": None})
    assert status == 200 and found["labels"]["success"]["value"] is True
    assert before == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in before}


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ({"success": "yes"}, {}),
        ({"sucess": True}, {}),
        ({}, {}),
        ({"phase": [{"first": 0, "last": 99, "name": "beyond"}]}, {}),
        ({"success": True, "event": [{"row": -1, "name": "x"}]}, {}),
        ({"success": True}, {"author": ""}),
        ({"success": True}, {"confidence": 2}),
        ({"success": True}, {"content_sha256": "0" * 64}),
        ({"success": True}, {"source": "simulator"}),
        ({"note": "x" * 10_001}, {}),
    ],
)
def test_a_label_that_is_not_allowed_is_not_written(
    client: Client, store: Store, values: dict[str, Any], other: dict[str, Any]
) -> None:
    status, found = client.label(0, values, **other)
    assert status == 400 and found["error"]
    assert not list((store.path / "annotations").glob("*"))


# ---- the command, and the page in a browser -------------------------------------------------------------------------


def test_the_command_prints_its_address_and_ends_cleanly(store: Store) -> None:
    line = [sys.executable, "-m", "training_ground.cli.main", "data", "browse", str(store.path), "--json"]
    process = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # who is started in the background ignores it
    )
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n") and (more := process.stdout.readline()):
        text += more
    said = json.loads(text)
    assert said["url"] == f"http://127.0.0.1:{said['port']}/#token={said['token']}"
    connection = http.client.HTTPConnection("127.0.0.1", said["port"], timeout=20)
    connection.request("GET", "/api/store", headers={"Authorization": f"Bearer {said['token']}"})
    assert json.loads(connection.getresponse().read())["name"] == "data"
    process.send_signal(signal.SIGINT)  # while the connection is still open
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "ended\n")


def test_the_command_refuses_other_machines(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "browse", str(store.path), "--host", "0.0.0.0", "--no-open"]) == 2
    assert "this machine only" in capsys.readouterr().err


@pytest.mark.slow
def test_in_a_real_browser(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    path = tmp_path / "stand"
    line = ["record", "Stand", "--robot", "g1", "--policy", "zero", "--episodes", "3", "--out", str(path)]
    assert main([*line, "--set", "episode_length_s=0.6"]) == 0
    store = Store.open(path)
    first = store.read(0)
    nasty = first.metadata.model_copy(update={"instruction": NASTY, "policy": PolicyInfo(name=NASTY), "seed": 7})
    store.append(Episode(nasty, first.columns))
    with Server(Answers(store)) as server, chromium(tmp_path / "browser") as page:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.open(server.url)
        page.wait("document.querySelectorAll('.episodes tbody tr').length === 4")
        assert page.run("location.hash") == "#/", "the token is out of sight"
        assert NASTY in page.run("document.querySelector('.episodes').innerText")

        # Filter by SQL: three remain; then open the first of them.
        page.run("{ const w = document.querySelector('[name=where]'); w.value = 'seed < 3'; w.form.requestSubmit(); }")
        page.wait("document.querySelectorAll('.episodes tbody tr').length === 3")
        page.run("document.querySelectorAll('.episodes a')[1].click()")
        page.wait("document.querySelector('h1').textContent === 'Episode 1'")
        assert "2 of 3" in page.run("document.querySelector('.steps').textContent")
        drawn = "document.querySelector('[data-channel=joint_angle] path.line').getTotalLength() > 100"
        page.wait(drawn)
        assert "left_knee_joint" in page.run("document.querySelector('[data-channel=joint_angle] .values').textContent")
        page.wait("document.getElementById('stage').dataset.shown === '1'")
        page.wait("document.querySelector('.judged .chip').textContent")

        # The keys j and k lead to the neighbours in the filtered list.
        page.run("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }))")
        page.wait("document.querySelector('h1').textContent === 'Episode 2'")
        page.run("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'k', bubbles: true }))")
        page.wait("document.querySelector('h1').textContent === 'Episode 1'")
        page.wait("document.getElementById('stage').dataset.shown === '1'")

        # The clock moves the replay, the bar and the values of plots together.
        page.run("document.querySelector('.bar').dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }))")
        assert "0.60 s" in page.run("document.querySelector('.timeline .clock').textContent")
        assert "0.60 s" in page.run("document.querySelector('#stage .clock').textContent")
        image = "document.querySelector('#stage canvas').toDataURL().length > 5000"
        assert page.run(f"(document.querySelector('.bar').click(), {image})")

        # A label stands after the page was loaded again, and the file says who said so.
        page.run(
            """{ const form = document.querySelector('.labels');
            form.elements.author.value = 'Ann <b>';
            form.elements.success.value = 'false'; form.elements.note.value = 'slid to the left';
            form.elements.note.dispatchEvent(new Event('input', { bubbles: true })); form.requestSubmit(); }"""
        )
        page.wait("document.querySelector('[data-field=note] .who').textContent.includes('Ann <b> (person)')")
        page.run("window.before = true")
        page.call("Page.reload")
        page.wait("!window.before && document.querySelector('[data-field=success] select').value === 'false'")
        assert page.run("document.querySelector('[name=note]').value") == "slid to the left"
        assert "recorded: " in page.run("document.querySelector('[data-field=success] .who').textContent")
        history = Answers(store).get("episode", {"number": "1"})["history"]  # type: ignore[index]
        assert {(one["field"], one["author"], one["source"]) for one in history} == {
            ("success", "Ann <b>", "person"),
            ("note", "Ann <b>", "person"),
        }

        # What a stranger's file says is shown and not run, on a narrow page nothing sticks out, and nothing went wrong.
        page.size(390, 800)
        page.run("location.hash = '#/episode/3'")
        page.wait("document.querySelector('h1').textContent === 'Episode 3'")
        page.wait(drawn)
        assert NASTY in page.run("document.querySelector('.lead').textContent")
        assert page.run("document.title") == "stand · episode 3"
        assert page.run("document.documentElement.scrollWidth") <= 390
        assert page.problems == []
        server.shutdown()
