"""Packaging of tfx-registry: three source folders become one import package.

The repository keeps `components/` and `pipelines/` at its top level and the core in
`src/tfx_registry/`. Installed, they are `tfx_registry.components`, `tfx_registry.pipelines` and
`tfx_registry`. The two symlinks inside `src/tfx_registry` are for type checkers only; packaging
goes by the mapping below and never through them.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent

# Import package -> folder. Longer names override shorter ones, so the two symlinked folders below
# src/tfx_registry are not consulted.
FOLDERS = {
    "tfx_registry": "src/tfx_registry",
    "tfx_registry.components": "components",
    "tfx_registry.pipelines": "pipelines",
}


def read_version():
    """Returns `__version__` from its one home, without importing the package."""
    text = (ROOT / "src" / "tfx_registry" / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise SystemExit("setup.py: src/tfx_registry/_version.py holds no __version__ line")
    return match.group(1)


def list_packages():
    """Returns every import package of the distribution, each from exactly one folder."""
    packages = []
    for name, folder in FOLDERS.items():
        elsewhere = [other[len(name) + 1 :] for other in FOLDERS if other.startswith(name + ".")]
        exclude = [pattern for other in elsewhere for pattern in (other, other + ".*")]
        packages.append(name)
        packages += [
            f"{name}.{package}" for package in find_packages(str(ROOT / folder), exclude=exclude)
        ]
    return sorted(packages)


# The core must stay light: a command answers in well under a second, and a service that only reads
# the registry installs no TensorFlow. Each of these has to justify itself.
INSTALL_REQUIRES = [
    # The store itself. 1.16 is the first with the calls used here, 1.22 is not tested.
    "ml-metadata>=1.16,<1.22",
    # Parsing of the command line; also a dependency of TFX, so it adds nothing beside it.
    "click>=8.2",
    # Tables and colours in the terminal; pure Python.
    "rich>=13",
    # Pages for people, with escaping that is not our own.
    "jinja2>=3.1",
    # Policies that people write and review; also a dependency of TFX. Only the gate loads it.
    "pyyaml>=6",
]

TFX = [
    # What the components run on.
    "tfx>=1.16,<1.22",
    # Apache Beam 2.69 and later no longer bring it, and TFX 1.16 cannot be imported without.
    "dill",
    # TFX's Trainer runs `python -m pip` to pack a module file; a uv environment has no pip.
    "pip",
]

EXAMPLES = [
    *TFX,
    # Carries the penguins as a CSV file, so no example has to download anything.
    "palmerpenguins",
]

NOTEBOOKS = [
    *EXAMPLES,
    "ipykernel",  # what any Jupyter front end runs them with
    "matplotlib>=3.8",  # their plots
    "nbclient",  # executes them in the tests
    "nbconvert",
    "nbformat",
]

TEST = ["hypothesis", "pytest>=8", "pytest-timeout"]

# Serving directories in object stores. fsspec is what both speak; each brings its own client.
OBJECT_STORES = ["fsspec>=2024.6", "s3fs>=2024.6", "gcsfs>=2024.6"]

# Object stores on the loopback interface, for tests.
EMULATORS = ["gcp-storage-emulator", "moto[s3,server]>=5"]

# The web page of `tfx-registry ui`: Flask makes the pages, waitress serves them.
UI = ["flask>=3", "waitress>=3"]

# Apache Beam's runner on a cluster of Dask workers.
DASK = ["dask>=2023.4", "distributed>=2023.4"]

EXTRAS_REQUIRE = {
    "tfx": TFX,
    "examples": EXAMPLES,
    "notebooks": NOTEBOOKS,
    # Not `tfx[airflow]`: that asks for mysqlclient, which has to be compiled against the C library.
    "airflow": [*TFX, "apache-airflow>=2.11,<3 ; python_version < '3.13'"],
    # Not `tfx[kfp]`: in TFX 1.21 that stops at Python 3.11; its runner and these run on 3.13, too.
    "kfp": [*TFX, "kfp>=2.5,<2.17", "kfp-pipeline-spec>=0.2.2,<2.17"],
    "object-stores": OBJECT_STORES,
    "ui": UI,
    "dask": [*TFX, *DASK],
    "docs": [
        "mkdocs-material>=9.5",
        "mkdocstrings[python]>=0.25",
        "pymdown-extensions<12",  # mkdocstrings 1.0 makes its highlighter as that did before 12
    ],
    # Draws the plots of benchmarks/; the numbers need nothing.
    "benchmarks": ["matplotlib>=3.8"],
    # Enough to run the tests of an orchestrator, in the environment of that orchestrator.
    "test": TEST,
    "emulators": EMULATORS,
    "dev": [
        *EXAMPLES,
        *TEST,
        *OBJECT_STORES,
        *UI,
        *DASK,
        *EMULATORS,
        "build",
        "selenium>=4.20",  # drives the Chromium that looks at the pages
        "jsonschema",  # the schema of policies is checked with it
        # The reference for the digest of a model directory: a test compares with it.
        "model-signing==1.1.1",
        "pyOpenSSL",  # model-signing imports it and forgets to declare it
        "mypy",
        "ruff",
        "setuptools>=77",  # the tests build the wheel without asking a package index
        "wheel",
    ],
}

setup(
    name="tfx-registry",
    version=read_version(),
    description="TFX components for a model registry in ML Metadata: register, gate, publish.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8")
    if (ROOT / "README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    keywords="tfx mlmd model-registry tensorflow-serving mlops",
    python_requires=">=3.10,<3.14",
    package_dir=FOLDERS,
    packages=list_packages(),
    include_package_data=False,
    package_data={
        "tfx_registry": ["py.typed"],
        "tfx_registry.gate": ["templates/*.j2"],
        "tfx_registry.pages": ["templates/*.j2", "assets/*.js", "assets/*.css"],
        "tfx_registry.pipelines": ["**/*.csv"],
        "tfx_registry.templates": ["files/*.j2"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["tfx-registry = tfx_registry.cli.main:main"]},
    zip_safe=False,
)
