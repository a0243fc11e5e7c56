"""The pinned sets: complete for the extras, and free of anything about one machine."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LANES = {"1.16": ["3.10"], "1.21": ["3.11", "3.12", "3.13"]}


TARGETS = [*LANES, "1.16-airflow", "1.21-airflow", "1.16-kfp", "1.21-kfp"]


def read_pins(repository, lane):
    text = (repository / "constraints" / f"tfx-{lane}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("lane", TARGETS)
def test_constraints_hold_nothing_but_exact_versions(lane, repository):
    for pin in read_pins(repository, lane):
        assert pin.url is None
        assert not pin.extras
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), pin


@pytest.mark.parametrize("lane", TARGETS)
def test_constraints_name_no_index_and_no_path(lane, repository):
    text = (repository / "constraints" / f"tfx-{lane}.txt").read_text(encoding="utf-8")
    assert not re.findall(r"://|--\w|(?<![\w.])/\w+", text)


@pytest.mark.parametrize(("lane", "python"), [(lane, p) for lane in LANES for p in LANES[lane]])
def test_every_package_has_one_pin_per_python(lane, python, repository):
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    }
    names = [
        canonicalize_name(pin.name)
        for pin in read_pins(repository, lane)
        if pin.marker is None or pin.marker.evaluate(environment)
    ]
    assert len(names) == len(set(names))
    assert {"tfx", "tensorflow", "ml-metadata", "dill", "pip", "pytest", "mypy"} <= set(names)


@pytest.mark.parametrize("target", TARGETS)
def test_lane_pins_its_own_tfx(target, repository):
    (tfx,) = [pin for pin in read_pins(repository, target) if pin.name == "tfx"]
    assert str(tfx.specifier) == f"=={target.split('-')[0]}.0"


def test_common_marker_is_dropped_and_others_stay(compile_constraints):
    text = "a==1 ; linux\n    # via b\nb==2 ; linux\nc==3 ; macos\nd==4\n"
    assert compile_constraints.drop_common_marker(text) == (
        "a==1\n    # via b\nb==2\nc==3 ; macos\nd==4\n"
    )


def test_text_without_markers_is_left_alone(compile_constraints):
    assert compile_constraints.drop_common_marker("a==1\n") == "a==1\n"


def test_constraints_are_made_from_the_extras_that_set_up_installs(compile_constraints, bootstrap):
    assert set(compile_constraints.EXTRAS) == set(bootstrap.DEFAULT_EXTRAS.split(","))
