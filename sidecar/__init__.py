"""aleph-sidecar: real-time calls for an AlephNet node, in one process beside any front end."""

__version__ = "0.1.0"
