"""A serving directory is for one model, also after its own note of that was removed."""

from __future__ import annotations

import datetime
import shutil

import pytest

from tfx_registry import adopt, promote, reconcile, rollback
from tfx_registry.errors import RefusedError
from tfx_registry.operations import status
from tfx_registry.operations.rollouts import promote_by_config
from tfx_registry.operations.servers import Servers
from tfx_registry.testing.minimal_model import write_minimal_model

MODEL = "penguin"
IRIS = "iris"


@pytest.fixture
def forgotten(served, tmp_path):
    """Penguin's directory without its note, beside another model that may be promoted."""
    path = write_minimal_model(tmp_path / "iris-model", "iris")
    for _ in range(9):  # numbers that are higher than those of penguin
        served.registry.register(IRIS, path)
    served.registry.override(IRIS, 9, reason="test", expires=datetime.timedelta(hours=1))
    shutil.rmtree(served.base / ".tfx_registry")
    return served


@pytest.mark.parametrize("gone", [False, True])
def test_another_model_is_refused(forgotten, gone: bool, tmp_path) -> None:
    if gone:
        shutil.rmtree(forgotten.base)
    config = tmp_path / "models.config"
    attempts = [
        lambda: promote(forgotten.registry, IRIS, 9, forgotten.base),
        lambda: promote_by_config(
            forgotten.registry, IRIS, 9, forgotten.base, config, servers=Servers(no_wait=True)
        ),
        lambda: reconcile(forgotten.registry, forgotten.base, IRIS),
        lambda: status(forgotten.registry, forgotten.base, IRIS),
    ]
    attempts += [] if gone else [lambda: adopt(forgotten.registry, IRIS, forgotten.base)]
    for attempt in attempts:
        with pytest.raises(RefusedError, match=r"by the registry it is for 'penguin'") as refused:
            attempt()
        assert f"reconcile penguin --serving-dir {forgotten.base}" in refused.value.todo
    assert forgotten.visible() == ([] if gone else [1, 2, 3])
    assert not config.exists()
    assert forgotten.base.exists() != gone  # servers would unload everything


def test_its_own_model_goes_on_and_reconcile_writes_it_down_again(forgotten) -> None:
    assert status(forgotten.registry, forgotten.base).model == MODEL
    done = reconcile(forgotten.registry, forgotten.base)
    assert done.actions == ("wrote down again that the directory is for 'penguin'",)
    assert reconcile(forgotten.registry, forgotten.base).actions == ()
    shutil.rmtree(forgotten.base / ".tfx_registry")
    rollback(forgotten.registry, MODEL, forgotten.base, reason="wrong")
    assert forgotten.serving() == 2
