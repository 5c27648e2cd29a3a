"""Settings of the guardrail: `EVOLINE_GUARDRAIL_<FIELD>`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import EvolineSettings


class GuardrailSettings(EvolineSettings):
    model_config = SettingsConfigDict(env_prefix="EVOLINE_GUARDRAIL_", frozen=True, extra="ignore")

    private_key_file: Path = Path(".evoline/keys/guardrail.key")
    """Ed25519 private key (PEM, mode 600); its public half must be in `EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE`."""
    sealed_mongo_url: SecretStr = SecretStr("")
    """The server with the labels of sealed cases; empty: the one with everything else."""
    sealed_mongo_user: str = ""
    """A user of its own, who may use that database and nothing else; empty: the guardrail's own, as on a server without users."""
    sealed_mongo_password: SecretStr = SecretStr("")
    policy_file: Path | None = None
    """None: the policy that ships with the service. It is put in force where no policy is, or where the one in force came from a
    file too; what people activated stays."""
    policy_reset: bool = False
    """Put the file's policy in force whatever the store says: the way out after the loss of a key."""
    concurrency: int = Field(default=4, ge=1)
    """Looks at sealed cases at the same time; eight times as many proposals are judged beside each other."""
    rollout_interval_seconds: float = Field(default=2.0, gt=0)
    """How often rollouts are looked at for what no run brings about, such as time that passes."""
    forgetting_interval_seconds: float = Field(default=3600.0, gt=0)
    """How often the outcomes of rollouts that ended long ago are looked for, and removed."""
    gate_in_flight: int = Field(default=8, ge=1)
    """Sealed runs in flight a look."""
    gate_seconds: float = Field(default=900.0, gt=0)
    """How long one look may take before it is tried again, and in the end judged as it is."""
    checkpoint_file: Path | None = None
    """Signed checkpoints of the audit log, outside the store; None: `audit/checkpoints.jsonl` beside the folder of the keys."""
    checkpoint_interval_seconds: float = Field(default=2.0, gt=0)
    """How long entries may wait for a checkpoint that covers them, and can be rewritten unseen. One costs 0.5 ms of CPU, a synced
    line of 400 bytes and a fact; none is made while the log does not grow."""
    audit_check_interval_seconds: float = Field(default=3600.0, gt=0)
    """How often the whole audit log is recomputed and compared with every checkpoint, beside the start."""
    held_interval_seconds: float = Field(default=1.0, gt=0)
    """How often changes that came during a freeze are looked for."""
    keys_interval_seconds: float = Field(default=1.0, gt=0)
    """How often the key files are looked at for a change; what is signed or checked looks itself."""
    expiry_interval_seconds: float = Field(default=30.0, gt=0)
    """How often reviews that nobody decided are looked for."""
    budget_sweep_seconds: float = Field(default=5.0, gt=0)
    """How often scopes and reservations that are over are looked for."""

    @property
    def checkpoints(self) -> Path:
        return self.checkpoint_file or self.private_key_file.absolute().parent.parent / "audit" / "checkpoints.jsonl"
