"""Finds out what a model on disk is, without loading or running it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tfx_registry import saved_model
from tfx_registry.digest import digest_path, walk_files
from tfx_registry.errors import IntegrityError, InvalidModelError
from tfx_registry.records import ModelFacts, ModelFormat
from tfx_registry.serving.objects.bucket import Stored
from tfx_registry.serving.objects.urls import is_object_url

__all__ = [
    "asked_code_revision",
    "code_revision",
    "describe_model",
    "digest_source",
    "installed_libraries",
]

# Set by whoever knows best, then by GitHub Actions, GitLab CI and Jenkins.
_REVISION_VARIABLES = ("TFX_REGISTRY_CODE_REVISION", "GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT")
_GIT_SECONDS = 5
_NO = subprocess.DEVNULL
#: The commit, and a line for each change of a tracked file; in half the time of `git describe`.
#: Nothing is locked that somebody else may need just then.
_GIT_STATUS = (
    "git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no",
    "--no-ahead-behind", "--no-renames",
)  # fmt: skip

_LIBRARIES = (
    "tensorflow",
    "keras",
    "tf_keras",
    "tfx",
    "tensorflow-model-analysis",
    "tensorflow-transform",
    "apache-beam",
    "ml-metadata",
    "numpy",
    "tfx-registry",
)


def describe_model(path: str | os.PathLike[str]) -> ModelFacts:
    """Finds out what lies at a path, without loading or running it.

    Args:
        path: A SavedModel directory, a TFX Model artifact, a `.keras` file, or anything else; also
            the address of one in an object store (`s3://`, `gs://`), which is downloaded for it,
            once in a process while nobody writes there.

    Returns:
        Format, digest, size, signatures.

    Raises:
        InvalidModelError: The path is missing, empty, holds what cannot be versioned, or looks
            like a SavedModel and does not parse.
    """
    if is_object_url(path):
        return _describe_stored(os.fspath(path))
    try:
        directory = saved_model.find_saved_model(path)
        root = Path(directory or path).absolute()
        digest = digest_path(root)
        str(root).encode("utf-8")
    except (OSError, ValueError) as error:
        raise InvalidModelError(
            f"cannot read the model {os.fspath(path)!r}", str(error), "check the path"
        ) from error
    facts = ModelFacts(
        uri=str(root),
        format=ModelFormat.KERAS if root.suffix == ".keras" else ModelFormat.OTHER,
        digest=digest.root,
        manifest=digest.manifest,
        size_bytes=digest.size_bytes,
        file_count=len(digest.files),
    )
    if directory is None:
        return facts
    tags, signatures, tensorflow_version = saved_model.read_metagraph(root)
    return dataclasses.replace(
        facts,
        format=ModelFormat.SAVED_MODEL,
        tags=tags,
        signatures=signatures,
        fingerprint=saved_model.read_fingerprint(root),
        tensorflow_version=tensorflow_version,
    )


def _describe_stored(place: str) -> ModelFacts:
    from tfx_registry.serving.objects.models import find_stored_model

    return _describe_listed(*find_stored_model(place))


@functools.lru_cache(maxsize=64)
def _describe_listed(place: str, listed: tuple[Stored, ...]) -> ModelFacts:
    """Downloads and describes what a store lists, once as long as it lists the same.

    Each write changes the tag of what was written. The gate asks for the candidate several times.
    """
    from tfx_registry.serving.objects.models import fetched_model, stored_files

    with fetched_model(place) as local:
        facts = describe_model(local)
    if stored_files(place) != listed:
        raise IntegrityError(
            f"cannot read the model {place!r}", "it changed while it was read", "repeat it"
        )
    return dataclasses.replace(facts, uri=place)


def installed_libraries() -> dict[str, str]:
    """Returns the versions of the libraries that shape a model, as installed here."""
    return dict(_find_libraries())


@functools.cache  # 4 ms, and what is installed does not change while a process uses it
def _find_libraries() -> dict[str, str]:
    found = {name: _installed_version(name) for name in _LIBRARIES}
    return {name: version for name, version in found.items() if version}


def code_revision() -> str:
    """Returns the revision of the code that runs here.

    Returns:
        What a variable of the environment says, else the commit of the git work tree that is the
        working directory, with "-dirty" if it has changes, else "".
    """
    with asked_code_revision() as revision:
        return revision()


@contextlib.contextmanager
def asked_code_revision() -> Iterator[Callable[[], str]]:
    """Asks for the revision of the code while something else is done.

    Returns:
        A function that waits for the answer, and returns what `code_revision` does. Whoever does
        not call it does not wait.
    """
    named = next(filter(None, map(os.environ.get, _REVISION_VARIABLES)), "")
    git = None
    if not named and _may_be_in_git():
        with contextlib.suppress(OSError):
            git = subprocess.Popen(_GIT_STATUS, stdin=_NO, stdout=subprocess.PIPE, stderr=_NO)
    if git is None:
        yield lambda: named
        return
    with git:
        try:
            yield functools.partial(_revision_of, git)
        finally:
            git.kill()  # does nothing to one that has ended; nothing is locked


def _revision_of(git: subprocess.Popen[bytes]) -> str:
    try:
        answer, _ = git.communicate(timeout=_GIT_SECONDS)
    except subprocess.TimeoutExpired:
        return ""
    lines = answer.splitlines()
    names = [line.split()[2] for line in lines if line.startswith(b"# branch.oid ")]
    if git.returncode or not names or names[0] == b"(initial)":
        return ""
    changed = any(not line.startswith(b"#") for line in lines)
    return names[0].decode("ascii") + ("-dirty" if changed else "")


def _may_be_in_git() -> bool:
    """Tells whether git could find a work tree here; to start it for nothing costs 3 ms.

    What it says of one is not kept: any edit since would make it wrong.
    """
    if os.environ.keys() & {"GIT_DIR", "GIT_WORK_TREE"}:
        return True
    try:
        here = Path.cwd()
        return any((folder / ".git").exists() for folder in (here, *here.parents))
    except OSError:
        return True


def digest_source(uri: str, *, max_bytes: int = 1 << 30) -> str:
    """Computes the digest of an artifact that a version came from.

    Args:
        uri: Where it lies.
        max_bytes: Artifacts larger than this are not read.

    Returns:
        The OMS root digest; "" for what is not on a local disk, empty, unreadable or too large.
    """
    root = Path(uri)
    try:
        files = [root] if root.is_file() else [path for _, path in walk_files(root)]
        if sum(path.stat().st_size for path in files) > max_bytes:
            return ""
        return digest_path(root).root
    except (OSError, InvalidModelError):
        return ""


def _installed_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
