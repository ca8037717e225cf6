"""The contract with its comments, compiled anew as `make rest` does it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from perdure_server.rest.descriptor import service_files
from perdure_server.rest.openapi_words import Words, words_of
from tests.tidy.sources import PROTO, ROOT


@cache
def words() -> Words:
    """Returns the comments of the contract."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "contract.binpb"
        files = sorted(str(path.relative_to(ROOT)) for path in PROTO.glob("*.proto"))
        compiler = [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", "-Iproto/third_party"]
        options = ["--include_imports", "--include_source_info", f"--descriptor_set_out={target}"]
        subprocess.run([*compiler, *options, *files], cwd=ROOT, check=True)
        return words_of(FileDescriptorSet.FromString(target.read_bytes()))


def methods() -> list[MethodDescriptor]:
    """Returns every RPC."""
    return [
        method
        for file in service_files()
        for service in file.services_by_name.values()
        for method in service.methods
    ]
