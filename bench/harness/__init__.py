"""What bench/run and bench/soak are made of."""
