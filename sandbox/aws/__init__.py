"""A simulated AWS tenant: moto's server, corrected and completed where moto differs from AWS."""
