"""Owns the commands `perdure api-key …`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from perdure._cli import show
from perdure._cli.calls import ask, call_once, talk
from perdure._cli.options import DEFAULT_ADDRESS, Address, ApiKey, Output, OutputOption
from perdure._transport import Transport
from perdure.v1 import admin_service_pb2 as pb

_PAGE_SIZE = 1_000

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@app.command()
def create(
    *,
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    idempotent: Annotated[
        bool, typer.Option("--idempotent", help="Create none when the label has one.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Creates an API key and prints it, this once; the first one needs no key."""
    request = pb.CreateApiKeyRequest(label=label, idempotent=idempotent)
    method = "AdminService/CreateApiKey"
    answer = ask(address, method, request, pb.CreateApiKeyResponse, api_key=api_key)
    if output is Output.JSON:
        show.print_json(show.to_json(answer))
    elif answer.plaintext:
        # Alone on standard output, so that it can be put where it belongs without being read.
        print(answer.plaintext, flush=True)
        print(
            "perdure: the key is shown only now; keep it, and set PERDURE_API_KEY to it",
            file=sys.stderr,
        )
    else:
        print(f"perdure: {label!r} has the key {answer.prefix}… already", file=sys.stderr)


@app.command("list")
def list_(
    *,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists the API keys, newest first, by their first characters."""
    keys = talk(address, _list, api_key=api_key)
    if output is Output.JSON:
        show.print_json([show.to_json(key) for key in keys])
        return
    show.print_table(
        ("PREFIX", "LABEL", "CREATED"),
        [(key.prefix, key.label, show.time_text(key.created_at)) for key in keys],
    )


@app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="As `list` shows it.")],
    *,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Revokes an API key: no call with it is served any more, and its streams end."""
    request = pb.DeleteApiKeyRequest(prefix=prefix)
    method = "AdminService/DeleteApiKey"
    answer = ask(address, method, request, pb.DeleteApiKeyResponse, api_key=api_key)
    show.print_answer(answer, output, f"revoked {prefix}")


async def _list(transport: Transport) -> list[pb.ApiKey]:
    request = pb.ListApiKeysRequest(page_size=_PAGE_SIZE)
    keys: list[pb.ApiKey] = []
    while True:
        method = "AdminService/ListApiKeys"
        page = await call_once(transport, method, request, pb.ListApiKeysResponse)
        keys += page.api_keys
        if not page.next_page_token:
            return keys
        request.page_token = page.next_page_token
