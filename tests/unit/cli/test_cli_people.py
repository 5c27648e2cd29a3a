"""`evoline people` and what `evoline review show` prints, without any server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evoline.cli import run
from evoline.cli.review_page import page
from evoline.identities import enroll, enroll_stack, key_file, signer_for
from evoline.stack.home import Home
from evoline.whoami import default_name
from services.guardrail.use_cases import get_review
from shared.attestation import public_pem
from shared.errors import ConfigurationError
from shared.events.oversight import GetReview
from shared.identity import add_identity, read_registry
from tests.fakes.guardrail import bench, pipeline

COMMANDS = (
    ["people", "add"], ["people", "list"], ["people", "revoke"], ["review", "show"], ["review", "request-changes"],
    ["review", "comment"], ["review", "delegate"], ["review", "delegations"], ["review", "revoke-delegation"], ["propose"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOLINE_HOME", str(tmp_path / "home"))
    for name in ("EVOLINE_NATS_URL", "EVOLINE_IDENTITY", "EVOLINE_IDENTITY_KEY_FILE", "EVOLINE_IDENTITIES_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Home(tmp_path / "home")


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_offers_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_somebody_is_added_listed_and_revoked(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    added = told(capsys, "people", "add", "ann", "--role", "reviewer", "--role", "admin")
    assert (added["name"], added["kind"], added["roles"]) == ("ann", "person", ["reviewer", "admin"])
    assert key_file(home, "ann").stat().st_mode & 0o777 == 0o600
    assert told(capsys, "people", "add", "ann", "--role", "reviewer")["public_key"] == added["public_key"]
    (row,) = told(capsys, "people", "list")["identities"]
    assert (row["name"], row["roles"], row["revoked"]) == ("ann", ["reviewer"], "")
    assert told(capsys, "people", "revoke", "ann")["changed"] is True
    assert told(capsys, "people", "revoke", "ann")["changed"] is False
    refused = told(capsys, "people", "add", "ann", "--role", "admin", code=1)
    assert "was revoked" in refused["error"]["message"]


def test_somebody_without_a_role_is_told_how_to_get_one(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["people", "add", "eve"]) == 0
    assert "evoline people add eve --role reviewer" in capsys.readouterr().out
    assert run(["people", "add", "eve", "--role", "reviewer"]) == 0
    assert "--role" not in capsys.readouterr().out


def test_a_key_made_elsewhere_is_registered_without_its_private_half(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    file = home.root.parent / "bob.pub"
    file.write_bytes(public_pem(Ed25519PrivateKey.generate().public_key()))
    told(capsys, "people", "add", "bob", "--public-key", str(file))
    assert not key_file(home, "bob").exists()
    twin = told(capsys, "people", "add", "bobby", "--public-key", str(file), code=1)
    assert "key of bob already" in twin["error"]["message"]


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "-x" * 40])
def test_a_name_that_is_none_makes_no_key(name: str, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["people", "add", "--json", "--", name]) == 1
    assert "name" in json.loads(capsys.readouterr().out)["error"]["problems"][0]["path"]
    assert not (home.keys / "identities").exists()


def test_deciding_without_a_key_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["review", "deny", "c1", "--as", "zed"]) == 2
    assert "evoline people add zed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["experiment", "start", "p", "--dataset-id", "d", "--generate"], ["evolve", "p", "--dataset-id", "d"], ["run", "p"],
        ["generate", "--domain", "d", "--requirements", "r"], ["measure", "p", "--dataset-id", "d"], ["learn"],
        ["cancel", "r"], ["pause", "r"], ["resume", "r"], ["retry", "r"], ["fork", "r"], ["import", "r.json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nobody_acts_unsigned_in_a_name_that_was_asked_for(
    command: list[str], home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No broker is there: whatever gets past the name ends as unavailable."""
    enroll_stack(home, ("generator",), "ann")
    assert run([*command, "--as", "zed"]) == 2
    said = capsys.readouterr().err
    assert "no key of 'zed'" in said and "are there for ann)" in said and "evoline people add zed" in said
    monkeypatch.setenv("EVOLINE_IDENTITY_KEY_FILE", str(home.root / "lost.key"))
    assert run(command) == 2
    assert "no key of 'lost'" in capsys.readouterr().err
    assert run([*command, "--as", "ann"]) not in (0, 2)


