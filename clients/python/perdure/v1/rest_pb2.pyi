from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
REST_METHOD_FIELD_NUMBER: _ClassVar[int]
rest_method: _descriptor.FieldDescriptor
REST_MESSAGE_FIELD_NUMBER: _ClassVar[int]
rest_message: _descriptor.FieldDescriptor
REST_FIELD_FIELD_NUMBER: _ClassVar[int]
rest_field: _descriptor.FieldDescriptor
REST_ONEOF_FIELD_NUMBER: _ClassVar[int]
rest_oneof: _descriptor.FieldDescriptor

class RestMethod(_message.Message):
    __slots__ = ("status", "otherwise", "absent", "events", "whole")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    status: int
    otherwise: RestOtherwise
    absent: str
    events: RestEvents
    whole: bool
    def __init__(self, status: _Optional[int] = ..., otherwise: _Optional[_Union[RestOtherwise, _Mapping]] = ..., absent: _Optional[str] = ..., events: _Optional[_Union[RestEvents, _Mapping]] = ..., whole: _Optional[bool] = ...) -> None: ...

class RestOtherwise(_message.Message):
    __slots__ = ("field", "status")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    field: str
    status: int
    def __init__(self, field: _Optional[str] = ..., status: _Optional[int] = ...) -> None: ...

class RestEvents(_message.Message):
    __slots__ = ("id", "kind", "name", "resume")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    name: str
    resume: str
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., resume: _Optional[str] = ...) -> None: ...

class RestMessage(_message.Message):
    __slots__ = ("keys", "inline", "constants", "copies", "null_unless", "always_null")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    CONSTANTS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    NULL_UNLESS_FIELD_NUMBER: _ClassVar[int]
    ALWAYS_NULL_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    inline: str
    constants: _containers.RepeatedCompositeFieldContainer[RestConstant]
    copies: _containers.RepeatedCompositeFieldContainer[RestCopy]
    null_unless: str
    always_null: bool
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., inline: _Optional[str] = ..., constants: _Optional[_Iterable[_Union[RestConstant, _Mapping]]] = ..., copies: _Optional[_Iterable[_Union[RestCopy, _Mapping]]] = ..., null_unless: _Optional[str] = ..., always_null: _Optional[bool] = ...) -> None: ...

class RestConstant(_message.Message):
    __slots__ = ("key", "json")
    KEY_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    key: str
    json: str
    def __init__(self, key: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class RestCopy(_message.Message):
    __slots__ = ("key", "path")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    key: str
    path: str
    def __init__(self, key: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class RestField(_message.Message):
    __slots__ = ("name", "flatten", "text", "required", "spread", "error", "omit_default", "lower")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FLATTEN_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OMIT_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    name: str
    flatten: bool
    text: bool
    required: bool
    spread: bool
    error: bool
    omit_default: bool
    lower: bool
    def __init__(self, name: _Optional[str] = ..., flatten: _Optional[bool] = ..., text: _Optional[bool] = ..., required: _Optional[bool] = ..., spread: _Optional[bool] = ..., error: _Optional[bool] = ..., omit_default: _Optional[bool] = ..., lower: _Optional[bool] = ...) -> None: ...

class RestOneof(_message.Message):
    __slots__ = ("tag", "content")
    TAG_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    tag: str
    content: str
    def __init__(self, tag: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...
