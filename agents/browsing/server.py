"""The server behind the page: this machine only, a token for everything, and nothing but a fixed list of files.

Python's own `http.server`: the page is for one person on one machine, none of our dependencies is a web framework, and
what such a framework adds (routes, templates, cookies, uploads) would be more to keep safe than it saves. Its paths to
files are not used: what can be asked for stands in `ASSETS` and in `Answers`.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socketserver
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from training_ground.agents.browsing.answers import Answers
from training_ground.configs.errors import AgentError, TrainingGroundError
from training_ground.datasets.markup import Html, fill
from training_ground.datasets.schema import parse_json

HOST = "127.0.0.1"
MAX_BODY = 1 << 20
"""Bytes of a request's body."""
MAX_QUERY = 8_000
"""Letters of a request's address."""
MAX_CONNECTIONS = 64
IDLE_S = 30.0
"""Time after which a connection on which nothing comes is closed, s."""

_BROWSING, _REPORT = "training_ground.agents.browsing", "training_ground.agents.report"
_SCRIPT, _STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
ASSETS = {
    "/": (_BROWSING, "page.html", "text/html; charset=utf-8"),
    "/style.css": (_REPORT, "style.css", _STYLE),
    "/browse.css": (_BROWSING, "browse.css", _STYLE),
    "/player.js": (_REPORT, "player.js", _SCRIPT),
    **{
        f"/{name}.js": (_BROWSING, f"{name}.js", _SCRIPT)
        for name in ("app", "ask", "list", "episode", "timeline", "plots", "pictures", "labels")
    },
}
"""What is served besides answers, by path; a path is never a file's."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves the page of one store until it is closed; a thread a connection.

    Args:
        answers: What it serves.
        port: 0 for a free one.
        host: Must be this machine.

    Attributes:
        token: What every question must carry; new for each server.

    Raises:
        AgentError: Another host is asked for, or the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, answers: Answers, port: int = 0, host: str = HOST) -> None:
        if host not in (HOST, "localhost"):
            raise AgentError(
                f"host '{host}': the page is for this machine only, {HOST}; from another one, forward the port: "
                "ssh -L PORT:127.0.0.1:PORT (the same number on both sides)"
            )
        self.answers, self.token = answers, secrets.token_urlsafe(32)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        try:
            super().__init__((HOST, port), Handler)
        except (OSError, OverflowError) as problem:
            reason = getattr(problem, "strerror", None) or problem
            raise AgentError(f"port {port} on {HOST}: {reason}; choose another one with --port") from problem
        self.hosts = {f"{HOST}:{self.port}", f"localhost:{self.port}"}

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The page's address with the token behind `#`, which no browser sends anywhere."""
        return f"http://{HOST}:{self.port}/#token={self.token}"

    def server_bind(self) -> None:
        """Take the port; asks no name server for this machine's name, as the base class does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.port

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread; with too many of them it is closed."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away; print anything else."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            traceback.print_exc()


class Refused(Exception):
    """A request that is not answered: the status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Serve a file of the page, or answer a question."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Write labels."""
        self._answer(self._post)

    @property
    def _owner(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def _get(self) -> tuple[str, bytes]:
        try:
            address = urlsplit(self.path)
        except ValueError as problem:
            raise Refused(404, "there is no such page") from problem
        if address.path in ASSETS and not address.query:
            return _asset(address.path)
        if not address.path.startswith("/api/"):
            raise Refused(404, "there is no such page")
        self._check_token()
        try:
            pairs = parse_qsl(
                address.query, keep_blank_values=True, strict_parsing=bool(address.query), max_num_fields=30
            )
        except ValueError as problem:
            raise Refused(400, f"malformed query: {problem}") from problem
        if len(dict(pairs)) != len(pairs):
            raise Refused(400, "malformed query: a name stands twice")
        found = self._owner.answers.get(address.path.removeprefix("/api/"), dict(pairs))
        return ("image/png", found) if isinstance(found, bytes) else _json(found)

    def _post(self) -> tuple[str, bytes]:
        self.close_connection = True  # until the body has been read, nothing else on it can be told from the body
        if self.path != "/api/labels":
            raise Refused(404, "there is no such page")
        self._check_token()
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "Content-Type: must be application/json")
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit() and len(length) < 10):
            raise Refused(411, "Content-Length: must say how many bytes come")
        if int(length) > MAX_BODY:
            raise Refused(413, f"Content-Length: {length} bytes, {MAX_BODY} are allowed")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused(400, "the request ends too early")
        self.close_connection = False
        return _json(self._owner.answers.correct(parse_json(body, "labels")))

    def _answer(self, make: Any) -> None:
        status, kind, body = 200, "", b""
        try:
            self._check_sender()
            kind, body = make()
        except Refused as problem:
            status, (kind, body) = problem.status, _json({"error": str(problem)})
        except TrainingGroundError as problem:
            status, (kind, body) = 400, _json({"error": " ".join(str(problem).split())})
        except ModuleNotFoundError as problem:
            status, (kind, body) = (
                400,
                _json({"error": f"this needs the package '{problem.name}', which is not installed"}),
            )
        except OSError as problem:
            if isinstance(problem, (ConnectionError, TimeoutError)):
                raise
            status, (kind, body) = 400, _json({"error": str(problem.strerror or problem)})
        except Exception:  # a fault of ours must not end the connection without a word
            traceback.print_exc()
            status, (kind, body) = 500, _json({"error": "the server made a mistake; its terminal says which"})
        self._send(status, kind, body)

    def _check_sender(self) -> None:
        """Refuse what another page or another name of this machine asks for: DNS rebinding, cross-site requests."""
        if len(self.path) > MAX_QUERY:
            raise Refused(414, f"the address has {len(self.path)} letters, {MAX_QUERY} are allowed")
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._owner.hosts:
            raise Refused(403, f"Host: must be {' or '.join(sorted(self._owner.hosts))}")
        origins = self.headers.get_all("Origin", [])
        if any(origin.lower().removeprefix("http://") not in self._owner.hosts for origin in origins):
            raise Refused(403, "Origin: another page may not ask")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise Refused(403, "Sec-Fetch-Site: another page may not ask")

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._owner.token.encode()):
            raise Refused(
                401, "the token is missing or not this server's: use the address that `tg data browse` printed"
            )

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no proper request, and close the connection."""
        self.close_connection = True
        self._send(code, *_json({"error": message or "no such request"}))

    def version_string(self) -> str:
        """Return the server's name, without versions."""
        return "training-ground"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""


def _asset(path: str) -> tuple[str, bytes]:
    package, name, kind = ASSETS[path]
    text = files(package).joinpath(name).read_text(encoding="utf-8")
    if path == "/":
        player = files(_REPORT).joinpath("player.html").read_text(encoding="utf-8")
        text = fill(text, {"player": Html(player)})
    return kind, text.encode()


def _json(data: Any) -> tuple[str, bytes]:
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return "application/json; charset=utf-8", text.encode()
