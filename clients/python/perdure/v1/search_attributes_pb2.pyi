import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchAttributes(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: SearchAttribute
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[SearchAttribute, _Mapping]] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.MessageMap[str, SearchAttribute]
    def __init__(self, values: _Optional[_Mapping[str, SearchAttribute]] = ...) -> None: ...

class SearchAttribute(_message.Message):
    __slots__ = ("keyword", "text", "int", "double", "bool", "datetime", "keyword_list")
    KEYWORD_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INT_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_FIELD_NUMBER: _ClassVar[int]
    BOOL_FIELD_NUMBER: _ClassVar[int]
    DATETIME_FIELD_NUMBER: _ClassVar[int]
    KEYWORD_LIST_FIELD_NUMBER: _ClassVar[int]
    keyword: str
    text: str
    int: int
    double: float
    bool: bool
    datetime: _timestamp_pb2.Timestamp
    keyword_list: KeywordList
    def __init__(self, keyword: _Optional[str] = ..., text: _Optional[str] = ..., int: _Optional[int] = ..., double: _Optional[float] = ..., bool: _Optional[bool] = ..., datetime: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., keyword_list: _Optional[_Union[KeywordList, _Mapping]] = ...) -> None: ...

class KeywordList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...
