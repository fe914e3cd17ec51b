"""Where do bytes wait, and which layer swallows a failure? Of an app, or of a running URL."""

from unspool.doctor.app import examine
from unspool.doctor.report import Diagnosis, Finding
from unspool.doctor.url import examine_url

__all__ = ["Diagnosis", "Finding", "examine", "examine_url"]
