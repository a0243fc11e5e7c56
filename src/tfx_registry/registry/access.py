"""Who may do what: the access policy, kept in the registry, versioned, changed by admins alone.

The policy says what the registry's own code lets an actor do. It is no protection against somebody
who can write to the database directly, or who can set the variable that names the actor; see
docs/access.md.
"""

from __future__ import annotations

import enum
import fnmatch
import json
from dataclasses import dataclass

from tfx_registry import codec
from tfx_registry.errors import AccessDeniedError, InvalidPolicyError
from tfx_registry.names import model_key
from tfx_registry.registry.events import (
    Adopted,
    AliasRemoved,
    AliasSet,
    Approved,
    Archived,
    BytesFound,
    BytesRemoved,
    CanaryEnded,
    CanaryStarted,
    Decided,
    IntentDropped,
    LabelRemoved,
    LabelSet,
    Overridden,
    Payload,
    PolicySet,
    Promoted,
    PublishStarted,
    Registered,
    Rejected,
    RollbackStarted,
    RolledBack,
    RolloutDropped,
    RolloutStarted,
    ServersChecked,
)

__all__ = ["POLICY_LOG", "AccessPolicy", "Action", "Grant", "ModelRule", "action_of"]

#: The log of the registry itself; no model can have this name.
POLICY_LOG = "*"


class Action(str, enum.Enum):
    """What an actor may be allowed to do; to administer is for admins, no grant gives it."""

    REGISTER = "register"
    DECIDE = "decide"
    ALIAS = "alias"
    LABEL = "label"
    APPROVE = "approve"
    OVERRIDE = "override"
    PROMOTE = "promote"
    ARCHIVE = "archive"
    ADMINISTER = "administer"


_ACTIONS: dict[type[Payload], Action] = {
    Registered: Action.REGISTER,
    Decided: Action.DECIDE,
    AliasSet: Action.ALIAS,
    AliasRemoved: Action.ALIAS,
    LabelSet: Action.LABEL,
    LabelRemoved: Action.LABEL,
    Approved: Action.APPROVE,
    Rejected: Action.APPROVE,
    Overridden: Action.OVERRIDE,
    PublishStarted: Action.PROMOTE,
    Promoted: Action.PROMOTE,
    RollbackStarted: Action.PROMOTE,
    RolledBack: Action.PROMOTE,
    IntentDropped: Action.PROMOTE,
    Adopted: Action.PROMOTE,
    BytesRemoved: Action.PROMOTE,
    BytesFound: Action.PROMOTE,
    RolloutStarted: Action.PROMOTE,
    RolloutDropped: Action.PROMOTE,
    CanaryStarted: Action.PROMOTE,
    CanaryEnded: Action.PROMOTE,
    ServersChecked: Action.PROMOTE,
    Archived: Action.ARCHIVE,
    PolicySet: Action.ADMINISTER,
}


def action_of(payload: Payload) -> Action:
    """Returns the action that an event is."""
    return _ACTIONS[type(payload)]


@dataclass(frozen=True)
class Grant:
    """Lets some actors do some actions on some models.

    Attributes:
        actors: Patterns of actors, such as "ada" or "ci-*"; compared with case.
        actions: The actions.
        models: Pattern of model names, compared without case.
    """

    actors: tuple[str, ...]
    actions: tuple[Action, ...]
    models: str = "*"


@dataclass(frozen=True)
class ModelRule:
    """What promotions and registrations of some models need.

    Attributes:
        models: Pattern of model names, compared without case.
        required_approvals: How many different people must approve before a promotion.
        four_eyes: Whether the registrant of a version may not approve it.
        semantic_versions_ascend: Whether each semantic version must be higher than those before
            with the same major number.
    """

    models: str = "*"
    required_approvals: int = 0
    four_eyes: bool = True
    semantic_versions_ascend: bool = False


@dataclass(frozen=True)
class AccessPolicy:
    """Everything that the registry asks before it records an event.

    Attributes:
        admins: Actors who may do everything and change this policy. Never empty.
        grants: What others may do. What no grant names is not allowed.
        rules: What promotions need; of several that match, the strictest counts.
    """

    admins: tuple[str, ...]
    grants: tuple[Grant, ...] = ()
    rules: tuple[ModelRule, ...] = ()

    def __post_init__(self) -> None:
        """Checks the policy as a whole."""
        if not all(self.admins) or not self.admins:
            raise InvalidPolicyError(
                "invalid access policy", "it has no admin, so nobody could change it again",
                "name at least one in admins",
            )  # fmt: skip
        for rule in self.rules:
            if rule.required_approvals < 0:
                raise InvalidPolicyError(
                    f"invalid access policy for models {rule.models!r}",
                    f"required_approvals is {rule.required_approvals}",
                    "give 0 or more",
                )

    def to_json(self) -> str:
        """Writes the policy as JSON text."""
        return codec.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> AccessPolicy:
        """Reads a policy; unknown fields are refused.

        Raises:
            InvalidPolicyError: The text is no JSON, or not a policy. The message names the place.
        """
        try:
            return codec.decode(cls, json.loads(text), strict=True)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidPolicyError(
                "invalid access policy", str(error), "correct the policy"
            ) from error

    def allows(self, actor: str, action: Action, model: str) -> bool:
        """Tells whether an actor may do something.

        Args:
            actor: Who.
            action: What.
            model: Name of the model.

        Returns:
            True for admins, and where a grant says so; of grants of `ADMINISTER`, which older
            releases let pass, nothing follows.
        """
        if actor in self.admins:
            return True
        return action is not Action.ADMINISTER and any(
            action in grant.actions
            and _matches(model, grant.models)
            and any(fnmatch.fnmatchcase(actor, pattern) for pattern in grant.actors)
            for grant in self.grants
        )

    def check_grants(self) -> None:
        """Refuses a policy with a grant of what only admins may.

        Raises:
            InvalidPolicyError: There is one.
        """
        for index, grant in enumerate(self.grants):
            if Action.ADMINISTER in grant.actions:
                raise InvalidPolicyError(
                    f"invalid access policy: grants[{index}]",
                    f"it gives {Action.ADMINISTER.value!r} to {', '.join(grant.actors)}, and only "
                    "admins change the policy",
                    "name them in admins, or take the action out",
                )

    def check(self, actor: str, action: Action, model: str) -> None:
        """Refuses what is not allowed.

        Raises:
            AccessDeniedError: The actor may not do that.
        """
        if self.allows(actor, action, model):
            return
        what = "change the access policy" if action is Action.ADMINISTER else f"{action.value}"
        where = "" if action is Action.ADMINISTER else f" versions of {model!r}"
        raise AccessDeniedError(
            f"{actor!r} may not {what}{where}",
            "the access policy of the registry does not allow it",
            f"ask one of its admins: {', '.join(self.admins)}",
        )

    def rule_for(self, model: str) -> ModelRule:
        """Returns the strictest combination of the rules that match a model."""
        matching = [rule for rule in self.rules if _matches(model, rule.models)]
        return ModelRule(
            models=model,
            required_approvals=max((rule.required_approvals for rule in matching), default=0),
            four_eyes=any(rule.four_eyes for rule in matching),
            semantic_versions_ascend=any(rule.semantic_versions_ascend for rule in matching),
        )


def _matches(model: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(model_key(model), model_key(pattern))
