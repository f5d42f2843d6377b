"""spotguard: a sidecar that loses no checkpoint when AWS takes the machine back."""

__version__ = "0.1.0"
