"""Owns what the comments of the contract say: descriptions, and the errors of each RPC.

Comments are not part of the generated stubs. They are read from a descriptor set that the compiler
wrote with its source info.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

_PACKAGE = "perdure.v1"
_ERROR = re.compile(r"\b([A-Z][A-Z_]{3,}) / ([A-Z][A-Z_]{3,})")
_SAME_AS = re.compile(r"\bthose of (\w+)")
_PUBLIC = "Needs no key."
_REQUIRED = "Required."

_Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The comments of the contract, by full name of what they stand at."""

    comments: Mapping[str, str]

    def of(self, full_name: str) -> str:
        """Returns a comment as one line per paragraph; empty when there is none."""
        return self.comments.get(full_name, "")

    def title_of(self, full_name: str) -> str:
        """Returns the first sentence of a comment, without its full stop."""
        return self.of(full_name).partition("\n")[0].partition(". ")[0].removesuffix(".")

    def requires(self, full_name: str) -> bool:
        """Tells whether a field must be given."""
        return _REQUIRED in self.of(full_name)

    def is_public(self, method: MethodDescriptor) -> bool:
        """Tells whether an RPC is served without a key."""
        return _PUBLIC in self.of(method.full_name)

    def errors_of(self, method: MethodDescriptor) -> list[tuple[str, str]]:
        """Returns the pairs of status code and reason that an RPC and its service promise."""
        service = method.containing_service
        texts = [self.of(service.full_name), self.of(method.full_name)]
        texts += [self.of(f"{service.full_name}.{name}") for name in _SAME_AS.findall(texts[1])]
        return sorted({pair for text in texts for pair in _ERROR.findall(text)})


def words_of(files: FileDescriptorSet) -> Words:
    """Returns the comments of Perdure's own files in a descriptor set with source info."""
    comments: dict[str, str] = {}
    for file in files.file:
        if file.package == _PACKAGE:
            comments.update(_comments(file))
    return Words(comments)


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    names = dict(_names(file))
    for location in file.source_code_info.location:
        name = names.get(tuple(location.path))
        if name and location.leading_comments:
            yield name, _paragraphs(location.leading_comments)


def _paragraphs(comment: str) -> str:
    """Joins the lines of each paragraph."""
    parts = re.split(r"\n\s*\n", comment.strip())
    return "\n".join(" ".join(part.split()) for part in parts)


def _names(file: FileDescriptorProto) -> Iterator[tuple[_Path, str]]:
    """Maps the paths of source info, which are field numbers and positions, to full names."""
    for index, message in enumerate(file.message_type):
        yield from _of_message((4, index), f"{file.package}.{message.name}", message)
    for index, enum in enumerate(file.enum_type):
        yield from _of_enum((5, index), f"{file.package}.{enum.name}", enum)
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (6, index), name
        for place, method in enumerate(service.method):
            yield (6, index, 2, place), f"{name}.{method.name}"


def _of_message(path: _Path, name: str, message: DescriptorProto) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, 2, index), f"{name}.{field.name}"
    for index, oneof in enumerate(message.oneof_decl):
        yield (*path, 8, index), f"{name}.{oneof.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _of_message((*path, 3, index), f"{name}.{nested.name}", nested)
    for index, enum in enumerate(message.enum_type):
        yield from _of_enum((*path, 4, index), f"{name}.{enum.name}", enum)


def _of_enum(path: _Path, name: str, enum: EnumDescriptorProto) -> Iterator[tuple[_Path, str]]:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, 2, index), f"{name}.{value.name}"
