"""What the benchmarks on Kafka share: the machine, the records, the events made of them."""
