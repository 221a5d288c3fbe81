"""One folder a provider; discovered, never registered."""
