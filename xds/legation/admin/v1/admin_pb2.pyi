import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("summary", "proxies", "findings")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    PROXIES_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    summary: Summary
    proxies: _containers.RepeatedCompositeFieldContainer[Proxy]
    findings: Findings
    def __init__(self, summary: _Optional[_Union[Summary, _Mapping]] = ..., proxies: _Optional[_Iterable[_Union[Proxy, _Mapping]]] = ..., findings: _Optional[_Union[Findings, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("summary", "proxies", "gone", "findings", "complete")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    PROXIES_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    summary: Summary
    proxies: _containers.RepeatedCompositeFieldContainer[Proxy]
    gone: _containers.RepeatedScalarFieldContainer[int]
    findings: Findings
    complete: bool
    def __init__(self, summary: _Optional[_Union[Summary, _Mapping]] = ..., proxies: _Optional[_Iterable[_Union[Proxy, _Mapping]]] = ..., gone: _Optional[_Iterable[int]] = ..., findings: _Optional[_Union[Findings, _Mapping]] = ..., complete: _Optional[bool] = ...) -> None: ...

class WaitRequest(_message.Message):
    __slots__ = ("revision", "proxies")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PROXIES_FIELD_NUMBER: _ClassVar[int]
    revision: str
    proxies: int
    def __init__(self, revision: _Optional[str] = ..., proxies: _Optional[int] = ...) -> None: ...

class WaitResponse(_message.Message):
    __slots__ = ("done", "revision", "newest", "connected", "missing", "missing_count", "held", "errors")
    DONE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MISSING_COUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    done: bool
    revision: str
    newest: str
    connected: int
    missing: _containers.RepeatedCompositeFieldContainer[Missing]
    missing_count: int
    held: _containers.RepeatedCompositeFieldContainer[Problem]
    errors: _containers.RepeatedCompositeFieldContainer[Problem]
    def __init__(self, done: _Optional[bool] = ..., revision: _Optional[str] = ..., newest: _Optional[str] = ..., connected: _Optional[int] = ..., missing: _Optional[_Iterable[_Union[Missing, _Mapping]]] = ..., missing_count: _Optional[int] = ..., held: _Optional[_Iterable[_Union[Problem, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[Problem, _Mapping]]] = ...) -> None: ...

class Missing(_message.Message):
    __slots__ = ("id", "revision", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    revision: str
    why: str
    def __init__(self, id: _Optional[str] = ..., revision: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("ready", "revision", "connected", "behind", "refusing")
    READY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    REFUSING_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    revision: str
    connected: int
    behind: int
    refusing: int
    def __init__(self, ready: _Optional[bool] = ..., revision: _Optional[str] = ..., connected: _Optional[int] = ..., behind: _Optional[int] = ..., refusing: _Optional[int] = ...) -> None: ...

class Proxy(_message.Message):
    __slots__ = ("stream", "id", "role", "namespace", "version", "variant", "peer", "identity", "since", "revision", "synced", "lacks", "types")
    class TypesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TypeState
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TypeState, _Mapping]] = ...) -> None: ...
    STREAM_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    LACKS_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    stream: int
    id: str
    role: str
    namespace: str
    version: str
    variant: str
    peer: str
    identity: str
    since: _timestamp_pb2.Timestamp
    revision: str
    synced: bool
    lacks: _containers.RepeatedScalarFieldContainer[str]
    types: _containers.MessageMap[str, TypeState]
    def __init__(self, stream: _Optional[int] = ..., id: _Optional[str] = ..., role: _Optional[str] = ..., namespace: _Optional[str] = ..., version: _Optional[str] = ..., variant: _Optional[str] = ..., peer: _Optional[str] = ..., identity: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[str] = ..., synced: _Optional[bool] = ..., lacks: _Optional[_Iterable[str]] = ..., types: _Optional[_Mapping[str, TypeState]] = ...) -> None: ...

class TypeState(_message.Message):
    __slots__ = ("sent", "acked", "nacked", "error", "pending", "since", "refused")
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SENT_FIELD_NUMBER: _ClassVar[int]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    NACKED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    sent: str
    acked: str
    nacked: str
    error: str
    pending: int
    since: _timestamp_pb2.Timestamp
    refused: _containers.ScalarMap[str, str]
    def __init__(self, sent: _Optional[str] = ..., acked: _Optional[str] = ..., nacked: _Optional[str] = ..., error: _Optional[str] = ..., pending: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refused: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Findings(_message.Message):
    __slots__ = ("held", "problems", "omitted")
    HELD_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    OMITTED_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedCompositeFieldContainer[Problem]
    problems: _containers.RepeatedCompositeFieldContainer[Problem]
    omitted: int
    def __init__(self, held: _Optional[_Iterable[_Union[Problem, _Mapping]]] = ..., problems: _Optional[_Iterable[_Union[Problem, _Mapping]]] = ..., omitted: _Optional[int] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("severity", "code", "message", "file", "line", "column", "object", "path", "hint", "other")
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    severity: str
    code: str
    message: str
    file: str
    line: int
    column: int
    object: str
    path: str
    hint: str
    other: str
    def __init__(self, severity: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., file: _Optional[str] = ..., line: _Optional[int] = ..., column: _Optional[int] = ..., object: _Optional[str] = ..., path: _Optional[str] = ..., hint: _Optional[str] = ..., other: _Optional[str] = ...) -> None: ...
