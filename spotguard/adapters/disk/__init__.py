"""The watch root: looking, holding, reading, and putting back."""
