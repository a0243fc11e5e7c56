"""The bootstrap: which lane, which Python, and when an environment counts as finished."""

import ast
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def machine(bootstrap, glibc=(2, 36), system="Linux", processor="x86_64"):
    return bootstrap.lanes.Machine(system, processor, glibc)


# --- lane ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glibc", "lane"),
    [((2, 28), "1.16"), ((2, 36), "1.16"), ((2, 38), "1.16"), ((2, 39), "1.21"), ((2, 41), "1.21")],
)
def test_lane_follows_glibc(bootstrap, glibc, lane):
    assert bootstrap.lanes.choose_lane(machine(bootstrap, glibc)) == lane
    assert bootstrap.lanes.choose_lane(machine(bootstrap, glibc), "auto") == lane


def test_newer_glibc_can_be_told_to_take_the_older_lane(bootstrap):
    assert bootstrap.lanes.choose_lane(machine(bootstrap, (2, 41)), "1.16") == "1.16"


def test_apple_silicon_gets_the_newer_lane(bootstrap):
    mac = machine(bootstrap, None, "Darwin", "arm64")
    assert bootstrap.lanes.choose_lane(mac) == "1.21"


@pytest.mark.parametrize(
    ("facts", "wanted", "words"),
    [
        ({"glibc": (2, 36)}, "1.21", ["2.39", "2.36", "make test-second-lane"]),
        ({"glibc": (2, 17)}, "", ["2.28", "2.17", "newer system"]),
        ({"glibc": (2, 17)}, "1.21", ["2.39", "2.17", "newer system"]),
        ({"glibc": None}, "", ["musl", "Debian"]),
        ({"processor": "aarch64"}, "", ["x86_64", "aarch64"]),
        ({"system": "Darwin", "processor": "x86_64"}, "", ["Intel", "arm64"]),
        ({"system": "Darwin", "processor": "arm64"}, "1.16", ["1.16", "Leave LANE unset"]),
        ({"system": "Windows", "processor": "AMD64"}, "", ["Windows", "WSL"]),
        ({}, "1.15", ["1.15", "1.16 and 1.21"]),
    ],
)
def test_impossible_lane_is_refused_with_the_reason_and_a_way_out(bootstrap, facts, wanted, words):
    with pytest.raises(bootstrap.SetupError) as caught:
        bootstrap.lanes.choose_lane(machine(bootstrap, **facts), wanted)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("text", "version"),
    [("glibc 2.36", (2, 36)), ("glibc 2.39.1", (2, 39)), ("musl 1.2", None), ("", None)],
)
def test_glibc_version_is_read(bootstrap, text, version):
    assert bootstrap.lanes.parse_glibc(text) == version


# --- Python -------------------------------------------------------------------------------------


