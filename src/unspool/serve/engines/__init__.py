"""The databases: a module each."""

__all__: list[str] = []
