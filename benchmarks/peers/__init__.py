"""How others read the same log to the same Kafka: one script each, run by ``benchmarks/peers.py``."""
