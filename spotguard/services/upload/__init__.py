"""One checkpoint into the bucket: its files, their parts, and the commit."""
