"""Owns the JSON Schemas of messages: what a request may hold, and what an answer holds.

The rules are those of the codec, read from the same descriptors and options. A request may leave
out every field that is not required, or give `null`. An answer holds all its keys.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from perdure_server.rest.openapi_bounds import (
    Schema,
    attributes_asked,
    count_of,
    integer_format,
    is_always_set,
    message_of,
    number_of,
    requires,
    span_of,
    text_of,
)
from perdure_server.rest.openapi_words import Words
from perdure_server.rest.options import (
    Choice,
    Field,
    Shape,
    choice_of,
    enum_names,
    field_of,
    fields_of,
    shown_of,
)

_ATTRIBUTES: Final = "perdure.v1.SearchAttributes"
_JSON: Final = "application/json"
_NULL: Final[Schema] = {"type": "null"}
_NOT_NULL: Final[Schema] = {"type": ["string", "number", "boolean", "object", "array"]}
_EMPTY: Final[Schema] = {"type": "array", "maxItems": 0}
"""Counts as `{}`, because some languages cannot tell the two apart."""
_COMPOUND: Final = frozenset({"$ref", "anyOf", "oneOf"})
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_STILL_NULL: Final[Schema] = {**_NULL, "description": "Is always `null` in this version."}


class Schemas:
    """Builds schemas and keeps those that have a name."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.components: dict[str, Schema] = {}

    def body_of(self, request: Descriptor, bound: Collection[str]) -> Schema:
        """Returns what the body of a request may be; `bound` names the fields of its path."""
        self._name_asked(request.name, request, bound)
        if self.components[request.name].get("required"):
            return _reference(request.name)
        return {"anyOf": [_reference(request.name), _NULL, _EMPTY]}

    def parameters_of(self, request: Descriptor, bound: Collection[str]) -> Iterator[Schema]:
        """Yields the query parameters of a request as parameter objects."""
        properties, required = self._asked_keys(request, bound)
        for name, schema in properties.items():
            asked = _without_null(schema)
            told = {
                "name": name,
                "in": "query",
                "description": asked.pop("description", ""),
                "required": name in required,
            }
            # What is an object stands in a query as one JSON text.
            is_json = "type" not in asked
            yield told | ({"content": {_JSON: {"schema": asked}}} if is_json else {"schema": asked})

    def path_parameter(self, field: FieldDescriptor) -> Schema:
        """Returns a parameter of a path as a parameter object."""
        return {
            "name": field.name,
            "in": "path",
            "description": self._words.of(field.full_name),
            "required": True,
            "schema": {**text_of(field), "minLength": 1},
        }

    def answer_of(self, message: Descriptor) -> Schema:
        """Returns what the JSON of a message is."""
        shown = shown_of(message)
        if shown.always_null:
            return dict(_NULL)
        if shown.inline:
            return self.field_of(message.fields_by_name[shown.inline])
        if message.name not in self.components:
            self.components[message.name] = {}
            self.components[message.name] = self._told_object(message)
        reference = _reference(message.name)
        return {"anyOf": [reference, _NULL]} if shown.null_unless else reference

    def field_of(self, descriptor: FieldDescriptor) -> Schema:
        """Returns what the JSON of a field is in an answer, where it is set."""
        field = field_of(descriptor)
        one = self._told(field)
        return {"type": "array", "items": one} if field.repeated else one

    def _object(
        self, message: Descriptor, properties: dict[str, Schema], required: Collection[str]
    ) -> Schema:
        schema: Schema = {"type": "object", "description": self._words.of(message.full_name)}
        schema["properties"] = properties
        if required:
            schema["required"] = list(required)
        return schema

    def _described(self, descriptor: FieldDescriptor, schema: Schema) -> Schema:
        text = self._words.of(descriptor.full_name)
        return {**schema, "description": text} if text else schema

    # What a request may hold.

    def _name_asked(self, name: str, message: Descriptor, bound: Collection[str] = ()) -> None:
        if name in self.components:
            return
        self.components[name] = {}
        if message.full_name == _ATTRIBUTES:
            about = {"description": self._words.of(message.full_name)}
            self.components[name] = about | attributes_asked()
            return
        choice = choice_of(message)
        if choice:
            self.components[name] = self._asked_choice(message, choice)
        else:
            properties, required = self._asked_keys(message, bound)
            self.components[name] = self._object(message, properties, required)

    def _asked_choice(self, message: Descriptor, choice: Choice) -> Schema:
        """Returns the schema of a message whose keys stand beside a tag."""
        around, _ = self._asked_keys(message)
        mapping = {}
        for tag, member in choice.members.items():
            properties, required = self._asked_keys(message_of(member))
            name = f"{tag}{message.name}"
            told: dict[str, Schema] = {choice.tag: {"type": "string", "const": tag}}
            self.components[name] = self._object(
                message_of(member), told | properties | around, [choice.tag, *required]
            )
            mapping[tag] = f"#/components/schemas/{name}"
        return {
            "description": self._words.of(message.full_name),
            "oneOf": [{"$ref": reference} for reference in mapping.values()],
            "discriminator": {"propertyName": choice.tag, "mapping": mapping},
        }

    def _asked_keys(
        self, message: Descriptor, bound: Collection[str] = ()
    ) -> tuple[dict[str, Schema], list[str]]:
        """Returns the keys of a message in a request, and which of them are required."""
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for field in fields_of(message):
            if field.name in bound:
                continue
            if field.flatten or field.spread:
                properties |= self._asked_spread(field)
                inner, needed = self._asked_keys(message_of(field.descriptor))
                properties |= inner
                required += needed
            else:
                needed_key = self._ask(field, properties)
                required += [needed_key] if needed_key else []
        return properties, required

    def _asked_spread(self, field: Field) -> dict[str, Schema]:
        if not field.spread:
            return {}
        first = message_of(field.descriptor).fields[0]
        return {field.key: self._described(field.descriptor, _or_null(number_of(first)))}

    def _ask(self, field: Field, properties: dict[str, Schema]) -> str:
        """Adds the keys of one field; returns the one that is required, else nothing."""
        full_name = field.descriptor.full_name
        needed = field.required or requires(field.descriptor) or self._words.requires(full_name)
        if field.error:
            properties |= self._asked_error(field, needed=needed)
            return "error" if needed else ""
        asked = self._described(field.descriptor, self._asked(field))
        properties[field.key] = _needed(asked) if needed else _or_null(asked)
        return field.key if needed else ""

    def _asked_error(self, field: Field, *, needed: bool) -> dict[str, Schema]:
        failure = message_of(field.descriptor).fields_by_name
        text = self._described(failure["message"], {"type": "string"})
        never_again = self._described(failure["non_retryable"], {"type": "boolean"})
        whole = self._described(field.descriptor, self._asked(field))
        return {
            "error": text if needed else _or_null(text),
            "non_retryable": _or_null(never_again),
            field.key: _or_null(whole),
        }

    def _asked(self, field: Field) -> Schema:
        one = self._asked_one(field)
        if not field.repeated:
            return one
        bound = count_of(field.descriptor)
        return {"type": "array", "items": one} | ({"maxItems": bound} if bound else {})

    def _asked_one(self, field: Field) -> Schema:
        match field.shape:
            case Shape.PAYLOAD | Shape.ATTRIBUTE:
                return _free(field)
            case Shape.DURATION:
                return span_of(field.descriptor)
            case Shape.INTEGER | Shape.NUMBER | Shape.TIMESTAMP:
                return number_of(field.descriptor)
            case Shape.STRING:
                text = text_of(field.descriptor)
                return _needed(text) if field.repeated else text
            case Shape.MESSAGE | Shape.ATTRIBUTES:
                return self._asked_message(message_of(field.descriptor))
        return _same_both_ways(field)

    def _asked_message(self, message: Descriptor) -> Schema:
        name = f"{message.name}Input" if choice_of(message) is None else message.name
        self._name_asked(name, message)
        return _reference(name)

    # What an answer holds.

    def _told_object(self, message: Descriptor) -> Schema:
        properties = self._told_keys(message)
        optional = {field.key for field in fields_of(message) if field.omit_default}
        required = [key for key in properties if key not in optional]
        schema = self._object(message, properties, required)
        choice = choice_of(message)
        if choice and choice.content in properties:
            schema["oneOf"] = list(self._told_contents(choice))
        return schema

    def _told_contents(self, choice: Choice) -> Iterator[Schema]:
        """Yields what stands under the content key, for each tag."""
        for tag, member in choice.members.items():
            content = self.answer_of(message_of(member))
            yield {"properties": {choice.tag: {"const": tag}, choice.content: content}}

    def _told_keys(self, message: Descriptor) -> dict[str, Schema]:
        """Returns the keys of a message in an answer, in their order."""
        shown = shown_of(message)
        known: dict[str, Schema] = {}
        for field in fields_of(message):
            known |= self._told_field(field)
        choice = choice_of(message)
        if choice:
            known[choice.tag] = {"type": "string", "enum": list(choice.members)}
            known[choice.content] = {"description": self._words.of(_full_name(message, choice))}
        for key, value in shown.constants.items():
            known[key] = {"const": json.loads(value)}
        for key, path in shown.copies.items():
            source = _field_at(message, path)
            known[key] = self._described(source, _or_null(self.field_of(source)))
        return {key: known.get(key, dict(_STILL_NULL)) for key in shown.keys or known}

    def _told_field(self, field: Field) -> dict[str, Schema]:
        if field.flatten:
            inner = self._told_keys(message_of(field.descriptor))
            return {key: _or_null(schema) for key, schema in inner.items()}
        schema = dict(_TEXT_OR_NULL) if field.text else self._told_or_null(field)
        keys = {field.key: self._described(field.descriptor, schema)}
        if field.error:
            said = message_of(field.descriptor).fields_by_name["message"]
            keys = {"error": self._described(said, _TEXT_OR_NULL), **keys}
        return keys

    def _told_or_null(self, field: Field) -> Schema:
        one = self._told(field)
        if field.repeated:
            return {"type": "array", "items": one}
        plain = field.shape in {Shape.INTEGER, Shape.BOOLEAN, Shape.NUMBER} and not field.optional
        return one if plain or is_always_set(field.descriptor) else _or_null(one)

    def _told(self, field: Field) -> Schema:
        match field.shape:
            case Shape.PAYLOAD | Shape.ATTRIBUTE | Shape.ATTRIBUTES:
                return _free(field)
            case Shape.TIMESTAMP | Shape.DURATION | Shape.NUMBER:
                return {"type": "number"}
            case Shape.INTEGER:
                return {"type": "integer", "format": integer_format(field.descriptor)}
            case Shape.STRING:
                return {"type": "string"}
            case Shape.MESSAGE:
                return self.answer_of(message_of(field.descriptor))
        return _same_both_ways(field)


