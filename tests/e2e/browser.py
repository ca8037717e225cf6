"""A browser without a window, and the server of the pages that it opens and that report back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PAGES = Path(__file__).with_name("browser")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
STRANGER = "stranger.example"
"""A host that the browser finds on this machine, although its name is not one of it."""
STOP_SECONDS = 5

RULES = (
    f"MAP {STRANGER} 127.0.0.1",
    "MAP * ~NOTFOUND",
    "EXCLUDE 127.0.0.1",
    "EXCLUDE localhost",
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--password-store=basic",
    # It calls this machine and nobody else.
    "--proxy-server=direct://",
    f"--host-resolver-rules={', '.join(RULES)}",
)


def find_browser():
    """Returns the browser to test with. Without one the test is skipped, but in CI it fails."""
    for program in PROGRAMS:
        if found := shutil.which(program):
            return found
    told = f"there is no browser: none of {', '.join(PROGRAMS)} is on the path; install Chromium"
    if os.environ.get("CI") == "true":
        pytest.fail(told, pytrace=False)
    return pytest.skip(told)


@contextmanager
def browsing(url, folder):
    """Shows a page until the block ends. `folder` receives the profile and what it logs."""
    profile = folder / "profile"
    # Whatever it keeps stays in the folder; a home that cannot be written to does not matter.
    environment = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    with (folder / "browser.log").open("wb") as log:
        browser = subprocess.Popen(
            [find_browser(), *FLAGS, f"--user-data-dir={profile}", url],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        yield
    finally:
        _end(browser)


def _end(browser):
    """Ends the browser with all of its processes."""
    browser.terminate()
    with suppress(subprocess.TimeoutExpired):
        browser.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(browser.pid, signal.SIGKILL)
    browser.wait()


class Pages:
    """Serves the pages on a port of its own, which makes it another origin; keeps their reports."""

    def __init__(self):
        self.reports = []
        self._told = threading.Condition()
        handler = partial(_Handler, self)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, page, api, *, host="localhost"):
        """Returns where a page is found that calls Perdure at `api`, HOST:PORT."""
        port = self._server.server_address[1]
        return f"http://{host}:{port}/{page}?api=http://{api}/api/v1"

    def take(self, report):
        with self._told:
            self.reports.append(report)
            self._told.notify_all()

    def wait_until(self, condition, seconds):
        """Waits for reports that meet a condition; AssertionError with the last ones if none do."""
        with self._told:
            met = self._told.wait_for(
                lambda: condition(self.reports) or self._failures(), timeout=seconds
            )
            assert met, f"the page is stuck; last it said {self.reports[-10:]}"
            assert not self._failures()

    def _failures(self):
        return [report["failed"] for report in self.reports if "failed" in report]


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, pages, *arguments):
        self._pages = pages
        super().__init__(*arguments, directory=str(PAGES))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self._pages.take(json.loads(body))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, *_):
        pass
