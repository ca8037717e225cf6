"""Owns the descriptors that Envoy routes by, derived from those of the contract.

Envoy must not read bodies: its own JSON would change payloads. So in what it is given the request
of an annotated RPC has only the fields that its path binds, and `rest_body`, an HttpBody, where the
rule has a body; the answer is an HttpBody. Only field numbers travel, so the server reads both
forms.

`python -m perdure_server.rest.descriptor` writes the file; `make rest` calls it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from google.rpc import error_details_pb2

from perdure import v1

FILE: Final = Path(__file__).with_name("perdure.pb")
"""The committed descriptors."""
BODY_FIELD: Final = "rest_body"
BODY_NUMBER: Final = 1000
"""Field of a request that carries the body; no message of the contract uses its number."""

_HTTP: Final[Any] = annotations_pb2.http
_HTTP_BODY: Final = f".{httpbody_pb2.HttpBody.DESCRIPTOR.full_name}"
_VARIABLE: Final = re.compile(r"\{([^}=]*)")
_VERB: Final = re.compile(r":(\w+)$")


def service_files() -> list[FileDescriptor]:
    """Returns the files of the contract that have services, by name."""
    names = sorted(
        module.name
        for module in pkgutil.iter_modules(v1.__path__)
        if module.name.endswith("_service_pb2")
    )
    return [importlib.import_module(f"{v1.__name__}.{name}").DESCRIPTOR for name in names]


def envoy_descriptors(files: Iterable[FileDescriptor]) -> FileDescriptorSet:
    """Returns the derived files after all that they need; ValueError for a rule that cannot be."""
    # Statuses carry details of these types; Envoy prints only what it knows.
    known = [annotations_pb2, httpbody_pb2, error_details_pb2]
    done: dict[str, FileDescriptorProto] = {}
    for module in known:
        _add_with_imports(module.DESCRIPTOR, done)
    return FileDescriptorSet(file=[*done.values(), *(_derived(file) for file in files)])


def encoded(descriptors: FileDescriptorSet) -> bytes:
    """Returns the bytes of the file, the same on every machine."""
    return descriptors.SerializeToString(deterministic=True)


def http_rules(method: MethodDescriptor) -> list[http_pb2.HttpRule]:
    """Returns the rules of an RPC, none when REST does not have it."""
    options = method.GetOptions()
    if not options.HasExtension(_HTTP):
        return []
    rule = options.Extensions[_HTTP]
    return [rule, *rule.additional_bindings]


def path_of(rule: http_pb2.HttpRule) -> str:
    """Returns the path template of a rule."""
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise ValueError(f"an http rule has no path: {rule}")
    return str(rule.custom.path if pattern == "custom" else getattr(rule, pattern))


def _add_with_imports(file: FileDescriptor, done: dict[str, FileDescriptorProto]) -> None:
    if file.name in done:
        return
    for dependency in file.dependencies:
        _add_with_imports(dependency, done)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    done[file.name] = copy


def _derived(file: FileDescriptor) -> FileDescriptorProto:
    """Returns a file with only the annotated RPCs and their shrunk requests."""
    derived = FileDescriptorProto(
        name=file.name,
        package=file.package,
        syntax="proto3",
        dependency=[annotations_pb2.DESCRIPTOR.name, httpbody_pb2.DESCRIPTOR.name],
    )
    for service in file.services_by_name.values():
        methods = [(method, rules) for method in service.methods if (rules := http_rules(method))]
        derived.service.add(name=service.name).method.extend(
            _derived_method(method, rules) for method, rules in methods
        )
        derived.message_type.extend(_derived_request(*entry) for entry in methods)
    return derived


def _derived_method(
    method: MethodDescriptor, rules: Sequence[http_pb2.HttpRule]
) -> MethodDescriptorProto:
    derived = MethodDescriptorProto(
        name=method.name,
        input_type=f".{method.input_type.full_name}",
        output_type=_HTTP_BODY,
        server_streaming=method.server_streaming,
    )
    if method.client_streaming:
        raise ValueError(f"{method.full_name} takes a stream, which REST cannot send")
    rule = derived.options.Extensions[_HTTP]
    rule.CopyFrom(rules[0])
    for binding in (rule, *rule.additional_bindings):
        binding.response_body = ""
        binding.body = BODY_FIELD if binding.body else ""
        _set_path(binding, _VERB.sub(r"%3A\1", path_of(binding)))
    return derived


def _set_path(rule: http_pb2.HttpRule, path: str) -> None:
    # A verb anywhere makes Envoy cut it off every id that ends like it, so verbs become part of a
    # name: envoy.yaml rewrites `/workflows:execute` to match.
    pattern = rule.WhichOneof("pattern")
    if pattern == "custom":
        rule.custom.path = path
    elif pattern is not None:
        setattr(rule, pattern, path)


def _derived_request(
    method: MethodDescriptor, rules: Sequence[http_pb2.HttpRule]
) -> DescriptorProto:
    request = method.input_type
    kept = {name for rule in rules for name in _VARIABLE.findall(path_of(rule))}
    derived = DescriptorProto(name=request.name)
    derived.field.extend(_path_fields(request, kept))
    if any(rule.body for rule in rules):
        if BODY_NUMBER in request.fields_by_number or BODY_FIELD in request.fields_by_name:
            raise ValueError(f"{request.full_name} uses what is kept for the body")
        derived.field.add(
            name=BODY_FIELD,
            number=BODY_NUMBER,
            type=FieldDescriptorProto.TYPE_MESSAGE,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
            type_name=_HTTP_BODY,
        )
    return derived


def _path_fields(request: Descriptor, kept: set[str]) -> Iterator[FieldDescriptorProto]:
    for name in sorted(kept - set(request.fields_by_name)):
        raise ValueError(f"{request.full_name} has no field {name!r}, which its path names")
    for field in request.fields:
        if field.name in kept:
            if field.type != field.TYPE_STRING or field.is_repeated:
                raise ValueError(f"{field.full_name} stands in a path and is not a string")
            yield FieldDescriptorProto(
                name=field.name,
                number=field.number,
                type=FieldDescriptorProto.TYPE_STRING,
                label=FieldDescriptorProto.LABEL_OPTIONAL,
            )


def main(arguments: Sequence[str]) -> None:
    """Writes the descriptors to the file that is named, else to the committed one."""
    target = Path(arguments[0]) if arguments else FILE
    target.write_bytes(encoded(envoy_descriptors(service_files())))


if __name__ == "__main__":
    main(sys.argv[1:])
