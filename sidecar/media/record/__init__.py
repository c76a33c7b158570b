"""Writes recordings: runs in the record process, remuxes encoded frames, knows no network."""
