"""The audit log as everybody can check it: Merkle tree, entries, signed checkpoints. Writing it is the guardrail's alone."""
