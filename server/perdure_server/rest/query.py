"""Owns the parameters of a query as members of a JSON object, so that one plan reads both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor

from perdure_server.core.errors import InvalidRequest
from perdure_server.rest.json_text import NotJson, check
from perdure_server.rest.options import Shape, fields_of
from perdure_server.rest.values import quoted

PARAMETERS_MAX: Final = 1_000
"""Parameters in one query: more than any request has, few enough to be read at once."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_BESIDE_ERROR = (("error", (Shape.STRING, False)), ("non_retryable", (Shape.BOOLEAN, False)))
_BOOLEANS = {"true": b"true", "1": b"true", "false": b"false", "0": b"false"}


class Query:
    """Reads the queries of one kind of request."""

    def __init__(self, request: Descriptor) -> None:
        self._fields = dict(_keys(request))

    def read(self, query: str) -> dict[str, bytes]:
        """Returns the parameters as checked JSON by key; the last of equal ones unless it repeats.

        Raises InvalidRequest with the name of the parameter.
        """
        members: dict[str, bytes] = {}
        for key, texts in parameters(query).items():
            if key not in self._fields:
                continue
            shape, repeated = self._fields[key]
            if repeated:
                elements = [_json(shape, text, f"{key}[{i}]") for i, text in enumerate(texts)]
                members[key] = b"[%b]" % b",".join(elements)
            else:
                members[key] = _json(shape, texts[-1], key)
        return members


def parameters(query: str) -> dict[str, list[str]]:
    """Returns the values of each parameter. Raises InvalidRequest."""
    if not query:
        return {}
    found: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX
        )
    except UnicodeError:
        raise InvalidRequest("the query is not percent-encoded UTF-8") from None
    except ValueError:
        raise InvalidRequest(f"the query has more than {PARAMETERS_MAX} parameters") from None
    for key, text in pairs:
        found.setdefault(key, []).append(text)
    return found


def _keys(descriptor: Descriptor) -> Iterator[tuple[str, tuple[Shape, bool]]]:
    for field in fields_of(descriptor):
        if field.flatten or field.spread:
            yield from _keys(field.message)
        if field.error:
            yield from _BESIDE_ERROR
        if field.spread:
            yield field.key, (Shape.INTEGER, False)
        elif not field.flatten:
            yield field.key, (field.shape, field.repeated)


def _json(shape: Shape, text: str, where: str) -> bytes:
    return _READERS.get(shape, _number)(text, where)


def _number(text: str, where: str) -> bytes:
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest("must be a number", where)
    return text.encode()


def _boolean(text: str, where: str) -> bytes:
    json = _BOOLEANS.get(text.lower())
    if json is None:
        raise InvalidRequest("must be true or false", where)
    return json


def _value(text: str, where: str) -> bytes:
    try:
        return check(text.encode())
    except UnicodeError:
        raise InvalidRequest("is not Unicode text", where) from None
    except NotJson as problem:
        raise InvalidRequest(str(problem), where) from None


_READERS: dict[Shape, Callable[[str, str], bytes]] = {
    Shape.STRING: quoted,
    Shape.ENUM: quoted,
    Shape.BOOLEAN: _boolean,
    Shape.PAYLOAD: _value,
    Shape.ATTRIBUTES: _value,
    Shape.ATTRIBUTE: _value,
    Shape.MESSAGE: _value,
}
