"""Owns the way from a Python value to a payload and back.

JSON by msgspec: dataclasses, TypedDict, NamedTuple, msgspec structs, pydantic models, datetime,
UUID, Decimal, Enum, Path, sets and unions, checked against the type on the way in; pydantic is
never imported, its models say how they are read. Bytes at the top level travel as they are. What
is done to the bytes is left to `codec.py`, what a payload means to an activity or a workflow to
`_definition.py`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import PurePath
from types import UnionType
from typing import Any, Final, TypeAlias, Union, get_args, get_origin

import msgspec

from perdure.errors import PayloadError
from perdure.v1.payload_pb2 import Payload

_Decode: TypeAlias = Callable[[bytes], Any]

JSON: Final = "json/plain"
BINARY: Final = "binary/plain"
PAYLOAD_BYTES_MAX: Final = 2 * 1024 * 1024
"""The server's bound; refused here already, where the value was made."""


class Converter:
    """Encodes and decodes user values. Subclass it for types that it does not know.

    Both sides must agree. To encrypt or compress, there are codecs.
    """

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_encode_other)
        self._decoders: dict[Any, _Decode] = {}

    def encode(self, value: Any) -> Payload:
        """Encodes a value.

        Raises PayloadError naming the type and path of what cannot be encoded.
        """
        if type(value) is bytes:
            return Payload(data=_fitting(value), encoding=BINARY)
        try:
            data = self._encoder.encode(value)
        except RecursionError:
            raise PayloadError("the value is nested too deeply or contains itself") from None
        except Exception as error:
            path, culprit = self._find_culprit(value, "value")
            raise PayloadError(
                f"{path}: cannot encode {type(culprit).__qualname__}: {error}; use JSON types, "
                "dataclasses, pydantic models, msgspec structs, datetime, UUID, Decimal or Enum"
            ) from error
        return Payload(data=_fitting(data))

    def decode(self, payload: Payload | None, type: Any = Any) -> Any:  # noqa: A002
        """Decodes a payload as `type`; an absent payload reads as null. Raises PayloadError."""
        encoding = JSON if payload is None else payload.encoding or JSON
        data = b"null" if payload is None else payload.data
        if encoding == BINARY:
            if type not in {bytes, Any, object} and bytes not in get_args(type):
                raise PayloadError(f"the value is plain bytes, not {_name(type)}")
            return data
        if encoding != JSON:
            raise PayloadError(
                f"no converter for the encoding {encoding!r}; what a codec made is read with that"
                " codec"
            )
        try:
            decode = self._decoders.get(type) or self._make_decoder(type)
            return decode(data or b"null")
        except Exception as error:
            raise PayloadError(f"cannot read the value as {_name(type)}: {error}") from error

    def _make_decoder(self, type: Any) -> _Decode:  # noqa: A002
        try:
            decode: _Decode = msgspec.json.Decoder(type, dec_hook=_decode_other).decode
        except TypeError:
            arms = get_args(type) if get_origin(type) in {Union, UnionType} else ()
            if not arms:
                raise
            decode = partial(_decode_union, [(arm, self._make_decoder(arm)) for arm in arms])
        self._decoders[type] = decode
        return decode

    def _find_culprit(self, value: Any, path: str) -> tuple[str, Any]:
        for step, child in _children(value):
            try:
                self._encoder.encode(child)
            except Exception:  # noqa: BLE001 -- whatever it raised, this is the branch to follow
                return self._find_culprit(child, path + step)
        return path, value


def _fitting(data: bytes) -> bytes:
    if len(data) > PAYLOAD_BYTES_MAX:
        raise PayloadError(
            f"the value takes {len(data):,} bytes; at most {PAYLOAD_BYTES_MAX:,} fit into a "
            "payload: keep it in a file or blob store and pass its name"
        )
    return data


def _encode_other(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "model_dump_json"):
        return msgspec.Raw(value.model_dump_json().encode())
    raise TypeError("the type has no JSON form")


def _decode_other(type: Any, value: Any) -> Any:  # noqa: A002
    model = get_origin(type) or type
    if isinstance(model, builtins.type) and issubclass(model, PurePath):
        return type(value)
    if hasattr(model, "model_validate_json"):
        return type.model_validate_json(msgspec.json.encode(value))
    raise TypeError(f"{_name(type)} has no JSON form")


def _decode_union(arms: Sequence[tuple[Any, _Decode]], data: bytes) -> Any:
    """Decodes one of several classes, which msgspec does not tell apart: that which fits best."""
    given, fitting, problem = msgspec.json.decode(data), [], ""
    for arm, decode in arms:
        try:
            fitting.append((len(_keys_beyond(given, arm)), decode(data)))
        except Exception as error:  # noqa: BLE001 -- a validator of the author may raise anything
            problem += f"; as {_name(arm)}: {error}"
    if not fitting:
        raise ValueError(problem.removeprefix("; "))
    return min(fitting, key=itemgetter(0))[1]


def _keys_beyond(given: Any, arm: Any) -> set[str]:
    known = _field_names(arm)
    return set(given) - known if isinstance(given, dict) and known else set()


def _field_names(arm: Any) -> set[str]:
    bases = getattr(get_origin(arm) or arm, "__mro__", ())
    return {name for base in bases for name in vars(base).get("__annotations__", ())}


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", child) for key, child in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", child) for index, child in enumerate(value)]
    names: Any = getattr(value, "__dataclass_fields__", getattr(value, "__struct_fields__", ()))
    return [(f".{name}", getattr(value, name)) for name in names]


def _name(type: Any) -> str:  # noqa: A002
    return getattr(type, "__qualname__", None) or str(type)
