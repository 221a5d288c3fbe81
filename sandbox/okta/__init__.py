"""A simulated Okta org: strict, with state, limits, faults, event hooks, and OAuth with DPoP."""
