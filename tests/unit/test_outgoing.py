"""What the watch over outgoing connections sees; the tests of runners rely on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tfx_registry.testing.outgoing import asked_for, watched

ASKS = """\
import contextlib, socket, subprocess, sys, urllib.request

# Nothing is sent: the address is for documentation (RFC 5737), and datagrams have no handshake.
with socket.socket(type=socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
    probe.connect(("192.0.2.1", 9))
# Nobody looks the name up: that takes long without a resolver, and some know an address for any.
urllib.request.OpenerDirector().open("http://runner.invalid/prism.zip")
if len(sys.argv) > 2:
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
    subprocess.run([sys.executable, __file__, sys.argv[1]], check=True)
"""


def test_what_a_program_and_those_that_it_starts_ask_of_others_is_noted(tmp_path: Path) -> None:
    program = tmp_path / "asks.py"
    program.write_text(ASKS, encoding="utf-8")
    proxies = {"http_proxy", "all_proxy"}
    environment = {k: v for k, v in os.environ.items() if k.lower() not in proxies}
    assert asked_for(tmp_path / "watch") == []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        subprocess.run(
            [sys.executable, str(program), port, "and another"],
            env=watched(tmp_path / "watch", environment),
            check=True,
            timeout=120,
        )
    once = ["192.0.2.1:9", "http://runner.invalid/prism.zip"]
    assert asked_for(tmp_path / "watch") == [*once, *once]
