"""The instance that we run on, by its metadata service and its firmware."""
