"""Owns messages from JSON: one plan per kind of message, made at the start from its descriptor.

Members that are no field are ignored, and `null` counts as absent. What does not fit raises
`InvalidRequest` with the REST name of the field, as `commands[2].seq`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import msgspec
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from perdure_server.core.errors import InvalidRequest
from perdure_server.rest import values
from perdure_server.rest.attributes import fill_attribute, fill_attributes
from perdure_server.rest.json_text import array_of, object_of
from perdure_server.rest.options import (
    Choice,
    Field,
    Shape,
    choice_of,
    field_of,
    fields_of,
    message_of,
    shown_of,
)

Filler: TypeAlias = Callable[[Any, bytes, str], None]
"""Fills a message from the JSON that stands for it, or for one of its fields, at a place."""
Members: TypeAlias = Mapping[str, msgspec.Raw | bytes]
"""The members of an object: checked JSON by key."""

_ERROR = "error"
_NON_RETRYABLE = "non_retryable"
_NULL = b"null"
_NESTED_MAX = 60
"""Messages within one another: room for the causes that a failure may have, and protobuf reads 100,
where an event wraps what a request holds.
"""


class Decoders:
    """Makes the plan of each kind of message once."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    def fill(self, message: Message, body: Members) -> None:
        """Fills a message from an object. Raises InvalidRequest."""
        descriptor: Any = message.DESCRIPTOR
        self.plan_of(descriptor).fill(message, body, "")

    def plan_of(self, descriptor: Descriptor) -> Plan:
        """Returns the plan of a kind of message. Raises ValueError when its options do not fit."""
        plan = self._plans.get(descriptor.full_name)
        if plan is None:
            # It is known before it is complete, because a message may hold its own kind.
            plan = self._plans[descriptor.full_name] = Plan()
            self._make(plan, descriptor)
        return plan

    def _make(self, plan: Plan, descriptor: Descriptor) -> None:
        if inline := shown_of(descriptor).inline:
            plan.inline = self._field_filler(field_of(descriptor.fields_by_name[inline]))
            return
        for field in fields_of(descriptor):
            fillers = self._field_fillers(field)
            if both := plan.fillers.keys() & fillers.keys():
                raise ValueError(f"{descriptor.full_name} has two fields with key {min(both)!r}")
            plan.fillers.update(fillers)
            plan.required.extend(self._required(field))
        if choice := choice_of(descriptor):
            plan.choose = self._chooser(choice)

    def _field_fillers(self, field: Field) -> dict[str, Filler]:
        if field.flatten:
            return self._flat_fillers(field)
        filler = self._field_filler(field)
        if field.spread:
            flat = self._flat_fillers(field)
            whole = [flat[f.key] for f in fields_of(field.message) if f.shape is Shape.INTEGER]
            return {field.key: partial(_spread, filler=filler, whole=whole), **flat}
        if field.error:
            flat = self._flat_fillers(field)
            text, last = flat["message"], flat[_NON_RETRYABLE]
            return {field.key: filler, _ERROR: text, _NON_RETRYABLE: last}
        return {field.key: filler}

    def _flat_fillers(self, field: Field) -> dict[str, Filler]:
        plan = self.plan_of(field.message)
        if plan.inline or plan.choose:
            raise ValueError(f"{field.descriptor.full_name}: it has no keys to put elsewhere")
        return {key: partial(_within, name=field.name, filler=f) for key, f in plan.fillers.items()}

    def _field_filler(self, field: Field) -> Filler:
        filler = _MESSAGES.get(field.shape)
        if field.shape is Shape.MESSAGE:
            filler = self.plan_of(field.message).fill_from
        if filler is not None:
            fill = _messages if field.repeated else _one
            return partial(fill, name=field.name, filler=filler)
        set_value = _scalars if field.repeated else _scalar
        return partial(set_value, name=field.name, read=values.reader_of(field))

    def _required(self, field: Field) -> list[tuple[str, frozenset[str]]]:
        if field.flatten:
            return self.plan_of(field.message).required
        if not field.required:
            return []
        if field.error:
            return [(_ERROR, frozenset((_ERROR, field.key)))]
        return [(field.key, frozenset((field.key,)))]

    def _chooser(self, choice: Choice) -> Callable[[Message, Members, str], None]:
        plans = {
            tag: (member.name, self.plan_of(message_of(member)))
            for tag, member in choice.members.items()
        }
        return partial(_choose, choice=choice, plans=plans)


