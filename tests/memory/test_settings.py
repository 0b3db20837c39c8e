"""What the environment may say, and what is said back when it is wrong."""

import itertools
import re
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dotenv import dotenv_values

from memory import settings
from memory.settings import Misconfigured, Settings

ROOT = Path(__file__).parents[2]
KEY = "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U="


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(settings.variable(field), raising=False)
    monkeypatch.chdir(tmp_path)


class TestSettings:
    def test_reads_conventional_names_and_its_own_prefix(self, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush@db/x")
        monkeypatch.setenv("RAINMAKER_PORT", "8123")
        read = settings.read_settings()
        assert read.port == 8123
        assert read.database_url is not None
        assert read.database_url.get_secret_value() == "postgresql://u:hush@db/x"

    def test_shows_no_secret(self, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush@db/x")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-hush")
        assert "hush" not in repr(settings.read_settings())

    def test_reads_the_file_but_lets_the_environment_win(self, monkeypatch, tmp_path):
        (tmp_path / ".env").write_text("RAINMAKER_PORT=8111\nRAINMAKER_HOST=0.0.0.0\n")
        monkeypatch.setenv("RAINMAKER_PORT", "8222")
        read = settings.read_settings()
        assert (read.port, read.host, read.url) == (8222, "0.0.0.0", "http://127.0.0.1:8222")

    def test_takes_an_empty_value_for_none(self, monkeypatch):
        monkeypatch.setenv("DATABASE_URL", "")
        assert settings.read_settings().database_url is None

    def test_splits_words_at_commas(self, monkeypatch):
        monkeypatch.setenv("RAINMAKER_CORS_ORIGINS", "http://a.test , http://b.test,")
        assert settings.read_settings().cors_origins == ("http://a.test", "http://b.test")

    def test_reads_prices_as_json(self, monkeypatch):
        monkeypatch.setenv("RAINMAKER_MODEL_PRICES", '{"small": [0.1, 0.4]}')
        assert settings.read_settings().model_prices == {"small": (0.1, 0.4)}

    @pytest.mark.parametrize(
        ("name", "engine"), [("OPENAI_API_KEY", "openai"), ("OPENAI_BASE_URL", "openai"), ("RAINMAKER_PORT", "rules")]
    )
    def test_answers_by_rules_unless_a_model_is_given(self, monkeypatch, name, engine):
        monkeypatch.setenv(name, "8000")
        assert settings.read_settings().model_engine == engine

    def test_cannot_be_changed(self):
        with pytest.raises(ValueError, match="frozen"):
            settings.read_settings().port = 1

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("RAINMAKER_PORT", "99999", "RAINMAKER_PORT: input should be less than or equal to 65535"),
            ("RAINMAKER_JWT_SECRET", "hush", "RAINMAKER_JWT_SECRET: must have at least 32 characters"),
            (
                "RAINMAKER_VAULT_KEYS",
                "k1:hush",
                "RAINMAKER_VAULT_KEYS: each key is an id, a colon and 32 bytes in base64",
            ),
            ("RAINMAKER_PROMPT_WRITE_ROLES", "admin,hush", "RAINMAKER_PROMPT_WRITE_ROLES: there is no role hush"),
        ],
    )
    def test_says_what_is_wrong_in_one_sentence(self, monkeypatch, name, value, said):
        monkeypatch.setenv(name, value)
        with pytest.raises(Misconfigured) as refusal:
            settings.read_settings()
        assert str(refusal.value) == f"The configuration is not valid: {said}."


class TestMadeSecrets:
    def test_survive_a_restart(self):
        first, second = settings.read_settings(), settings.read_settings()
        assert first.jwt_secret == second.jwt_secret
        assert first.key_ring == second.key_ring
        assert len(first.key_ring["k1"]) == 32

    def test_are_readable_by_their_owner_alone(self):
        settings.read_settings()
        assert stat.S_IMODE(Path(".rainmaker/secrets.json").stat().st_mode) == 0o600

    def test_give_way_to_given_ones(self):
        read = settings.read_settings(jwt_secret="x" * 32, vault_keys=f"new:{KEY},old:{KEY}")
        assert list(read.key_ring) == ["new", "old"]
        assert not Path(".rainmaker").exists()

    def test_are_the_same_for_all_who_start_at_once(self):
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda _: settings.read_settings().jwt_secret, range(16)))
        assert len({secret.get_secret_value() for secret in read if secret}) == 1

    def test_say_when_they_cannot_be_kept(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(Misconfigured, match=r"secrets cannot be kept in .*file"):
            settings.read_settings(data=tmp_path / "file")


class TestEnvExample:
    def test_names_every_setting_and_no_other(self):
        offered = dotenv_values(ROOT / ".env.example")
        assert set(offered) == {settings.variable(field) for field in Settings.model_fields}

    def test_gives_the_defaults(self, tmp_path):
        defaults = Settings()
        shutil.copy(ROOT / ".env.example", tmp_path / ".env")
        assert Settings() == defaults

    def test_describes_each(self):
        lines = (ROOT / ".env.example").read_text().splitlines()
        described = {
            line.partition("=")[0]: before.removeprefix("# ")
            for before, line in itertools.pairwise(lines)
            if re.match(r"[A-Z_]+=", line)
        }
        assert described == {
            settings.variable(name): field.description for name, field in Settings.model_fields.items()
        }


class TestReadme:
    def test_has_every_setting_in_its_table(self):
        rows = re.findall(
            r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
        )
        offered = dotenv_values(ROOT / ".env.example")
        described = {settings.variable(name): field.description for name, field in Settings.model_fields.items()}
        assert {name: (default, meaning) for name, default, meaning in rows} == {
            name: (offered[name], description) for name, description in described.items()
        }
