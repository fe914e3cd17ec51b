"""What the views of one app share."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import current_app

from unspool.serve.access import Clients
from unspool.serve.engines.base import Engine
from unspool.serve.lanes import Courtesy
from unspool.serve.reading import Alarms
from unspool.serve.settings import Settings
from unspool.serve.sources import Catalog

__all__ = ["Serving", "serving"]


@dataclass
class Serving:
    """What the views of one app share."""

    catalog: Catalog
    settings: Settings
    clients: Clients
    alarms: Alarms = field(default_factory=Alarms)
    courtesy: Courtesy = field(default_factory=Courtesy)

    @property
    def sources(self) -> dict[str, Engine]:
        """The sources by name."""
        return self.catalog.sources


def serving() -> Serving:
    """That of the app that answers the request."""
    return current_app.extensions["unspool.serve"]  # type: ignore[no-any-return]
