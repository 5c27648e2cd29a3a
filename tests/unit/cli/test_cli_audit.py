"""Proofs of decisions, checked with nothing but a public key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from evoline.cli.app import build
from evoline.cli.audit import check
from evoline.client.audit import PROOF_FORMAT, Kept, checked_proof, kept_in_file
from services.guardrail.use_cases import checkpoint_audit_log, get_audit_proof
from shared.attestation import public_pem
from shared.errors import InvalidInputError, NotAttestedError
from shared.events.audit import AuditCheckpointed, GetAuditProof
from tests.fakes.guardrail import Bench, bench
from tests.fakes.tampering import note


async def proven(number: int = 3, of: int = 7) -> tuple[Bench, dict[str, Any]]:
    at = bench()
    for each in range(1, of + 1):
        await at.at.audit.append(note(each))
    ((_, fact),) = await checkpoint_audit_log(at.at)
    assert isinstance(fact, AuditCheckpointed)
    answer = await get_audit_proof(GetAuditProof(key=note(number).key, size=of), at.at)
    return at, {"format": PROOF_FORMAT, "entry": answer["entry"], "path": answer["path"], "checkpoint": fact.note}


async def test_a_proof_stands_alone() -> None:
    at, proof = await proven()
    entry, checkpoint = checked_proof(json.loads(json.dumps(proof)), at.signer.verifier.keys)
    assert (entry["sequence"], checkpoint.head.size) == (3, 7)
    with pytest.raises(NotAttestedError):
        checked_proof(proof, {})


@pytest.mark.parametrize("change", [{"actor": "mallory"}, {"sequence": 4}, {"sequence": 10**6}, {"sequence": -1}, {"facts": None}])
async def test_it_proves_no_other_entry(change: dict[str, Any]) -> None:
    at, proof = await proven()
    with pytest.raises(InvalidInputError, match="not proven"):
        checked_proof({**proof, "entry": {**proof["entry"], **change}}, at.signer.verifier.keys)


@pytest.mark.parametrize("broken", [{"entry": 3}, {"path": [1]}, {"path": ["zz"]}, {"path": []}, {"checkpoint": ""}, {"entry": {}}])
async def test_what_is_no_proof_is_refused(broken: dict[str, Any]) -> None:
    at, proof = await proven()
    with pytest.raises(InvalidInputError):
        checked_proof({**proof, **broken}, at.signer.verifier.keys)


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"\xff\xfe", b'{"run": {}}', b"[" * 100_000], ids=["empty", "list", "binary", "run", "deep"]
)
def test_a_file_that_is_no_proof_is_named_with_what_makes_one(tmp_path: Path, content: bytes) -> None:
    at, file = bench(), tmp_path / "proof.json"
    keys = tmp_path / "guardrail.pub"
    keys.write_bytes(public_pem(at.signer.key.public_key()))
    file.write_bytes(content)
    with pytest.raises(
        InvalidInputError, match=r"proof\.json: is no proof of an audit entry .`evoline audit prove NUMBER --out FILE`"
    ):
        check(file, [keys])
    with pytest.raises(InvalidInputError, match=r"none\.json: cannot be read: No such file"):
        check(tmp_path / "none.json", [keys])


async def test_the_command_checks_a_file_and_ends_with_1_where_it_proves_nothing(tmp_path: Path) -> None:
    at, proof = await proven()
    keys, file = tmp_path / "guardrail.pub", tmp_path / "proof.json"
    keys.write_bytes(public_pem(at.signer.key.public_key()))
    file.write_text(json.dumps(proof))
    good = CliRunner().invoke(cast("Any", build()), ["audit", "check", str(file), "--keys", str(keys)])
    assert good.exit_code == 0 and "entry 3 of 7" in good.stdout
    for text in (json.dumps({**proof, "path": []}), "[]", "nonsense", "[" * 100_000):
        file.write_text(text)
        result = CliRunner().invoke(cast("Any", build()), ["audit", "check", str(file), "--keys", str(keys)])
        assert isinstance(result.exception, InvalidInputError), text[:50]


async def test_a_kept_file_says_which_of_its_lines_cannot_be_trusted(tmp_path: Path) -> None:
    at, proof = await proven()
    file = tmp_path / "checkpoints.jsonl"
    forged = proof["checkpoint"].replace("\n7\n", "\n6\n")
    lines = [json.dumps({"note": proof["checkpoint"]}), "", "nonsense", json.dumps({"note": forged}), "{}"]
    file.write_text("\n".join(lines))
    kept: Kept = kept_in_file(file, at.signer.verifier.keys)
    assert [each.head.size for each in kept.checkpoints] == [7]
    assert [fault.split(", ")[1].split(" ")[:2] for fault in kept.faults] == [["line", "3"], ["line", "4:"], ["line", "5"]]
    with pytest.raises(InvalidInputError, match="cannot be read"):
        kept_in_file(tmp_path / "nowhere", at.signer.verifier.keys)
