"""The guardrail as a machine that people, services and crashes drive: what can be sent, and what has to hold after every step."""
