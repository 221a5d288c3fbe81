"""Governance: what policies and people want done in the apps, carried out safely and reported."""
