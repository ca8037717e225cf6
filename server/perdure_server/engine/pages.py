"""Owns the page tokens of lists by name: of which list, and the name that a page begins after."""

from __future__ import annotations

import base64

from perdure_server.core.errors import InvalidPageToken
from perdure_server.core.limits import ID_BYTES_MAX


def token_after(kind: str, name: str) -> str:
    """Returns the token of the page of a kind of list that begins after a name.

    It is ASCII whatever the name is, because over REST it stands in headers too.
    """
    return f"{kind}:{base64.urlsafe_b64encode(name.encode()).decode().rstrip('=')}"


def name_before(kind: str, page_token: str) -> str:
    """Returns the name after which a page begins; empty for the first page.

    Raises InvalidPageToken.
    """
    if not page_token:
        return ""
    found, _, packed = page_token.partition(":")
    try:
        name = base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True)
        if found == kind and 0 < len(name) <= ID_BYTES_MAX:
            return name.decode()
    except ValueError:
        pass
    raise InvalidPageToken("send the token of the last page as it was received", "page_token")
