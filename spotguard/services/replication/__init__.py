"""The loop that looks at the disk and decides what goes when."""
