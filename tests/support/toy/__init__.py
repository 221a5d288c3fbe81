"""A small simulated provider and its tenant: what the conformance suite starts from."""
