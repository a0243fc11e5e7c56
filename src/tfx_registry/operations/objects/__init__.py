"""The operations on serving directories in object stores; `tfx_registry.operations` leads here.

They mean the same as on a file system, and record the same events. What differs is how bytes get
out of sight and back: see `tfx_registry.serving.objects` and docs/design/0009-object-stores.md.
"""

from tfx_registry.operations.objects.promotion import promote_to_objects
from tfx_registry.operations.objects.reconciliation import reconcile_objects
from tfx_registry.operations.objects.retention import prune_objects
from tfx_registry.operations.objects.status import status_of_objects

__all__ = [
    "promote_to_objects",
    "prune_objects",
    "reconcile_objects",
    "status_of_objects",
]
