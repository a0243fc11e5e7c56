"""Private servers for tests: MariaDB, PostgreSQL, and ML Metadata's gRPC service.

For the tests of this package, and for those of programs that embed it. Each listens on a free port
of the loopback interface, keeps its data in a temporary folder, and is gone with the process that
started it.

`tfx_registry.testing.model_server` emulates a model server, `python -m` runs it.

Example:
    with PostgreSqlServer() as server:
        os.environ["TFX_REGISTRY_PASSWORD"] = server.password
        registry = ModelRegistry.open(server.uri("registry"))
"""

from tfx_registry.testing.grpc_server import GrpcServer, GrpcServerProcess
from tfx_registry.testing.mariadb import MariaDbServer
from tfx_registry.testing.postgresql import PostgreSqlServer
from tfx_registry.testing.process import DatabaseServer

__all__ = [
    "DatabaseServer",
    "GrpcServer",
    "GrpcServerProcess",
    "MariaDbServer",
    "PostgreSqlServer",
]
