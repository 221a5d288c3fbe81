"""Data-loss prevention: what sensitive data a file holds, and how much of the file could be looked at."""
