"""Telling others on this machine: hooks, the notice file, the service manager."""
