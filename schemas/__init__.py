"""What is on the wire: OCSF events, topics and control records."""