class Plan:
    """How one kind of message is read."""

    __slots__ = ("choose", "fillers", "inline", "required")

    def __init__(self) -> None:
        self.fillers: dict[str, Filler] = {}
        self.required: list[tuple[str, frozenset[str]]] = []
        """What is named when all of some keys are absent."""
        self.inline: Filler | None = None
        self.choose: Callable[[Message, Members, str], None] | None = None

    def fill(self, message: Message, members: Members, prefix: str) -> None:
        """Fills a message from an object whose keys stand after `prefix`."""
        given = set()
        for key, raw in members.items():
            filler, text = self.fillers.get(key), bytes(raw)
            if text != _NULL:
                given.add(key)
                if filler is not None:
                    filler(message, text, prefix + key)
        if self.choose is not None:
            self.choose(message, members, prefix)
        for name, keys in self.required:
            if keys.isdisjoint(given):
                raise InvalidRequest("is required", prefix + name)

    def fill_from(self, message: Message, text: bytes, where: str) -> None:
        """Fills a message from the JSON that stands for it."""
        if where.count(".") >= _NESTED_MAX:
            raise InvalidRequest(f"stands {_NESTED_MAX} objects deep, which is the bound", where)
        if self.inline is not None:
            self.inline(message, text, where)
            return
        members = object_of(text)
        if members is None:
            raise InvalidRequest("must be an object", where)
        self.fill(message, members, f"{where}.")


def _one(message: Any, text: bytes, where: str, *, name: str, filler: Filler) -> None:
    inner = getattr(message, name)
    inner.SetInParent()
    filler(inner, text, where)


def _messages(message: Any, text: bytes, where: str, *, name: str, filler: Filler) -> None:
    add = getattr(message, name).add
    for index, element in enumerate(_elements(text, where)):
        filler(add(), bytes(element), f"{where}[{index}]")


def _scalar(message: Any, text: bytes, where: str, *, name: str, read: values.Reader) -> None:
    setattr(message, name, read(text, where))


def _scalars(message: Any, text: bytes, where: str, *, name: str, read: values.Reader) -> None:
    elements = enumerate(_elements(text, where))
    read_all = [read(bytes(element), f"{where}[{index}]") for index, element in elements]
    getattr(message, name).extend(read_all)


def _elements(text: bytes, where: str) -> list[msgspec.Raw]:
    elements = array_of(text)
    if elements is None:
        raise InvalidRequest("must be a list", where)
    return elements


def _within(message: Any, text: bytes, where: str, *, name: str, filler: Filler) -> None:
    filler(getattr(message, name), text, where)


def _spread(message: Any, text: bytes, where: str, *, filler: Filler, whole: list[Filler]) -> None:
    for fill in [filler] if text[:1] in {b"{", b"["} else whole:
        fill(message, text, where)


def _choose(
    message: Any,
    members: Members,
    prefix: str,
    *,
    choice: Choice,
    plans: Mapping[str, tuple[str, Plan]],
) -> None:
    where = prefix + choice.tag
    text = bytes(members.get(choice.tag, _NULL))
    if text == _NULL:
        raise InvalidRequest(f"is required: one of {', '.join(plans)}", where)
    tag = values.string(text, where)
    if tag not in plans:
        raise InvalidRequest(f"is {values.shown_text(tag)}, not one of {', '.join(plans)}", where)
    name, plan = plans[tag]
    inner = getattr(message, name)
    inner.SetInParent()
    if not choice.content:
        plan.fill(inner, members, prefix)
    elif (content := bytes(members.get(choice.content, _NULL))) != _NULL:
        plan.fill_from(inner, content, prefix + choice.content)


_MESSAGES: Mapping[Shape, Filler] = {
    Shape.PAYLOAD: values.fill_payload,
    Shape.TIMESTAMP: values.fill_timestamp,
    Shape.DURATION: values.fill_duration,
    Shape.ATTRIBUTES: fill_attributes,
    Shape.ATTRIBUTE: fill_attribute,
}
