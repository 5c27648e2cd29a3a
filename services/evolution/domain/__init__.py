"""What a candidate is, how its document is read as genes, how cases are divided, what the archive remembers. Pure."""
