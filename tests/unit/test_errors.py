"""The tree of errors."""

from __future__ import annotations

import pickle

import pytest

from tfx_registry import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_survives_pickling(cls: type[errors.RegistryError]) -> None:
    error = cls("what", "why", "todo", actual=3)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error) == "what: why; todo"
    assert copy.actual == 3


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_an_exit_code_and_says_what_to_do(cls: type[errors.RegistryError]) -> None:
    assert 1 <= cls.exit_code <= 6
    assert cls.__doc__


def test_an_error_is_one_line() -> None:
    assert "\n" not in str(errors.RegistryError("a\nb", "c\n", "d"))
