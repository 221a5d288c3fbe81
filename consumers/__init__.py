"""What reads the topics: data-loss prevention and governance."""
