"""The databases: a module each."""
