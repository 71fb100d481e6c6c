"""From logs to a judged candidate in the registry."""
