"""What a user imports and types: the client library, the `evoline` command, the local stack."""
