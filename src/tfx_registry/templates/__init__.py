"""Small working projects to begin with: what `tfx-registry init` writes."""

from tfx_registry.templates.project import Project, Runner, make_project, write_project

__all__ = ["Project", "Runner", "make_project", "write_project"]
