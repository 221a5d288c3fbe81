"""The front door: the command line, the embedded broker, the demo."""
