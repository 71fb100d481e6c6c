"""taustack: a real-time control stack for robots that learn their own dynamics."""

__version__ = "0.1.0"
