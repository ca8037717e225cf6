"""Reads events as a browser's `EventSource` does, and calls REST until it is answered."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass

API = "/api/v1"
PATIENCE_S = 60.0
"""How long nothing may come before a test calls the server broken: it may be starting again, on a
machine that has much else to do."""
RECONNECT_S = 0.02
"""A browser waits some seconds; a test that is as patient only gets longer."""


@dataclass(frozen=True)
class Event:
    """One event as a page would be handed it."""

    id: str
    kind: str
    data: str

    @property
    def json(self):
        return json.loads(self.data)


class EventSource:
    """Iterates over the events of a stream, over as many connections as it takes.

    The rules are those of the HTML standard: the last id is sent as `Last-Event-ID`, an event that
    was cut off does not count, and a broken connection is opened again. One rule is left to the
    caller: an answer other than 200 ends a browser's `EventSource` for good. So it does here,
    unless it is `patient` with the 503 of an Envoy whose server is away.
    """

    def __init__(self, address, path, *, patient=False):
        self._address = address
        self._path = API + path
        self._patient = patient
        self._patience_s = PATIENCE_S
        self._deadline_s = 0.0
        self._heard_at = time.monotonic()
        self.last_id = ""
        self.connections = 0
        """How many connections have begun to stream."""
        self.refusals = 0
        """How often a 503 came instead."""
        self.silence_s = 0.0
        """The longest time between two lines of one connection, comments among them."""

    def events(self, patience_s=PATIENCE_S):
        """Yields events until the caller has enough; AssertionError when one takes too long."""
        self._patience_s = patience_s
        self._renew_patience()
        while True:
            connection = http.client.HTTPConnection(self._address, timeout=PATIENCE_S)
            try:
                yield from self._read(connection)
            except (OSError, http.client.HTTPException):
                self._hurry()
            finally:
                connection.close()
            time.sleep(RECONNECT_S)

    def _read(self, connection):
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self.last_id:
            headers["last-event-id"] = self.last_id
        connection.request("GET", self._path, headers=headers)
        response = connection.getresponse()
        if response.status == 503 and self._patient:
            self.refusals += 1
            return
        if response.status != 200:
            raise AssertionError(f"the stream was refused: {response.status} {response.read()!r}")
        assert response.headers["content-type"] == "text/event-stream"
        self.connections += 1
        yield from self._parse(self._lines(response))

    def _lines(self, response):
        """Yields whole lines; what the break of a connection left of one is none."""
        self._heard_at = time.monotonic()
        while (line := response.readline()).endswith(b"\n"):
            self._hurry()
            now = time.monotonic()
            self.silence_s = max(self.silence_s, now - self._heard_at)
            self._heard_at = now
            yield line.decode().rstrip("\r\n")

    def _parse(self, lines):
        new_id, kind, data = self.last_id, "", []
        for line in lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_id = new_id
                if data:
                    self._renew_patience()
                    yield Event(new_id, kind or "message", "\n".join(data))
                kind, data = "", []
            elif name == "id" and "\0" not in value:
                new_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)

    def _renew_patience(self):
        self._deadline_s = time.monotonic() + self._patience_s

    def _hurry(self):
        assert time.monotonic() < self._deadline_s, "what was awaited does not come"


class Rest:
    """Calls REST again and again until it answers, as a caller does to whom a fact matters."""

    def __init__(self, address, *, timeout_s=PATIENCE_S):
        self._address = address
        self._timeout_s = timeout_s
        self._connection = None
        self.failures = 0
        """How many calls got no answer, or were told that nobody is there."""

    def insist(self, verb, path, body=None, *, key=""):
        """Returns status and JSON. `key` makes the call count once, however often it is sent."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, answer = self._send(verb, path, body, key)
            except (OSError, http.client.HTTPException):
                self.close()
                status, answer = 0, None
            if status not in (0, 503):
                return status, answer
            self.failures += 1
            assert time.monotonic() < deadline_s, f"{verb} {path} is never answered"
            time.sleep(RECONNECT_S)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, verb, path, body, key):
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=self._timeout_s)
        headers = {"idempotency-key": key} if key else {}
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(verb, API + path, body=data, headers=headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
