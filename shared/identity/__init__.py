"""Who sends: registered names with public keys, signatures under messages, and the files that hold both."""

from __future__ import annotations

from shared.identity.files import RegistryFile, add_identity, create_key, read_registry, revoke_identity, signer_of_file
from shared.identity.registry import Identity, Kind, Registry
from shared.identity.signing import UNSIGNED, MessageSigner, Proof, Signature, verify_proof

__all__ = [
    "UNSIGNED",
    "Identity",
    "Kind",
    "MessageSigner",
    "Proof",
    "Registry",
    "RegistryFile",
    "Signature",
    "add_identity",
    "create_key",
    "read_registry",
    "revoke_identity",
    "signer_of_file",
    "verify_proof",
]
