import subprocess
import sys
import textwrap
from pathlib import Path


def run(code: str, log: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(log)],
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )


def test_only_what_is_meant_for_the_reader_reaches_the_reader(tmp_path: Path) -> None:
    done = run(
        """
        import logging, os, sys, warnings
        import absl.logging
        from pathlib import Path
        from tfx_registry.pipelines.demo import quiet

        print("before")
        with quiet.output_to(Path(sys.argv[1])) as reader:
            print("noise: print")
            print("noise: stderr", file=sys.stderr)
            os.write(1, b"noise: written past Python\\n")
            os.write(2, b"noise: error past Python\\n")
            warnings.warn("noise: warning")
            logging.getLogger("library").info("noise: log")
            absl.logging.info("noise: absl")
            os.system("echo noise: child process")
            reader.write("for the reader\\n")
        print("after")
        print("after, stderr", file=sys.stderr)
        logging.getLogger("library").info("lost")
        """,
        tmp_path / "log",
    )

    assert done.stdout == "before\nfor the reader\nafter\n"
    assert done.stderr == "after, stderr\n"
    log = (tmp_path / "log").read_text()
    for kind in ("print", "stderr", "written", "error past", "warning", "child process"):
        assert f"noise: {kind}" in log
    for kind in ("log", "absl"):
        assert log.count(f"noise: {kind}") == 1
    assert "lost" not in log


def test_an_error_is_seen_by_the_reader(tmp_path: Path) -> None:
    done = run(
        """
        import sys
        from pathlib import Path
        from tfx_registry.pipelines.demo import quiet

        try:
            with quiet.output_to(Path(sys.argv[1])):
                print("noise")
                raise ValueError("the reason")
        except ValueError as error:
            print("caught:", error)
        """,
        tmp_path / "log",
    )

    assert done.stdout == "caught: the reason\n"
