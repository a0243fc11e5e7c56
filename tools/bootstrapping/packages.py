"""The system's packages: what compiles extensions, and how it is installed."""

import os
import shutil

from bootstrapping.running import SetupError, dotted, run_logged, step


def can_apt():
    """Tells whether Debian packages can be installed from here without asking anybody.

    Whoever is root and does not want that sets TFX_REGISTRY_NO_APT=1.
    """
    if os.environ.get("TFX_REGISTRY_NO_APT"):
        return False
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages):
    """Installs Debian packages as root; returns whether that worked."""
    environ = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    with step("installing Debian packages: " + " ".join(packages)):
        run_logged(["apt-get", "update"], environ)
        code, _ = run_logged(
            ["apt-get", "install", "-y", "--no-install-recommends", *packages], environ
        )
    return code == 0


def has_compiler(environ):
    """Tells whether a C and a C++ compiler are on the path."""
    path = environ.get("PATH")
    return all(
        environ.get(variable) or any(shutil.which(name, path=path) for name in names)
        for variable, names in (
            ("CC", ("cc", "gcc", "clang")),
            ("CXX", ("c++", "g++", "clang++")),
        )
    )


def missing_build_packages(interpreter, environ):
    """Returns the Debian packages without which C++ extensions cannot be compiled.

    One dependency of TFX Data Validation (pyfarmhash) has no wheels and is compiled on the spot.
    """
    packages = [] if has_compiler(environ) else ["g++"]
    if not interpreter.headers:
        packages.append("python{}-dev".format(dotted(interpreter.version[:2])))
    return packages


def ensure_build_tools(interpreter, environ):
    """Makes sure that C++ extensions can be compiled for an interpreter."""
    packages = missing_build_packages(interpreter, environ)
    if not packages:
        return
    from_system = interpreter.headers or interpreter.path.startswith("/usr/bin/")
    if can_apt() and from_system and apt_install(packages):
        return
    raise SetupError(
        "a dependency of TFX has to be compiled, and this machine has no {what}.\n"
        "Install it and run this again:\n"
        "  - Debian, Ubuntu: sudo apt-get install {packages}\n"
        "  - Fedora: sudo dnf install gcc-c++ python{version}-devel\n"
        "  - macOS: xcode-select --install".format(
            what=" and no ".join(
                "C++ compiler" if package == "g++" else "C headers for " + interpreter.path
                for package in packages
            ),
            packages=" ".join(packages),
            version=dotted(interpreter.version[:2]),
        )
    )
