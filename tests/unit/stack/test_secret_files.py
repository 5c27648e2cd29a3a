"""Secrets as files: made once, private, replaced one key after the other, never printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from evoline.cli.app import build
from evoline.secret_files import SecretStore
from evoline.stack.home import Home
from evoline.stack.plan import LocalStack, StackOptions
from evoline.stack.ports import PortChooser
from shared.errors import ConfigurationError, InvalidInputError
from shared.messaging.permissions import permissions, roles
from shared.messaging.server_users import new_seed, public_key
from shared.settings import ProviderSettings, SharedSettings
from shared.storage.roles import ADMIN, USERS


def contents(store: SecretStore) -> dict[str, bytes]:
    return {str(path.relative_to(store.root)): path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


def test_secrets_are_made_once_for_the_owner_only(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    made = store.create()
    assert len(made) == len(roles()) + len(USERS) + 2
    before = contents(store)
    assert store.create() == () and contents(store) == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))
    assert len(set(before.values())) == len(before)


def test_what_is_missing_is_made_and_what_is_there_is_kept(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.create()
    before = contents(store)
    store.password_file("learner").unlink()
    assert store.create() == (store.password_file("learner"),)
    assert {name for name, content in contents(store).items() if content != before[name]} == {"learner/store.password"}


def test_a_secret_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.create()
    store.password_file(ADMIN).chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"admin/store\.password is open to others: chmod 600"):
        store.create()


def test_the_brokers_configuration_has_public_keys_and_no_secret(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.create()
    text = store.nats_users_file.read_text()
    for role in roles():
        seed = store.seed_file(role).read_bytes()
        assert public_key(seed) in text and seed.decode() not in text
    assert text.count("nkey: U") == len(permissions()) and "password" not in text


def test_a_rotation_keeps_both_keys_until_it_is_finished(tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    store.create()
    old = store.seed_file("executor").read_bytes()
    store.rotate("executor")
    keys = {public_key(old), public_key(store.seed_file("executor").read_bytes())}
    assert len(keys) == 2 and all(key in store.nats_users_file.read_text() for key in keys)
    with pytest.raises(InvalidInputError, match="--finish"):
        store.rotate("executor")
    store.create()
    assert all(key in store.nats_users_file.read_text() for key in keys)
    assert store.finish_rotation("executor") and not store.finish_rotation("executor")
    assert public_key(old) not in store.nats_users_file.read_text()
    with pytest.raises(InvalidInputError, match=r"no user 'nobody'; there are analytics"):
        store.rotate("nobody")


@pytest.mark.parametrize("text", [b"", b"SUgarbage", b"hunter2", pytest.param(new_seed()[:-3], id="cut"), b"\xff\xfe"])
def test_a_broken_seed_is_named_by_its_file_and_not_shown(tmp_path: Path, text: bytes) -> None:
    from shared.messaging.connection import read_seed

    file = tmp_path / "bus.nk"
    file.write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"EVOLINE_NATS_SEED_FILE.*bus\.nk.*evoline secrets create") as caught:
        read_seed(file)
    assert not text or text.decode(errors="replace") not in str(caught.value)


def test_commands_print_where_secrets_are_and_none_of_them(tmp_path: Path) -> None:
    made = CliRunner().invoke(cast("Any", build()), ["secrets", "create", "--dir", str(tmp_path), "--json"])
    assert made.exit_code == 0 and len(json.loads(made.stdout)["made"]) > 10
    rotated = CliRunner().invoke(cast("Any", build()), ["secrets", "rotate", "client", "--dir", str(tmp_path)])
    assert rotated.exit_code == 0 and "SIGHUP" in rotated.stdout
    for name, secret in contents(SecretStore(tmp_path)).items():
        assert name.endswith(".conf") or secret.decode() not in made.stdout + rotated.stdout


def test_each_process_of_the_stack_is_given_its_own_credentials_only(tmp_path: Path) -> None:
    inherited = {
        "EVOLINE_NATS_USER": "admin",
        "EVOLINE_NATS_SEED_FILE": "/x",
        "EVOLINE_MONGO_PASSWORD": "y",
        "EVOLINE_GUARDRAIL_SEALED_MONGO_PASSWORD": "z",
        "EVOLINE_GUARDRAIL_SEALED_MONGO_URL": "mongodb://elsewhere",
    }
    stack = LocalStack(Home(tmp_path), StackOptions(pipelines_dir=tmp_path), PortChooser({}), inherited)
    for user in (each.name for each in USERS if each.name != "sealed"):
        given = stack.service_environment(user, 1)
        own = {name: value for name, value in given.items() if "NATS" in name or "MONGO" in name or "SEED" in name}
        assert {Path(value).parent.name for name, value in own.items() if name.endswith("_FILE")} == (
            {user, "sealed"} if user == "guardrail" else {user}
        )
        assert not set(inherited.values()) & set(own.values())


def test_a_secret_setting_comes_from_its_file_unless_the_variable_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("from the file \n")
    monkeypatch.setenv("EVOLINE_MONGO_PASSWORD_FILE", str(file))
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", str(file))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert SharedSettings().mongo_password.get_secret_value() == "from the file "
    assert ProviderSettings().anthropic_api_key.get_secret_value() == "from the file "
    monkeypatch.setenv("EVOLINE_MONGO_PASSWORD", "set")
    assert SharedSettings().mongo_password.get_secret_value() == "set"
    assert SharedSettings(mongo_password=SecretStr("given")).mongo_password.get_secret_value() == "given"


def test_a_secret_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOLINE_MONGO_PASSWORD_FILE", "/no/such/file")
    with pytest.raises(ConfigurationError, match=r"EVOLINE_MONGO_PASSWORD_FILE: /no/such/file: No such file"):
        SharedSettings()