def _free(field: Field) -> Schema:
    if field.shape is Shape.ATTRIBUTES:
        return {"type": "object", "additionalProperties": True}
    return {}


def _same_both_ways(field: Field) -> Schema:
    if field.shape is Shape.BOOLEAN:
        return {"type": "boolean"}
    return {"type": "string", "enum": _short_names(field)}


def _short_names(field: Field) -> list[str | None]:
    enum = field.descriptor.enum_type
    names = enum_names(enum, lower=field.lower).values() if enum else ()
    return [name for name in names if name is not None]


def _full_name(message: Descriptor, choice: Choice) -> str:
    return f"{message.full_name}.{choice.name}"


def _field_at(message: Descriptor, path: tuple[str, ...]) -> FieldDescriptor:
    """Follows field names; a number picks an element and leads nowhere else."""
    *way, last = [part for part in path if not part.isdigit()]
    for name in way:
        message = message_of(message.fields_by_name[name])
    return message.fields_by_name[last]


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _needed(schema: Schema) -> Schema:
    if "type" not in schema and not schema.keys() & _COMPOUND:
        return {**schema, **_NOT_NULL}
    is_text = schema.get("type") == "string" and "enum" not in schema
    return {**schema, "minLength": 1} if is_text else schema


def _or_null(schema: Schema) -> Schema:
    """Lets a value be absent; what stands for a message in a request may also be `[]`."""
    if "$ref" in schema:
        reference = schema["$ref"]
        around = {key: value for key, value in schema.items() if key != "$ref"}
        empty = [_EMPTY] if reference.endswith("Input") else []
        return {"anyOf": [{"$ref": reference}, _NULL, *empty], **around}
    kind = schema.get("type")
    if not isinstance(kind, str) or kind == "null":
        return schema
    nullable = {**schema, "type": [kind, "null"]}
    return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable


def _without_null(schema: Schema) -> Schema:
    """Returns the schema of a query parameter, which is left out and never `null`."""
    plain = dict(schema)
    if isinstance(plain.get("type"), list):
        plain["type"] = plain["type"][0]
    if "enum" in plain:
        plain["enum"] = [value for value in plain["enum"] if value is not None]
    return plain
