"""Sends what no well-behaved client would, a connection for each call."""

from __future__ import annotations

import http.client
import json
import select
import socket
from typing import Any

PATIENCE_SECONDS = 20
START = "/api/v1/workflows"


class Caller:
    """Sends what no well-behaved client would."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = (host, int(port))

    def send(
        self, verb: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Returns status and JSON of an answer; the path goes out as it is."""
        connection = http.client.HTTPConnection(*self._place, timeout=PATIENCE_SECONDS)
        try:
            connection.putrequest(verb, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            return read(connection.getresponse())
        finally:
            connection.close()

    def head_of(self, verb: str, path: str) -> tuple[int, Any]:
        """Returns status and JSON of an answer; of a stream the status alone."""
        connection = http.client.HTTPConnection(*self._place, timeout=PATIENCE_SECONDS)
        try:
            connection.request(verb, path)
            answer = connection.getresponse()
            if answer.getheader("content-type") == "text/event-stream":
                return answer.status, None
            return read(answer)
        finally:
            connection.close()

    def page(self, path: str) -> tuple[int, Any, str | None]:
        """Returns status and JSON of an answer, and the token of the next page."""
        connection = http.client.HTTPConnection(*self._place, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return *read(answer), answer.getheader("x-next-page-token")
        finally:
            connection.close()

    def post(self, body: bytes, path: str = START, **headers: str) -> tuple[int, Any]:
        return self.send("POST", path, body, **headers)

    def start(self, workflow_id: str) -> str:
        body = json.dumps({"workflow_id": workflow_id, "workflow_type": "t"}).encode()
        status, _ = self.post(body)
        assert status == 201
        return workflow_id

    def unread(self, path: str) -> socket.socket:
        """Asks for something, and reads no more of it than its beginning."""
        connection = socket.create_connection(self._place, timeout=PATIENCE_SECONDS)
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert connection.recv(1)
        return connection

    def raw(self, *parts: bytes, pause_seconds: float = 0) -> tuple[int, Any]:
        """Sends bytes as they are, in parts."""
        with socket.create_connection(self._place, timeout=PATIENCE_SECONDS) as connection:
            for part in parts:
                connection.sendall(part)
                if pause_seconds:
                    select.select([connection], [], [], pause_seconds)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return read(answer)


def read(answer: http.client.HTTPResponse) -> tuple[int, Any]:
    text = answer.read()
    return answer.status, json.loads(text) if text else None


def assert_refused(answer: tuple[int, Any], *statuses: int) -> None:
    """Fails unless an answer has one of the statuses, and says why in the shape of all refusals."""
    status, told = answer
    assert status in statuses, told
    assert told.keys() == {"error", "reason", "details"}
    assert told["error"]
    assert told["reason"].isupper()
