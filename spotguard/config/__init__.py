"""What the user configured: models, sources, and where each value came from. Import from the modules; this one loads nothing."""
