"""The local HTTP interface and its client."""
