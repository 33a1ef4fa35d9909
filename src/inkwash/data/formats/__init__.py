"""Formats of files, one file each: how a format is recognised, read, and written as it was read."""
