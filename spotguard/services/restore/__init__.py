"""The way back: choosing, fetching, verifying, putting in place."""
