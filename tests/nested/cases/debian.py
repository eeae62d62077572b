"""Debian itself: a root disk, a login."""

CASES = []
