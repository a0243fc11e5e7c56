r"""An emulator of TensorFlow Serving's model server, for tests and demonstrations.

It is NOT TensorFlow Serving. It follows the rules by which a model server finds versions, loads,
keeps and unloads them, and answers questions about them over REST, each read in the source of
tensorflow_serving and named where it is written down here. What it leaves out: gRPC, batching,
request logging, platforms other than "tensorflow", and the speed.

    python -m tfx_registry.testing.model_server \
        --model_name penguin --model_base_path /srv/penguin --rest_api_port 8501

The options have the names that TensorFlow Serving gives them. By default a version is only checked
as a server would check it while loading; with `--load tensorflow` it is loaded in a process of its
own, and `:predict` answers.
"""

from tfx_registry.testing.model_server.emulator import ModelServerEmulator, ModelServerStartError
from tfx_registry.testing.model_server.loaders import (
    Loader,
    LoadError,
    TensorFlowLoader,
    ValidatingLoader,
)

__all__ = [
    "LoadError",
    "Loader",
    "ModelServerEmulator",
    "ModelServerStartError",
    "TensorFlowLoader",
    "ValidatingLoader",
]
