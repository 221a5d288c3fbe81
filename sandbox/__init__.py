"""Simulated provider tenants; imports nothing of the product."""
