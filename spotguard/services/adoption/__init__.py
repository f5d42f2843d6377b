"""Commits what other tools have put into the prefix."""
