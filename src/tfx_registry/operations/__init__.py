"""What operators do with a serving directory: roll back, prune, reconcile, adopt, look.

Here registry and directory meet. Each operation holds the lock of the directory, first finishes or
undoes what a crash has left, records its intent before a server can see anything, and what it did
in one event.
"""

from tfx_registry.operations.adoption import Adoption, adopt
from tfx_registry.operations.directory_status import DirectoryStatus, Row, status
from tfx_registry.operations.reconciliation import Reconciliation, reconcile
from tfx_registry.operations.retention import Kept, Pruning, Removal, Retention, prune
from tfx_registry.operations.rollbacks import Rollback, rollback
from tfx_registry.operations.rollouts import ByConfig, Rollout, promote_by_config
from tfx_registry.operations.servers import Servers
from tfx_registry.operations.trials import abort, promote_canary
from tfx_registry.operations.verification import Place, Verification, verify

__all__ = [
    "Adoption",
    "ByConfig",
    "DirectoryStatus",
    "Kept",
    "Place",
    "Pruning",
    "Reconciliation",
    "Removal",
    "Retention",
    "Rollback",
    "Rollout",
    "Row",
    "Servers",
    "Verification",
    "abort",
    "adopt",
    "promote_by_config",
    "promote_canary",
    "prune",
    "reconcile",
    "rollback",
    "status",
    "verify",
]
