"""From a notice to a verdict."""
