"""Keeps the table of routes in README.md equal to the contract; run it to write the table."""

from __future__ import annotations

import re
from pathlib import Path

from perdure_server.rest.descriptor import service_files
from perdure_server.rest.options import Route, routes_of
from tests.tidy.sources import ROOT

README = ROOT / "README.md"
BEGIN = "<!-- routes: begin -->\n"
END = "<!-- routes: end -->\n"
HEAD = "| method | path | RPC | success |\n|---|---|---|---|\n"


def routes() -> list[Route]:
    """Returns the routes of the contract, ordered by path."""
    services = [s for file in service_files() for s in file.services_by_name.values()]
    return sorted(routes_of(services), key=lambda route: (route.path, route.verb))


def row_of(route: Route) -> str:
    """Returns a route with the names of its path shortened, as `GET /workflows/{id}`."""
    path = re.sub(r"{(workflow_id|activity_id|task_token)}", "{id}", route.path)
    for kind in ("signal", "update", "query"):
        path = path.replace(f"{{{kind}_name}}", "{name}")
    return f"{route.verb} {path.removeprefix('/api/v1')}"


def statuses_of(route: Route) -> list[int]:
    """Returns the statuses of success."""
    return sorted({route.status, *([route.otherwise.status] if route.otherwise else [])})


def draw() -> str:
    """Returns the table."""
    return HEAD + "".join(
        f"| {route.verb} | `{route.path}` | {_rpc(route)} | {_success(route)} |\n"
        for route in routes()
    )


def with_fresh_table(text: str) -> str:
    """Returns the document with the table between its markers written anew."""
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError(f"{README.name} has no markers for the routes")
    return f"{before}{BEGIN}{draw()}{END}{after}"


def write(path: Path = README) -> None:
    """Writes the table of a document anew."""
    path.write_text(with_fresh_table(path.read_text(encoding="utf-8")), encoding="utf-8")


def _rpc(route: Route) -> str:
    return f"{route.service.rpartition('.')[2]}.{route.method}"


def _success(route: Route) -> str:
    events = ", events" if route.streams else ""
    return " or ".join(str(status) for status in statuses_of(route)) + events


if __name__ == "__main__":
    write()
