"""Where requests and connections are logged, as the mesh's configuration says.

Envoy: envoy.config.accesslog.v3.AccessLog with a file. The formats are Istio's own.
"""

from __future__ import annotations

import json
from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2

from legation.model import mesh
from legation.model.recall import Reader
from legation.render import wire

STDOUT: Final = "/dev/stdout"
"""Where the provider `envoy`, which is always there, writes to."""

_NAME: Final = "envoy.access_loggers.file"
TEXT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
JSON: Final = {
    "authority": "%REQ(:AUTHORITY)%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "duration": "%DURATION%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "response_code": "%RESPONSE_CODE%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "response_flags": "%RESPONSE_FLAGS%",
    "route_name": "%ROUTE_NAME%",
    "start_time": "%START_TIME%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "user_agent": "%REQ(USER-AGENT)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
}


def of_mesh(reader: Reader) -> list[accesslog_pb2.AccessLog]:
    """The log of every HTTP request and every TCP connection; none unless the mesh's configuration names a file."""
    path = str(reader.ask(mesh.setting, "access_log_file"))
    return [_to_file(reader, path)] if path else []


def of_listener(reader: Reader) -> list[accesslog_pb2.AccessLog]:
    """The log of connections that no filter chain takes, which no other log would see."""
    if reader.ask(mesh.setting, "disable_envoy_listener_log"):
        return []
    made = of_mesh(reader)
    for log in made:
        log.filter.response_flag_filter.flags.append("NR")
    return made


def _to_file(reader: Reader, path: str) -> accesslog_pb2.AccessLog:
    written = str(reader.ask(mesh.setting, "access_log_format"))
    made = file_pb2.FileAccessLog(path=path)
    if reader.ask(mesh.setting, "access_log_encoding") == "JSON":
        made.log_format.json_format.update(json.loads(written) if written else JSON)
    else:
        text = written or TEXT
        made.log_format.text_format_source.inline_string = text if text.endswith("\n") else text + "\n"
    return accesslog_pb2.AccessLog(name=_NAME, typed_config=wire.pack(made))
