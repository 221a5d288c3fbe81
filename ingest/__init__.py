"""The core: owns connectors, reads providers, publishes exactly once."""
