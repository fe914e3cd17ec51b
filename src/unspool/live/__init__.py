"""The live view: every stream of an app, in all its processes, as HTTP answers.

`unspool.flask.LiveView` and `unspool.asgi.live_view` send what `View` answers. `recent` knows the
streams of this process, `peers` asks the other ones.
"""

from unspool.live.recent import RECENT
from unspool.live.view import Ask, Reply, View

__all__ = ["RECENT", "Ask", "Reply", "View"]
