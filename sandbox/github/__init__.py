"""A simulated GitHub: an Enterprise Cloud organisation, also reachable as an Enterprise Server."""