def make_program(path: Path, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_pyenv_gives_the_newest_patch_first_and_no_special_builds(bootstrap, tmp_path):
    for name in ("3.10.9", "3.10.13", "3.10-dev", "3.10.13t", "3.11.2"):
        minor = ".".join(name.split("-")[0].split(".")[:2])
        make_program(tmp_path / "versions" / name / "bin" / f"python{minor}")
    (tmp_path / "versions" / "3.10.99").mkdir()  # an installation that failed

    found = bootstrap.pythons.pyenv_pythons((3, 10), {"PYENV_ROOT": str(tmp_path)})

    assert [Path(path).parent.parent.name for path in found] == ["3.10.13", "3.10.9"]


def test_python_on_the_path_comes_before_pyenv_and_the_running_one_last(bootstrap, tmp_path):
    on_path = make_program(tmp_path / "bin" / "python3.10")
    in_pyenv = make_program(tmp_path / "versions" / "3.10.1" / "bin" / "python3.10")
    environ = {"PATH": str(on_path.parent), "PYENV_ROOT": str(tmp_path)}
    assert bootstrap.pythons.candidate_pythons("1.16", environ) == [
        str(on_path),
        str(in_pyenv),
        sys.executable,
    ]


def test_newer_lane_prefers_the_newest_python(bootstrap, tmp_path):
    for name in ("python3.11", "python3.12", "python3.13"):
        make_program(tmp_path / name)
    environ = {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
    names = [Path(path).name for path in bootstrap.pythons.candidate_pythons("1.21", environ)]
    assert names[:3] == ["python3.13", "python3.12", "python3.11"]


def test_a_variant_takes_no_python_that_it_does_not_run_on(bootstrap, monkeypatch, tmp_path):
    for name in ("python3.11", "python3.12", "python3.13"):
        make_program(tmp_path / name)
    environ = {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path)}
    paths = bootstrap.pythons.candidate_pythons("1.21", environ, "airflow")
    assert [Path(path).name for path in paths[:-1]] == ["python3.12", "python3.11"]
    newest = bootstrap.pythons.Interpreter("python3.13", (3, 13, 1), headers=True)
    monkeypatch.setattr(bootstrap.pythons, "probe", lambda path: newest)
    assert bootstrap.pythons.find_python("1.21", environ) == newest
    assert bootstrap.pythons.find_python("1.21", environ, "airflow") is None


def test_probe_tells_about_the_running_python(bootstrap):
    interpreter = bootstrap.pythons.probe(sys.executable)
    assert interpreter.version == sys.version_info[:3]
    assert Path(interpreter.path).exists()


def test_probe_is_not_fooled_by_a_shim_that_fails(bootstrap, tmp_path):
    shim = make_program(tmp_path / "python3.10", "#!/bin/sh\necho not selected >&2\nexit 127\n")
    assert bootstrap.pythons.probe(str(shim)) is None
    assert bootstrap.pythons.probe(str(tmp_path / "missing")) is None


def test_python_with_c_headers_is_preferred(bootstrap, monkeypatch):
    known = {
        "bare": bootstrap.pythons.Interpreter("bare", (3, 10, 1), headers=False),
        "old": bootstrap.pythons.Interpreter("old", (3, 8, 1), headers=True),
        "full": bootstrap.pythons.Interpreter("full", (3, 10, 0), headers=True),
    }
    monkeypatch.setattr(bootstrap.pythons, "probe", known.get)
    monkeypatch.setattr(bootstrap.pythons, "candidate_pythons", lambda *_: list(known))
    assert bootstrap.pythons.find_python("1.16", {}) == known["full"]
    del known["full"]
    assert bootstrap.pythons.find_python("1.16", {}) == known["bare"]
    del known["bare"]
    assert bootstrap.pythons.find_python("1.16", {}) is None


def test_missing_compiler_is_said_with_the_package_to_install(bootstrap, monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap.packages, "can_apt", lambda: False)
    interpreter = bootstrap.pythons.Interpreter("/usr/bin/python3.13", (3, 13, 1), headers=False)
    with pytest.raises(bootstrap.SetupError, match=r"apt-get install g\+\+ python3\.13-dev"):
        bootstrap.packages.ensure_build_tools(interpreter, {"PATH": str(tmp_path)})


def test_missing_compiler_is_installed_where_that_is_allowed(bootstrap, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(bootstrap.packages, "can_apt", lambda: True)
    monkeypatch.setattr(
        bootstrap.packages, "apt_install", lambda packages: asked.append(packages) or True
    )
    interpreter = bootstrap.pythons.Interpreter("/usr/bin/python3.13", (3, 13, 1), headers=True)
    bootstrap.packages.ensure_build_tools(interpreter, {"PATH": str(tmp_path)})
    assert asked == [["g++"]]


def test_all_missing_packages_are_named_in_one_message(bootstrap, monkeypatch, tmp_path):
    monkeypatch.setattr(bootstrap.packages, "can_apt", lambda: False)
    python = make_program(tmp_path / "python3", "#!/bin/sh\nexit 1\n")  # no venv and no pip
    with pytest.raises(bootstrap.SetupError, match=r"python3-venv g\+\+ python3\.13-dev"):
        bootstrap.uv_program.install_uv([str(python)], {"PATH": ""}, ["g++", "python3.13-dev"])


def test_nothing_is_installed_where_a_compiler_is(bootstrap, monkeypatch, tmp_path):
    monkeypatch.setattr(
        bootstrap.packages, "apt_install", lambda packages: pytest.fail("not needed")
    )
    for name in ("cc", "c++"):
        make_program(tmp_path / name)
    interpreter = bootstrap.pythons.Interpreter("/usr/bin/python3.13", (3, 13, 1), headers=True)
    bootstrap.packages.ensure_build_tools(interpreter, {"PATH": str(tmp_path)})


def test_uv_that_is_too_old_is_not_used(bootstrap, tmp_path):
    uv = make_program(tmp_path / "uv", "#!/bin/sh\necho uv 0.4.30\n")
    assert bootstrap.uv_program.find_uv({"PATH": str(tmp_path)}) is None
    make_program(uv, "#!/bin/sh\necho 'uv 0.13.8 (somewhere)'\n")
    assert bootstrap.uv_program.find_uv({"PATH": str(tmp_path)}) == str(uv)


# --- environment --------------------------------------------------------------------------------


def make_tree(root: Path) -> Path:
    for name in ("setup.py", "pyproject.toml", "src/tfx_registry/_version.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name, encoding="utf-8")
    (root / "constraints").mkdir()
    for name in ("1.16", "1.16-airflow", "1.21", "1.21-airflow", "1.21-kfp"):
        (root / "constraints" / f"tfx-{name}.txt").write_text("pins", encoding="utf-8")
    return root


def make_venv(folder: Path, version: str = "3.10.1") -> Path:
    facts = {
        "executable": str(folder / "bin" / "python"),
        "version": [int(part) for part in version.split(".")],
        "implementation": "CPython",
        "headers": True,
    }
    make_program(folder / "bin" / "python", f"#!/bin/sh\necho '{json.dumps(facts)}'\n")
    (folder / "pyvenv.cfg").write_text("", encoding="utf-8")
    return folder


def finished(stamp: dict[str, object], python: str = "3.10.1") -> dict[str, object]:
    """The stamp of an environment that was made for these wishes."""
    return {**stamp, "python": python}


@pytest.mark.parametrize(
    "changed",
    ["constraints/tfx-1.16.txt", "setup.py", "pyproject.toml", "src/tfx_registry/_version.py"],
)
def test_changed_input_asks_for_an_update(bootstrap, tmp_path, changed):
    root = make_tree(tmp_path)
    before = finished(bootstrap.expected_stamp("1.16", None, "dev", root))
    assert bootstrap.plan(before, bootstrap.expected_stamp("1.16", None, "dev", root)) == "nothing"
    (root / changed).write_text("changed", encoding="utf-8")
    assert bootstrap.plan(before, bootstrap.expected_stamp("1.16", None, "dev", root)) == "update"


def test_constraints_of_the_other_lane_do_not_matter(bootstrap, tmp_path):
    root = make_tree(tmp_path)
    before = finished(bootstrap.expected_stamp("1.16", None, "dev", root))
    (root / "constraints" / "tfx-1.21.txt").write_text("changed", encoding="utf-8")
    assert bootstrap.plan(before, bootstrap.expected_stamp("1.16", None, "dev", root)) == "nothing"


def test_changed_lane_place_or_source_asks_for_a_new_environment(bootstrap, tmp_path):
    root = make_tree(tmp_path / "a")
    wheel = tmp_path / "some.whl"
    wheel.write_bytes(b"wheel")
    moved = make_tree(tmp_path / "b")
    before = finished(bootstrap.expected_stamp("1.16", None, "dev", root))
    for wanted in (
        bootstrap.expected_stamp("1.21", None, "dev", root),
        bootstrap.expected_stamp("1.16", wheel, "dev", root),
        bootstrap.expected_stamp("1.16", None, "dev", moved),
    ):
        assert bootstrap.plan(before, wanted) == "create"
    assert bootstrap.plan({}, before) == "create"


@pytest.mark.parametrize(
    ("had", "wanted", "python"),
    [("", "airflow", "3.11.2"), ("airflow", "", "3.11.2"), ("kfp", "airflow", "3.11.2")],
)
def test_the_environment_of_another_variant_is_made_anew(bootstrap, tmp_path, had, wanted, python):
    root = make_tree(tmp_path)
    made = finished(bootstrap.expected_stamp("1.21", None, "dev", root, had), python)
    assert (
        bootstrap.plan(made, bootstrap.expected_stamp("1.21", None, "dev", root, had)) == "nothing"
    )
    assert (
        bootstrap.plan(made, bootstrap.expected_stamp("1.21", None, "dev", root, wanted))
        == "create"
    )


@pytest.mark.parametrize(
    ("variant", "python", "what"),
    [
        ("airflow", "3.12.4", "nothing"),
        ("airflow", "3.13.5", "create"),
        ("", "3.13.5", "nothing"),
        ("", "3.10.13", "create"),
    ],
)
def test_a_python_that_the_lane_or_variant_does_not_run_on_is_not_kept(
    bootstrap, tmp_path, variant, python, what
):
    expected = bootstrap.expected_stamp("1.21", None, "dev", make_tree(tmp_path), variant)
    assert bootstrap.plan(finished(expected, python), expected) == what


def test_other_wheel_asks_for_an_update(bootstrap, tmp_path):
    root = make_tree(tmp_path)
    wheel = tmp_path / "some.whl"
    wheel.write_bytes(b"one")
    before = finished(bootstrap.expected_stamp("1.21", wheel, "dev", root), "3.13.5")
    wheel.write_bytes(b"two")
    assert bootstrap.plan(before, bootstrap.expected_stamp("1.21", wheel, "dev", root)) == "update"


def test_stamp_is_read_back(bootstrap, tmp_path):
    venv = make_venv(tmp_path / "venv")
    bootstrap.write_stamp(venv, {"lane": "1.16", "python": "3.10.1"})
    assert bootstrap.read_stamp(venv) == {"lane": "1.16", "python": "3.10.1"}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"lane": "1.16"}'])
def test_damaged_stamp_counts_as_unfinished(bootstrap, tmp_path, text):
    venv = make_venv(tmp_path / "venv")
    (venv / bootstrap.STAMP_NAME).write_text(text, encoding="utf-8")
    assert bootstrap.read_stamp(venv) == {}


def test_environment_whose_python_became_another_counts_as_unfinished(bootstrap, tmp_path):
    venv = make_venv(tmp_path / "venv")
    bootstrap.write_stamp(venv, {"lane": "1.16", "python": "3.10.1"})
    make_venv(venv, "3.10.13")
    assert bootstrap.read_stamp(venv)["lane"] == "1.16"
    make_venv(venv, "3.11.1")
    assert bootstrap.read_stamp(venv) == {}


def test_environment_whose_python_is_gone_counts_as_unfinished(bootstrap, tmp_path):
    venv = make_venv(tmp_path / "venv")
    bootstrap.write_stamp(venv, {"lane": "1.16", "python": "3.10.1"})
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(tmp_path / "uninstalled")
    assert bootstrap.read_stamp(venv) == {}


def test_only_environments_are_deleted(bootstrap, tmp_path):
    venv = make_venv(tmp_path / "venv")
    (venv / "lib").mkdir()
    bootstrap.remove_environment(venv)
    assert not venv.exists()
    bootstrap.remove_environment(venv)  # nothing there: nothing to do

    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(bootstrap.SetupError, match="no virtual environment"):
        bootstrap.remove_environment(home)
    link = tmp_path / "link"
    link.symlink_to(home)
    with pytest.raises(bootstrap.SetupError, match="no folder"):
        bootstrap.remove_environment(link)
    assert (home / "thesis.txt").exists()


def test_half_made_environment_may_be_deleted(bootstrap, tmp_path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    bootstrap.remove_environment(venv)
    assert not venv.exists()


@pytest.fixture
def fake_install(bootstrap, monkeypatch):
    """Replaces what takes long; fails when `fail` holds a message."""
    calls = {"create": 0, "install": 0, "fail": ""}

    def create(venv, lane, environ, variant=""):
        calls["create"] += 1
        make_venv(venv)
        return "uv", "3.10.1"

    def install(uv, venv, lane, wheel, extras, variant=""):
        calls["install"] += 1
        if calls["fail"]:
            raise bootstrap.SetupError(calls["fail"])

    monkeypatch.setattr(bootstrap, "create", create)
    monkeypatch.setattr(bootstrap, "install", install)
    monkeypatch.setattr(bootstrap.uv_program, "obtain_uv", lambda interpreter, environ: "uv")
    return calls


def test_second_set_up_does_nothing(bootstrap, fake_install, tmp_path):
    for _ in range(2):
        bootstrap.set_up("1.16", tmp_path / "venv", None, "dev", {})
    assert (fake_install["create"], fake_install["install"]) == (1, 1)


def test_the_environment_of_a_variant_is_not_kept_for_the_lane_itself(
    bootstrap, fake_install, tmp_path
):
    for variant in ("airflow", "", ""):
        bootstrap.set_up("1.16", tmp_path / "venv", None, "dev", {}, variant)
    assert (fake_install["create"], fake_install["install"]) == (2, 2)


def test_interrupted_set_up_is_started_anew(bootstrap, fake_install, tmp_path):
    fake_install["fail"] = "no network"
    with pytest.raises(bootstrap.SetupError):
        bootstrap.set_up("1.16", tmp_path / "venv", None, "dev", {})
    fake_install["fail"] = ""
    bootstrap.set_up("1.16", tmp_path / "venv", None, "dev", {})
    assert fake_install["create"] == 2


def test_interrupted_update_is_not_taken_for_a_finished_one(bootstrap, fake_install, tmp_path):
    bootstrap.set_up("1.16", tmp_path / "venv", None, "dev", {})
    fake_install["fail"] = "no network"
    with pytest.raises(bootstrap.SetupError):
        bootstrap.set_up("1.16", tmp_path / "venv", None, "dev,tfx", {})
    assert bootstrap.read_stamp(tmp_path / "venv") == {}


def test_missing_wheel_is_said(bootstrap, tmp_path):
    with pytest.raises(bootstrap.SetupError, match="make wheel"):
        bootstrap.set_up("1.21", tmp_path / "venv", tmp_path / "none.whl", "dev", {})


# --- the program --------------------------------------------------------------------------------


def test_tools_parse_on_python_3_6(repository):
    tools = repository / "tools"
    parts = sorted((tools / "bootstrapping").glob("*.py"))
    assert len(parts) > 1
    for path in (tools / "bootstrap.py", *parts, tools / "compile_constraints.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_program_finds_its_parts_from_any_folder(bootstrap, repository, tmp_path):
    """Also where Python is told not to look beside a program."""
    command = [sys.executable, str(repository / "tools" / "bootstrap.py"), "--print-lane"]
    environ = {**os.environ, "PYTHONSAFEPATH": "1", "LANE": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert done.stdout.decode().strip() in bootstrap.lanes.LANES, done.stderr


def test_failure_is_one_message_without_a_traceback(repository):
    done = subprocess.run(
        [sys.executable, str(repository / "tools" / "bootstrap.py")],
        env=dict(os.environ, LANE="1.15"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("bootstrap: error: LANE=1.15 is unknown")
    assert "Traceback" not in done.stderr


def test_lock_outlives_a_killed_set_up_as_long_as_its_command_runs(bootstrap, repository, tmp_path):
    # The tool starts a command and dies as soon as it runs; the command goes on until it is told.
    go, runs = tmp_path / "go", tmp_path / "runs"
    command = ["sh", "-c", f"touch '{runs}'; until [ -e '{go}' ]; do sleep 0.05; done"]
    script = f"""
import importlib.util, os, pathlib, threading, time
def die():
    while not os.path.exists({str(runs)!r}): time.sleep(0.01)
    os._exit(9)
spec = importlib.util.spec_from_file_location("b", {str(repository / "tools" / "bootstrap.py")!r})
b = importlib.util.module_from_spec(spec); spec.loader.exec_module(b)
b.running.STATE = pathlib.Path({str(bootstrap.running.STATE)!r})
with b.running.only_one():
    threading.Thread(target=die).start()
    b.running.run_logged({command!r})
"""
    try:
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
        with (bootstrap.running.STATE / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        go.touch()
    with bootstrap.running.only_one():  # it waits until the command has ended
        pass


def test_failing_command_leaves_its_words_in_the_log(bootstrap):
    code, output = bootstrap.running.run_logged(
        [sys.executable, "-c", "print('why'); raise SystemExit(3)"]
    )
    assert code == 3
    assert "why" in output
    assert "why" in bootstrap.running.log_text()
    assert bootstrap.running.run_logged(["/nonexistent/program"])[0] == 127
