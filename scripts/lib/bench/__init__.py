"""Benches: one module each with ``run(options) -> Report``; ``report`` holds what they share."""
