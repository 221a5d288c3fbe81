"""The commands, one file a noun group; what one needs is imported when it runs: `--help` is fast."""
