"""The only place where adapters meet services."""
