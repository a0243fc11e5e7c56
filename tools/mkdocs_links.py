"""Hooks of mkdocs: files of the repository outside of docs/ that a page links to.

Pages link to `../README.md` or `../examples/policies`, so that the links hold in a checkout. In the
site these files lie below `repository/`: Markdown becomes a page, a folder a list of its files,
everything else is copied. A link to what does not exist stays as it is, and the strict build fails.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "repository"

#: A link or an image: what stands before the target, the target, an anchor.
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def on_files(files, config):
    """Adds what pages link to, and what those link to in turn."""
    waiting = [(file.src_uri, Path(file.abs_src_path)) for file in files.documentation_pages()]
    done = set()
    while waiting:
        source, path = waiting.pop()
        for name in linked(source, path.read_text(encoding="utf-8")):
            if name in done:
                continue
            done.add(name)
            if name.endswith(".md"):
                waiting.append((f"{PREFIX}/{name}", ROOT / name))
    for name in sorted(done):
        files.append(made(name, config, done))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links to the repository into links within the site."""
    source = page.file.src_uri

    def turned(match):
        name = in_repository(source, match[2])
        if name is None or not (ROOT / name).exists():
            return match[0]
        target = uri_of(name)
        return match[1] + posixpath.relpath(target, posixpath.dirname(source) or ".") + match[3]

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(turned, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(turned, markdown[end:])])


def linked(source, text):
    """Yields the files and folders outside of docs/ that a page links to."""
    for match in LINK.finditer(FENCE.sub("", text)):
        name = in_repository(source, match[2])
        if name is None or not (ROOT / name).exists():
            continue
        if (ROOT / name).is_dir() or not name.startswith("docs/"):
            yield name


def in_repository(source, target):
    """Returns what a link means, as a path in the repository; None if it stays within docs/.

    Args:
        source: Path of the page in the site.
        target: Path in the link.
    """
    if source.startswith(f"{PREFIX}/"):
        where = posixpath.dirname(source[len(PREFIX) + 1 :])
    else:
        where = posixpath.join("docs", posixpath.dirname(source))
        if not posixpath.normpath(posixpath.join(where, target)).startswith(".."):
            inside = posixpath.normpath(posixpath.join(where, target))
            if inside.startswith("docs/") and not (ROOT / inside).is_dir():
                return None
    name = posixpath.normpath(posixpath.join(where, target))
    return None if name.startswith("..") else name


def uri_of(name):
    """Returns where a file of the repository lies in the site."""
    if (ROOT / name).is_dir():
        return f"{PREFIX}/{name}/index.md"
    if name.startswith("docs/"):
        return name[len("docs/") :]
    return f"{PREFIX}/{name}"


def made(name, config, wanted):
    """Makes a file of the site from one of the repository.

    Args:
        name: Path of the file or folder in the repository.
        config: Configuration of mkdocs.
        wanted: All files and folders of the repository that become part of the site.
    """
    path = ROOT / name
    if not path.is_dir():
        return File.generated(config, uri_of(name), abs_src_path=str(path))
    rows = [f"# {name}\n"]
    for child in sorted(path.iterdir()):
        inside = f"{name}/{child.name}"
        if child.suffix == ".md" and (inside.startswith("docs/") or inside in wanted):
            title = child.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            rows.append(f"- [{title}]({posixpath.relpath(uri_of(inside), f'{PREFIX}/{name}')})")
        elif child.is_file() and child.suffix != ".md":
            text = child.read_text(encoding="utf-8").strip()
            rows.append(f"\n## {child.name}\n\n```{child.suffix[1:]}\n{text}\n```\n")
    return File.generated(config, uri_of(name), content="\n".join(rows))
