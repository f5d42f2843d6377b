"""Whether a file's own structure says that it is whole."""
