"""Databases and files behind streamed downloads: what `unspool serve` runs."""

from unspool.serve.app import create_app
from unspool.serve.lanes import in_lanes
from unspool.serve.settings import Settings

__all__ = ["Settings", "create_app", "in_lanes"]
