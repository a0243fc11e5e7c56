"""Serving directories in object stores. Nothing here is imported before an address needs it."""

from tfx_registry.serving.objects.directory import ObjectDirectory, hold_directory
from tfx_registry.serving.objects.options import ObjectOptions, Verify
from tfx_registry.serving.objects.urls import ObjectUrl, destination_of, is_object_url
from tfx_registry.serving.objects.view import ObjectView, Seen

__all__ = [
    "ObjectDirectory",
    "ObjectOptions",
    "ObjectUrl",
    "ObjectView",
    "Seen",
    "Verify",
    "destination_of",
    "hold_directory",
    "is_object_url",
]
