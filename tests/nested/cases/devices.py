"""Entropy, console, balloon, vsock."""

CASES = []
