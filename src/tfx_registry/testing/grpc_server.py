"""ML Metadata's gRPC service for tests, over the C++ library of the Python wheel.

No wheel brings the real `metadata_store_server`. This one hands each request to the same library
that the real one is built on, so the client sees the same answers and the same error codes. Calls
that the library does not offer to Python answer UNIMPLEMENTED.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_minloglevel", "3")  # before the C++ library reads it

import grpc
from ml_metadata.metadata_store.pywrap.metadata_store_extension import metadata_store as library
from ml_metadata.proto import metadata_store_pb2 as pb
from ml_metadata.proto import metadata_store_service_pb2 as service_pb

from tfx_registry.testing.process import LOOPBACK, DatabaseServer, free_port

__all__ = ["GrpcServer", "GrpcServerProcess"]

_SERVICE = service_pb.DESCRIPTOR.services_by_name["MetadataStoreService"]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """A server in this process, over an SQLite file that nothing else here may open.

    Attributes:
        uri: The registry URI.
    """

    def __init__(self, path: Path, port: int = 0) -> None:
        """Starts the server.

        Args:
            path: The SQLite file; made if it is missing.
            port: The port of the loopback interface; 0 means a free one.
        """
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(path)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self._store = library.CreateMetadataStore(
            config.SerializeToString(), pb.MigrationOptions().SerializeToString()
        )
        self._lock = threading.Lock()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)]
        )
        handlers = {method.name: self._handler(method) for method in _SERVICE.methods}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers),)
        )
        bound = self._server.add_insecure_port(f"{LOOPBACK}:{port}")
        self._server.start()
        self.uri = f"grpc://{LOOPBACK}:{bound}"

    def close(self) -> None:
        """Stops the server."""
        self._server.stop(grace=None).wait()

    def wait(self) -> None:
        """Serves until the process is ended."""
        self._server.wait_for_termination()

    def _handler(self, method: Any) -> Any:
        call: Any = getattr(library, method.name, None)

        def answer(request: bytes, context: Any) -> bytes:
            if call is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"no {method.name} in Python")
            with self._lock:  # the library answers one request at a time
                response, message, code = call(self._store, request)
            if code:
                context.abort(_CODES[code], message.decode("utf-8", "replace"))
            return bytes(response)

        return grpc.unary_unary_rpc_method_handler(answer)


class GrpcServerProcess(DatabaseServer):
    """The same server in a process of its own, which can be killed and started again."""

    scheme = "grpc"
    refuses_root = False

    def uri(self, database: str = "") -> str:
        """Returns the registry URI; there is only one database."""
        return f"grpc://{LOOPBACK}:{self.port}"

    def _initialize(self) -> None:
        """Nothing to make: ML Metadata makes the file."""

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tfx_registry.testing.grpc_server",
                str(self.folder / "metadata.sqlite"), "--port", str(self.port)]  # fmt: skip

    def _is_ready(self) -> bool:
        # Without gRPC, which does not live on in a process that forks afterwards.
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=5.0).close()
        except OSError:
            return False
        return True


def main(arguments: Sequence[str]) -> None:
    """Serves until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="the SQLite file")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    options = parser.parse_args(arguments)
    GrpcServer(options.path, options.port or free_port()).wait()


if __name__ == "__main__":
    main(sys.argv[1:])
