"""The life of the daemon: what it consists of, in which order it lives and dies, and what it says of itself."""
