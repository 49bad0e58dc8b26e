"""A real browser for tests: Debian's Chromium without a window, told what to do through its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class BrowserError(Exception):
    """A command that the browser did not carry out."""


class Browser:
    """One page. `problems` are the exceptions and console errors that it has seen, refused requests among them."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._last = connection, 0
        self.problems: list[str] = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Send a command to the page and return its result."""
        return self._send(method, **given)

    def _send(self, method: str, **given: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(timeout=60))
            self._note(answer)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]

    def _note(self, message: dict[str, Any]) -> None:
        given = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(given["exceptionDetails"].get("exception", {}).get("description")))
        elif message.get("method") == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.problems.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        elif message.get("method") == "Runtime.consoleAPICalled" and given["type"] == "error":
            self.problems.append(str(given["args"]))

    def run(self, script: str) -> Any:
        """Return what an expression gives, as plain data; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def wait(self, condition: str, seconds: float = 60) -> Any:
        """Wait until an expression is true, and return what it gives."""
        end = time.monotonic() + seconds
        patient = (
            f"(() => {{ try {{ return {condition}; }} catch {{ return null; }} }})()"  # the page may not be there yet
        )
        while True:
            with contextlib.suppress(BrowserError):  # the page that was asked made way for another
                if value := self.run(patient):
                    return value
            seen = f"{self.problems}\n{self.run('document.body?.innerText')}" if time.monotonic() > end else ""
            assert time.monotonic() < end, f"never came true: {condition}\n{seen}"
            time.sleep(0.05)

    def size(self, width: int, height: int) -> None:
        """Give the page another size, pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def shot(self, path: Path, whole: bool = False) -> None:
        """Write a picture of what is seen, or of the whole page, as a PNG file."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Start a browser that keeps its things in `folder`; skip the test where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    connect = pytest.importorskip("websockets.sync.client", reason="websockets comes with the extra `view`").connect
    options = [
        *("--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--use-angle=swiftshader"),
        *("--enable-unsafe-swiftshader", "--no-first-run", "--disable-background-networking", "--mute-audio"),
        *("--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1400,1000", "about:blank"),
    ]
    process = subprocess.Popen([program, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        address = next(
            (m[1] for line in process.stderr if (m := re.search(r"DevTools listening on (ws://\S+)", line))), ""
        )
        assert address, "Chromium ended without a word"
        with connect(address, max_size=None, open_timeout=30) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        if process.stderr:
            process.stderr.close()
