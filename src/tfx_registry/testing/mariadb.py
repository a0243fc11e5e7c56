"""A private MariaDB server for tests, from Debian's package `mariadb-server-core`."""

from __future__ import annotations

from collections.abc import Sequence

from tfx_registry.testing.process import LOOPBACK, DatabaseServer, find_program

__all__ = ["MariaDbServer"]


class MariaDbServer(DatabaseServer):
    """A MariaDB server; see `process.DatabaseServer`."""

    scheme = "mysql"

    def sql(self, statements: str, database: str = "") -> str:
        """Runs SQL as the administrator and returns the rows, separated by tabs."""
        client = find_program(["mariadb", "mysql"], [], "mariadb-client-core")
        command = [client, "--no-defaults", f"--socket={self._socket}", "--user=root",
                   "--batch", "--skip-column-names", *([database] if database else [])]  # fmt: skip
        return self._run(command, statements)

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns its registry URI."""
        self.sql(f"CREATE DATABASE `{name}`")
        return self.uri(name)

    def drop_database(self, *names: str) -> None:
        """Removes databases."""
        self.sql("".join(f"DROP DATABASE IF EXISTS `{name}`;\n" for name in names))

    # How it runs

    @property
    def _socket(self) -> str:
        return str(self.folder / "socket")

    def _initialize(self) -> None:
        install = find_program(
            ["mariadb-install-db", "mysql_install_db"], [], "mariadb-server-core"
        )
        # In a common /tmp, servers that start remove each other's temporary tables.
        command = [install, "--no-defaults", f"--datadir={self.folder / 'data'}",
                   "--auth-root-authentication-method=normal", "--skip-test-db",
                   "--innodb-log-file-size=16M"]  # fmt: skip
        self._run(command, variables={"TMPDIR": str(self.folder)})

    def _command(self) -> Sequence[str]:
        server = find_program(["mariadbd", "mysqld"], [], "mariadb-server-core")
        return [
            server, "--no-defaults", f"--datadir={self.folder / 'data'}",
            f"--socket={self._socket}", f"--bind-address={LOOPBACK}", f"--port={self.port}",
            f"--pid-file={self.folder / 'pid'}", f"--tmpdir={self.folder}",
            "--skip-log-bin", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M",
            "--performance-schema=OFF",
            # What was acknowledged survives a kill, but not a power cut: fast, and enough here.
            "--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0",
        ]  # fmt: skip

    def _is_ready(self) -> bool:
        try:
            return self.sql("SELECT 1").strip() == "1"
        except RuntimeError:
            return False

    def _prepare(self) -> None:
        self.sql(
            f"CREATE USER '{self.user}'@'%' IDENTIFIED BY '{self.password}';"
            f"GRANT ALL ON *.* TO '{self.user}'@'%';"
        )
