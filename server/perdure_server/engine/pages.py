"""Owns the page tokens of lists by name: of which list, and the name that a page begins after."""

from __future__ import annotations

from perdure_server.core.errors import InvalidPageToken
from perdure_server.core.limits import ID_BYTES_MAX


def token_after(kind: str, name: str) -> str:
    """Returns the token of the page of a kind of list that begins after a name."""
    return f"{kind}:{name}"


def name_before(kind: str, page_token: str) -> str:
    """Returns the name after which a page begins; empty for the first page.

    Raises InvalidPageToken.
    """
    if not page_token:
        return ""
    found, _, name = page_token.partition(":")
    if found != kind or not name or len(name) > ID_BYTES_MAX:
        raise InvalidPageToken("send the token of the last page as it was received", "page_token")
    return name
