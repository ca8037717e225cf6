"""Owns the REST names of fields: where JSON has what a dotted path of the contract leads to."""

from __future__ import annotations

import re

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from perdure_server.rest.options import Field, Shape, choice_of, field_of, message_of

_STEP = re.compile(r"(\w+)((?:\[\d+\])?)")
_BESIDE_ERROR = frozenset(("non_retryable",))


def rest_path(descriptor: Descriptor, path: str) -> str:
    """Returns a path like `options.heartbeat_timeout` as `heartbeat_timeout_secs`.

    From the first step on that leads nowhere, the path stays as it is.
    """
    said: list[str] = []
    steps = path.split(".")
    place: Descriptor | None = descriptor
    for number, step in enumerate(steps):
        match = _STEP.fullmatch(step)
        found = _find(place, match[1]) if place and match else None
        if found is None or match is None:
            return ".".join((*said, *steps[number:]))
        keys, field, place = found
        if field is not None and field.error and not field.repeated:
            return ".".join((*said, _error_path(field, steps[number + 1 :])))
        said += [key + match[2] for key in keys]
        if field is not None and field.spread:
            break
    return ".".join(said) or path


def _find(
    descriptor: Descriptor, name: str
) -> tuple[list[str], Field | None, Descriptor | None] | None:
    """Returns the keys, the field and the message that a step leads to."""
    choice = choice_of(descriptor)
    members = list(choice.members.values()) if choice else []
    for member in members:
        if choice and member.name == name:
            return [choice.content] if choice.content else [], None, message_of(member)
    if name in descriptor.fields_by_name:
        field = field_of(descriptor.fields_by_name[name])
        inner = field.message if field.shape is Shape.MESSAGE else None
        return [] if field.flatten else [field.key], field, inner
    # A path may leave the member of a choice out, as the index of a command does.
    owners = (m for m in map(_member, members) if name in m.fields_by_name)
    owner = next(owners, None)
    return _find(owner, name) if owner else None


def _member(field: FieldDescriptor) -> Descriptor:
    return message_of(field)


def _error_path(field: Field, rest: list[str]) -> str:
    if not rest or rest == ["message"]:
        return "error"
    if len(rest) == 1 and rest[0] in _BESIDE_ERROR:
        return rest[0]
    return ".".join((field.key, rest_path(field.message, ".".join(rest))))
