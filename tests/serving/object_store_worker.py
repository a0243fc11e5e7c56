"""One process of the crash tests in test_object_stores_processes.py.

python object_store_worker.py REGISTRY_URI SERVING_URL NUMBER

Promotes the version, and says so; or dies, because somebody kills it.
"""

from __future__ import annotations

import sys

from tfx_registry import ModelRegistry, promote

if __name__ == "__main__":
    uri, url, number = sys.argv[1:]
    with ModelRegistry.open(uri) as registry:
        promote(registry, "penguin", int(number), url)
    print("promoted", flush=True)  # noqa: T201 - the test reads it
