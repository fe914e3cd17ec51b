"""Templates as streams."""

from unspool.templates.stream import TemplateStream

__all__ = ["TemplateStream"]
