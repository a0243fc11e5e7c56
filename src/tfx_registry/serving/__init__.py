"""The serving directory: what TensorFlow Serving sees, and how a version gets there."""

from tfx_registry.serving.layout import base_directory, list_version_directories
from tfx_registry.serving.publish import Published, ServingDirectory, check_servable
from tfx_registry.serving.smoke import SmokeTest

__all__ = [
    "Published",
    "ServingDirectory",
    "SmokeTest",
    "base_directory",
    "check_servable",
    "list_version_directories",
]
