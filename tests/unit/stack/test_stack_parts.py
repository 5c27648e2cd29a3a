"""Ports, state, logs, home and preflight, without any process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from evoline.stack import system
from evoline.stack.child import ProcessSpec
from evoline.stack.home import LONGEST_SOCKET_PATH, Home, find_home
from evoline.stack.logs import LogFollower, open_log, tail
from evoline.stack.plan import LocalStack, StackOptions, nats_config
from evoline.stack.ports import DEFAULT_PORTS, PortChooser, parse_ports
from evoline.stack.preflight import Machine, answers_for_itself, check
from evoline.stack.state import ProcessRecord, StackRecord, read_state, write_state
from shared.errors import ConfigurationError

GOOD_MACHINE = Machine(python=(3, 11), free_bytes=50_000_000_000, cpu_flags=frozenset({"avx2"}))


def chooser(taken: set[int], remembered: dict[str, int] | None = None, wanted: dict[str, int] | None = None) -> PortChooser:
    free = iter(range(50_000, 50_100))
    return PortChooser(remembered or {}, wanted or {}, lambda port: port not in taken, lambda: next(free))


def test_a_free_default_port_is_taken() -> None:
    assert chooser(set()).port("nats") == 4222


def test_a_remembered_port_goes_before_the_default() -> None:
    assert chooser(set(), {"nats": 5222}).port("nats") == 5222


def test_a_taken_default_port_is_replaced_by_any_free_one() -> None:
    assert chooser({4222}).port("nats") == 50_000


def test_two_names_never_get_one_port() -> None:
    ports = chooser(set(), {"nats": 7000, "mongo": 7000})
    assert ports.port("nats") == 7000
    assert ports.port("mongo") == DEFAULT_PORTS["mongo"]


def test_a_port_demanded_for_another_name_is_left_alone() -> None:
    assert chooser(set(), wanted={"mongo": 4222}).port("nats") == 50_000


def test_a_demanded_port_that_is_taken_is_an_error_with_the_way_out() -> None:
    with pytest.raises(ConfigurationError, match=r"port 4300, wanted for nats, is taken.*--port nats=N"):
        chooser({4300}, wanted={"nats": 4300}).port("nats")


def test_every_wrong_port_option_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_ports(["nats=4300", "natz=1", "mongo=99999"])
    assert "'natz'" in str(caught.value) and "99999" in str(caught.value)


def test_state_round_trips_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    record = StackRecord(status="ready", ports={"nats": 4222}, processes=[ProcessRecord(name="nats", pid=7, status="ready")])
    write_state(path, record)
    assert read_state(path) == record
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir()] == ["stack.json"]


def test_a_broken_state_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    path.write_text("{")
    with pytest.raises(ConfigurationError, match=r"stack\.json cannot be read"):
        read_state(path)


def test_a_record_whose_pid_belongs_to_another_process_is_stale() -> None:
    mine = system.started_at(os.getpid())
    assert StackRecord(supervisor_pid=os.getpid(), supervisor_mark=mine).alive
    assert not StackRecord(supervisor_pid=os.getpid(), supervisor_mark=mine + "0").alive


def test_home_is_found_from_a_folder_below_and_by_the_variable(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_home({}, below).root == below / ".evoline"
    (tmp_path / ".evoline").mkdir()
    (tmp_path / ".evoline" / "stack.json").write_text("{}")
    assert find_home({}, below).root == tmp_path / ".evoline"
    assert find_home({"EVOLINE_HOME": str(tmp_path / "x")}, below).root == tmp_path / "x"


def test_the_control_socket_of_a_deep_home_has_a_short_path(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("d" * 120))
    assert len(os.fsencode(deep.socket)) <= LONGEST_SOCKET_PATH
    assert deep.socket != Home(tmp_path / ("e" * 120)).socket


def test_a_home_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="EVOLINE_HOME"):
        Home(tmp_path / "file" / "home").create()


def test_a_large_log_is_rotated_when_its_process_starts_and_three_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    for number in range(6):
        log.write_text(f"{number}" * 20)
        open_log(log, rotate_bytes=10).close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["nats.log", "nats.log.1", "nats.log.2", "nats.log.3"]
    assert (tmp_path / "nats.log.1").read_text().startswith("5")


def test_a_small_log_is_continued(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.write_text("one\n")
    with open_log(log) as file:
        file.write(b"two\n")
    assert tail(log, 5) == ["one", "two"]


def test_tail_gives_the_last_lines_also_of_a_large_file(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number} {'x' * 100}\n" for number in range(5000)))
    assert [line.split()[1] for line in tail(log, 3)] == ["4997", "4998", "4999"]
    assert tail(log, 0) == [] and tail(tmp_path / "none", 3) == []


def test_following_a_log_gives_whole_new_lines_also_after_rotation(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("old\n")
    texts = iter(["new\nhalf", None])

    def more() -> None:
        text = next(texts)
        if text is None:
            log.write_text("z\n")
        else:
            with log.open("a") as file:
                file.write(text)

    lines = LogFollower({"x": log}, more).lines()
    assert next(lines) == ("x", "new")
    assert next(lines) == ("x", "z")


def test_preflight_names_everything_that_is_wrong(tmp_path: Path) -> None:
    machine = Machine(python=(3, 9), free_bytes=1000, cpu_flags=frozenset())
    options = StackOptions(model_file=tmp_path / "none.gguf", pipelines_dir=tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        check(Home(tmp_path), options, machine)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "Python 3.9" in lines[0] and "MB are free" in lines[1] and "evoline model pull" in lines[2]


def test_a_cpu_without_avx2_is_a_warning_only_where_a_model_is_served(tmp_path: Path) -> None:
    machine = Machine(python=(3, 12), free_bytes=50_000_000_000, cpu_flags=frozenset({"sse2"}))
    model = tmp_path / "m.gguf"
    model.write_text("")
    assert check(Home(tmp_path), StackOptions(pipelines_dir=tmp_path), machine) == []
    assert "AVX2" in check(Home(tmp_path), StackOptions(model_file=model, pipelines_dir=tmp_path), machine)[0]
    assert check(Home(tmp_path), StackOptions(model_file=model, pipelines_dir=tmp_path), GOOD_MACHINE) == []


def local_stack(tmp_path: Path, **options: object) -> LocalStack:
    environment = {"PATH": "/bin", "ANTHROPIC_API_KEY": "sk-1", "GEMINI_API_KEY": "g-2", "EVOLINE_GUARDRAIL_PRIVATE_KEY_FILE": "/x"}
    return LocalStack(Home(tmp_path), StackOptions(pipelines_dir=tmp_path, **options), chooser(set()), environment)


def test_only_the_guardrail_is_told_where_the_signing_key_is(tmp_path: Path) -> None:
    stack = local_stack(tmp_path)
    told = {spec.name for spec in stack.nodes() if "EVOLINE_GUARDRAIL_PRIVATE_KEY_FILE" in getattr(spec, "environment", {})}
    assert told == {"guardrail"}
    assert stack.service("guardrail").environment["EVOLINE_GUARDRAIL_PRIVATE_KEY_FILE"] == str(tmp_path / "keys" / "guardrail.key")


def test_only_executors_see_the_providers_keys_and_none_where_they_are_hidden(tmp_path: Path) -> None:
    seen = {spec.name for spec in local_stack(tmp_path).nodes() if "ANTHROPIC_API_KEY" in getattr(spec, "environment", {})}
    assert seen == {"executor-1"}
    hidden = local_stack(tmp_path, provider_keys=False).nodes()
    assert not any("ANTHROPIC_API_KEY" in getattr(spec, "environment", {}) for spec in hidden)


def test_a_cassette_is_put_into_those_that_call_models(tmp_path: Path) -> None:
    nodes = local_stack(tmp_path, cassette="replay:/tapes/a.jsonl", executors=2).nodes()
    told = {spec.name: spec.environment.get("EVOLINE_CASSETTE") for spec in nodes if isinstance(spec, ProcessSpec)}
    assert {name for name, value in told.items() if value} == {"executor-1", "executor-2"}


def test_every_service_waits_for_keys_streams_and_documents(tmp_path: Path) -> None:
    stack = local_stack(tmp_path, executors=3)
    services = [spec for spec in stack.nodes() if spec.name.startswith("executor") or spec.name == "learner"]
    assert len(services) == 4
    assert all(set(spec.after) == {"keys", "streams", "store-users"} for spec in services)
    assert len({getattr(spec, "port", 0) for spec in services}) == 4


def test_a_model_server_is_part_of_the_stack_only_with_a_model_file(tmp_path: Path) -> None:
    with_file = local_stack(tmp_path, model_file=tmp_path / "m.gguf")
    assert "model" in [spec.name for spec in with_file.nodes()]
    assert with_file.service("executor").environment["EVOLINE_LOCAL_MODEL_URL"] == "http://127.0.0.1:8089"
    with_url = local_stack(tmp_path, model_url="http://10.0.0.5:9000")
    assert "model" not in [spec.name for spec in with_url.nodes()]
    assert with_url.service("executor").environment["EVOLINE_LOCAL_MODEL_URL"] == "http://10.0.0.5:9000"


def test_the_broker_writes_every_message_to_disk_and_listens_on_loopback_only(tmp_path: Path) -> None:
    text = nats_config(4222, 8222, tmp_path)
    assert "sync_interval: always" in text
    assert text.count('"127.0.0.1') == 2 and "0.0.0.0" not in text


def test_this_interpreter_is_supported() -> None:
    assert Machine.this(Path("/")).python == sys.version_info[:2]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"ANTHROPIC_API_KEY": "sk"}, False),
        ({"ANTHROPIC_API_KEY": "sk", "GEMINI_API_KEY": "g"}, True),
        ({"EVOLINE_CLAUDE_BASE_URL": "http://a", "GEMINI_API_KEY": "g"}, True),
    ],
)
def test_a_local_model_is_left_out_only_where_both_families_are_served_otherwise(
    environment: dict[str, str], expected: bool
) -> None:
    assert answers_for_itself(environment) is expected


@pytest.mark.parametrize(
    ("given", "tokens"),
    [({}, "128"), ({"EVOLINE_EXECUTOR_ANSWER_TOKENS": "64"}, "64"), ({"ANTHROPIC_API_KEY": "k"}, None)],
    ids=["local", "own", "provider"],
)
def test_answers_are_bounded_where_the_local_model_serves(tmp_path: Path, given: dict[str, str], tokens: str | None) -> None:
    options = StackOptions(pipelines_dir=tmp_path, model_file=tmp_path / "model.gguf")
    stack = LocalStack(Home(tmp_path), options, chooser(set()), {"PATH": "/bin", **given})
    assert stack.service_environment("executor", 1).get("EVOLINE_EXECUTOR_ANSWER_TOKENS") == tokens