def test_a_key_file_of_the_guardrail_is_changed_without_a_key_of_ones_own(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "keys", "create")
    assert told(capsys, "keys", "rotate", "--phase", "prepare", "--as", "zed")["phase"] == "prepare"


def test_a_stack_registers_its_services_and_its_owner_once(home: Home) -> None:
    assert enroll_stack(home, ("generator", "executor"), "ann") == "2 services and ann registered"
    before = read_registry(home.keys / "identities.yaml")
    assert enroll_stack(home, ("generator", "executor"), "bob") == ""
    assert read_registry(home.keys / "identities.yaml") == before
    owner = before.find("ann")
    assert owner is not None and owner.roles == ("reviewer", "operator", "admin")
    assert signer_for("generator", {"EVOLINE_HOME": str(home.root)}, home.root) is not None


def test_who_acts_is_named_by_the_environment_or_by_a_key_file(home: Home) -> None:
    assert default_name({"EVOLINE_IDENTITY": "ann", "EVOLINE_IDENTITY_KEY_FILE": "/x/bob.key"}) == "ann"
    assert default_name({"EVOLINE_IDENTITY_KEY_FILE": "/x/bob.key"}) == "bob"
    assert default_name({}) != ""
    with pytest.raises(ConfigurationError, match="no key of 'bob'"):
        signer_for("bob", {"EVOLINE_HOME": str(home.root)}, home.root, must=True)
    assert signer_for("bob", {"EVOLINE_HOME": str(home.root)}, home.root) is None


def test_whose_key_was_made_elsewhere_is_told_to_name_it_and_not_to_register_again(home: Home, tmp_path: Path) -> None:
    environment = {"EVOLINE_HOME": str(home.root)}
    with pytest.raises(ConfigurationError, match="register one with `evoline people add bob"):
        signer_for("bob", environment, home.root, must=True)
    made = enroll(tmp_path / "elsewhere", tmp_path / "other.yaml", "bob", roles=("reviewer",))
    add_identity(home.keys / "identities.yaml", made)
    with pytest.raises(ConfigurationError, match=r"made elsewhere .name that file, bob\.key, with EVOLINE_IDENTITY_KEY_FILE"):
        signer_for("bob", environment, home.root, must=True)
    named = environment | {"EVOLINE_IDENTITY_KEY_FILE": str(tmp_path / "elsewhere" / "bob.key")}
    assert signer_for("bob", named, home.root, must=True) is not None


async def test_a_review_shows_diff_risk_rules_votes_and_what_is_missing() -> None:
    at = bench()
    await at.propose(pipeline())
    steps = [{"name": "classify", "type": "gemini", "prompt": "Say the sentiment of: {{ text }}"}]
    await at.propose(pipeline(steps=steps, limits={"calls": 500}), "c2", signed=False, requested_by="carol", reason="cheaper")
    await at.decide("c2", "comment", "dora", "m0", comment="why Gemini?")
    await at.decide("c2", reviewer="alice", message="m1")
    text = page(await get_review(GetReview(change_id="c2"), at.at))
    for words in (
        "generator (not verified: it is not signed), on behalf of carol",
        "cheaper",
        "+ limits.calls: 500",
        "high",
        "[wider-limits]",
        "dora comment at",
        "why Gemini?",
        "1 of 2 approvals by people with the role reviewer; 1 missing; never by generator, carol",
    ):
        assert words in text, words


async def test_a_review_shows_an_emergency_and_what_voided_a_vote() -> None:
    at = bench()
    await at.propose(pipeline())
    steps = [{"name": "classify", "type": "gemini", "prompt": "Say the sentiment of: {{ text }}"}]
    await at.propose(pipeline(steps=steps, limits={"calls": 500}), "c2")
    await at.decide("c2", reviewer="alice", message="m1")
    at.identities.revoke("alice")
    await at.decide("c2", reviewer="bob", message="m2", break_glass=True, comment="outage 7")
    text = page(await get_review(GetReview(change_id="c2"), at.at))
    assert "void: the identity alice is not good any more" in text
    assert "emergency  bob alone at" in text and "outage 7" in text and "(open, confirm by" in text
