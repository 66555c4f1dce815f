"""A local HTTP server that answers byte for byte what a test scripts, faults included."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One scripted answer.

    ``cut`` drops that many bytes off the end while Content-Length still announces them;
    ``drop`` closes the socket without a word; ``drip`` sends a byte at a time, that far apart.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    drop: bool = False
    drip: float = 0.0
    chunked: bool = False


@dataclass(frozen=True)
class Seen:
    path: str
    headers: dict[str, str]


def reply_json(value: Any, status: int = 200, **options: Any) -> Reply:
    return Reply(status, json.dumps(value).encode(), **options)


class ScriptedServer:
    """Answers with `script`: a list (one reply a request, the last repeats) or a function."""

    def __init__(self, script: Iterable[Reply] | Callable[[str], Reply]) -> None:
        self.seen: list[Seen] = []
        self._script = script if callable(script) else _in_turn(list(script))
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.seen.append(Seen(self.path, dict(self.headers)))
                reply = server._script(self.path)
                try:
                    _send(self, reply)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self.port = self._httpd.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def close(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join(5)


def _in_turn(replies: list[Reply]) -> Callable[[str], Reply]:
    mutex = threading.Lock()

    def next_reply(_: str) -> Reply:
        with mutex:
            return replies.pop(0) if len(replies) > 1 else replies[0]

    return next_reply


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    if reply.drop:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
        return
    if "Date" in reply.headers:
        handler.send_response_only(reply.status)
    else:
        handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    sent = reply.body[: len(reply.body) - reply.cut]
    if reply.chunked:
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        half = max(1, len(sent) // 2)
        for piece in (sent[:half], sent[half:]):
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if not reply.cut:
            handler.wfile.write(b"0\r\n\r\n")
    else:
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        if reply.drip:
            for n in range(len(sent)):
                handler.wfile.write(sent[n : n + 1])
                handler.wfile.flush()
                time.sleep(reply.drip)
        else:
            handler.wfile.write(sent)
    if reply.cut:
        handler.wfile.flush()
        handler.close_connection = True
