"""The adapter between TFX and `promote`."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from tfx.components.evaluator import constants as blessing_keys
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.proto import pusher_pb2
from tfx.utils import proto_utils

from tfx_registry.components import execution, places
from tfx_registry.components.artifacts import VersionPointer
from tfx_registry.components.execution import REGISTRY
from tfx_registry.errors import (
    ApprovalsMissingError,
    InvalidInputError,
    RefusedError,
    RegistryError,
    RejectedError,
)
from tfx_registry.gate import normalize_location
from tfx_registry.operations import ByConfig, Retention, Servers, promote_by_config, prune
from tfx_registry.promotion import Promotion, promote
from tfx_registry.records import Verdict, Version
from tfx_registry.registry import ModelRegistry
from tfx_registry.serving import SmokeTest
from tfx_registry.serving.objects import destination_of
from tfx_registry.serving.sharing import share_tree

__all__ = ["REGISTRY", "Executor"]

_logger = logging.getLogger(__name__)

MODEL = "model"
MODEL_VERSION = "model_version"
BLESSING = "blessing"
INFRA_BLESSING = "infra_blessing"
PUSHED_MODEL = "pushed_model"
PUSH_DESTINATION = "push_destination"
ALIAS = "alias"
REQUIRED_APPROVALS = "required_approvals"
RETENTION = "retention"
SERVERS = "servers"
BY_CONFIG = "by_config"
SMOKE_TEST = "smoke_test"

# The custom properties that Pusher sets (tfx/components/pusher/executor.py).
PUSHED = "pushed"
PUSHED_DESTINATION = "pushed_destination"
PUSHED_VERSION = "pushed_version"
#: Ours beside them: one line that says why nothing was pushed.
NOT_PUSHED_REASON = "not_pushed_reason"
#: Ours, where retention was asked for: versions that it removed, or why it could not.
REMOVED_VERSIONS = "removed_versions"
RETENTION_ERROR = "retention_error"

_DEFAULT_ALIAS = "production"


class Executor(base_executor.BaseExecutor):
    """Publishes the version, or says why not."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Publishes.

        Args:
            input_dict: `model`, `model_version`, optionally `blessing` and `infra_blessing`.
            output_dict: `pushed_model`.
            exec_properties: See `PromoterSpec`.

        Raises:
            RegistryError: The version was to be published and was not; the message says why.
        """
        pushed = execution.single_artifact(output_dict, PUSHED_MODEL)
        places.check_place(pushed.uri)
        model = execution.single_artifact(input_dict, MODEL)
        pointer = VersionPointer.of(execution.single_artifact(input_dict, MODEL_VERSION))
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[PUSH_DESTINATION], destination)
        with execution.open_registry(exec_properties) as registry:
            version = execution.version_of(registry, pointer, exec_properties)
            # Kubeflow hands numbers over as floats.
            required = int(exec_properties.get(REQUIRED_APPROVALS) or 0)
            alias = exec_properties.get(ALIAS) or _DEFAULT_ALIAS
            base = destination_of(destination.filesystem.base_directory)
            refusal = _refusal(registry, input_dict, model, version, alias, required)
            refusal = refusal or _other_trial(registry, version, base)
            if refusal:
                _logger.warning("%s is not promoted: %s", version.ref, refusal)
                pushed.set_int_custom_property(PUSHED, 0)
                pushed.set_string_custom_property(NOT_PUSHED_REASON, refusal)
                return
            source = _source(model.uri)
            copied: list[int] = []
            promotion = _promote(
                registry, version, base, exec_properties,
                alias=alias, source=source, required_approvals=required, progress=copied.append,
            )  # fmt: skip
            # What was copied just now was compared with the digest, byte by byte.
            whole = source if copied and source is not None else promotion.path
            # What was published in an object store comes back from there.
            with places.local_copy(str(whole)) as local:
                _mark_pushed(pushed, promotion, local)
            if exec_properties.get(RETENTION):
                _prune(registry, promotion, exec_properties[RETENTION], pushed)


def _source(uri: str) -> Path | None:
    """Returns where the model lies; None for one in an object store, which the registry finds."""
    return None if places.is_in_store(uri) else Path(places.find_model(uri))


def _promote(
    registry: ModelRegistry,
    version: Version,
    base: str,
    exec_properties: dict[str, Any],
    **options: Any,
) -> Promotion:
    """Promotes in the mode that the properties say, and waits for the servers that they name."""
    if exec_properties.get(SERVERS):
        options["servers"] = Servers.from_json(exec_properties[SERVERS])
    if exec_properties.get(SMOKE_TEST):
        options["check"] = SmokeTest.from_json(exec_properties[SMOKE_TEST])
    text = exec_properties.get(BY_CONFIG)
    if not text:
        return promote(registry, version.model, version.number, base, **options)
    by = ByConfig.from_json(text)
    done = promote_by_config(
        registry, version.model, version.number, base, by.model_config,
        canary=by.canary, served_name=by.served_name, server_base_path=by.server_base_path,
        keep_loaded=by.keep_loaded, **options,
    )  # fmt: skip
    return Promotion(done.version, done.path, done.replaces, done.changed)


def _other_trial(registry: ModelRegistry, version: Version, base: str) -> str:
    """Says which other version is on trial; a pipeline that runs each night waits for its end."""
    trial = registry.canary(version.model, base)
    if trial is None or trial.number == version.number:
        return ""
    return f"version {trial.number} is on trial in {base!r} since {trial.time}"


def _prune(registry: ModelRegistry, promotion: Promotion, rule: str, pushed: Any) -> None:
    """Removes old versions. The new one serves whether that works or not, so failing is no error.

    Whatever was kept too long is removed by the next promotion.
    """
    version, base = promotion.version, promotion.path.rpartition("/")[0]
    try:
        done = prune(registry, version.model, base, Retention.from_json(rule), dry_run=False)
    except RegistryError as error:
        _logger.warning("old versions of %s were not removed: %s", version.model, error)
        pushed.set_string_custom_property(RETENTION_ERROR, str(error))
        return
    removed = ", ".join(str(removal.number) for removal in done.removed)
    pushed.set_string_custom_property(REMOVED_VERSIONS, removed)


def _refusal(
    registry: ModelRegistry,
    input_dict: dict[str, list[Any]],
    model: Any,
    version: Version,
    alias: str,
    required_approvals: int,
) -> str:
    """Says why the version is not to be pushed; "" if it may be.

    What is not good enough, or not approved yet, is no error of the pipeline, as with Pusher. A
    blessing of another model, or one that the registry does not know of, is.
    """
    blessing = execution.optional_artifact(input_dict, BLESSING)
    blessed = blessing is not None and _is_blessed(blessing, model, version)
    infra_blessing = execution.optional_artifact(input_dict, INFRA_BLESSING)
    if infra_blessing is not None and not model_utils.is_infra_validated(infra_blessing):
        return "InfraValidator did not bless it"
    decision = version.decision
    if blessing is not None and not blessed and decision is None:
        return "it is not blessed"
    try:
        registry.check_promotable(
            version.model, version.number, alias=alias, required_approvals=required_approvals
        )
    except RefusedError as error:
        good = (ApprovalsMissingError, RejectedError)
        blocked = decision is not None and decision.verdict is Verdict.BLOCKED
        if isinstance(error, good) or (blocked and not blessed):
            return error.why
        raise
    overridden = decision is None or decision.verdict is Verdict.BLOCKED
    return "" if blessing is None or blessed or overridden else "it is not blessed"


def _is_blessed(blessing: Any, model: Any, version: Version) -> bool:
    """Tells whether the blessing says yes, after checking that it is of this model."""
    blessed = blessing.get_string_custom_property(
        blessing_keys.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY
    )
    if blessed and normalize_location(blessed) != normalize_location(model.uri):
        raise InvalidInputError(
            f"cannot promote {version.ref}",
            f"the blessing is of the model at {blessed!r}, not of {model.uri!r}",
            "connect the blessing of this model",
        )
    return bool(model_utils.is_model_blessed(blessing))


def _mark_pushed(pushed: Any, promotion: Promotion, source: Path) -> None:
    """Fills in PushedModel as Pusher does: its directory holds the model, too.

    It takes no room where it can share that of the model artifact. With what a server loads it
    shares nothing that could be written to: that is copied.
    """
    target = places.local_path(pushed.uri)
    if places.is_in_store(pushed.uri):
        places.replace_tree(source, pushed.uri)
    elif source == Path(promotion.path):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        share_tree(source, target)
    pushed.set_int_custom_property(PUSHED, 1)
    pushed.set_string_custom_property(PUSHED_DESTINATION, promotion.path)
    pushed.set_string_custom_property(PUSHED_VERSION, str(promotion.version.number))
