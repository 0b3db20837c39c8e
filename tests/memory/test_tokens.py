"""Tokens are counted without the internet, exactly where the tokenizer is known and never too low elsewhere."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import tiktoken
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st

from memory import tokens

ROOT = Path(tokens.__file__).parent.parent
MAIL = (
    "Hi Dana,\n\nThanks for the quick call on Tuesday. As promised, attached is the revised quote: 24 seats at "
    "$38/seat/month, billed annually ($10,944). Legal still wants the DPA countersigned before 14 Nov.\n\nMarcus\n"
)
SAMPLES = {
    "english": MAIL * 5,
    "german": "Sehr geehrte Frau Müller, die Auftragsbestätigung über die Wartungsverträge schicken wir umgehend. " * 9,
    "polish": "Dzień dobry, chętnie umówimy się na spotkanie, żeby omówić szczegóły wdrożenia. " * 9,
    "russian": "Здравствуйте, мы хотели бы договориться о встрече на следующей неделе. " * 9,
    "chinese": "您好，感谢您的回复。我们希望下周安排一次会议，讨论合同续签和价格调整的问题。" * 9,
    "japanese": "お世話になっております。契約更新の件について、来週お打ち合わせをお願いできますでしょうか。" * 9,
    "hindi": "नमस्ते, आपके उत्तर के लिए धन्यवाद। हम अगले सप्ताह बैठक करना चाहेंगे। " * 9,
    "emoji": "🎉👍🏽🚀 great work 👩‍💻 " * 9,
    "capitals": "RE: URGENT - INVOICE PAST DUE - PLEASE REMIT PAYMENT IMMEDIATELY " * 9,
    "code": "def total(rows: list[dict[str, int]]) -> int:\n    return sum(row['amount_cents'] for row in rows)\n" * 9,
    "markup": '<div class="MsoNormal" style="margin:0in;font-size:11pt"><span>Hello</span></div>\n' * 9,
    "keys": "https://app.example.com/x?tok=8fA9kQzPm2RrZt4vYw1LbNcXs7HdGjKe&z=%20abc-def_ghi " * 9,
}


def run_alone(program: str, **environment: str) -> str:
    """Run a program in a fresh interpreter that cannot open a socket, and answer with what it printed."""
    shut = "import socket\ndef closed(*a, **k): raise AssertionError('a socket')\nsocket.socket.connect = closed\n"
    shut += "socket.getaddrinfo = socket.create_connection = closed\n"
    done = subprocess.run(
        [sys.executable, "-c", shut + dedent(program)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestUnpackRanks:
    def test_fills_an_empty_cache_without_a_socket(self, tmp_path: Path) -> None:
        said = run_alone(
            "from memory import tokens; print(tokens.count('The quick brown fox'), tokens.unpack_ranks())",
            TIKTOKEN_CACHE_DIR=str(tmp_path),
        )
        assert said == f"4 {tmp_path}"
        assert {hashlib.sha256(file.read_bytes()).hexdigest()[:8] for file in tmp_path.iterdir()} == {
            "446a9538",
            "223921b7",
        }

    def test_mends_a_damaged_cache_without_a_socket(self, tmp_path: Path) -> None:
        damaged = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
        damaged.write_bytes(b"aGk= 0\n")
        said = run_alone(
            "from memory import tokens; print(tokens.count('The quick brown fox'))", TIKTOKEN_CACHE_DIR=str(tmp_path)
        )
        assert said == "4"
        assert damaged.stat().st_size > 3_000_000

    def test_lets_other_libraries_count_offline(self, tmp_path: Path) -> None:
        said = run_alone(
            """
            from memory import tokens
            import tiktoken
            tokens.unpack_ranks()
            print(len(tiktoken.encoding_for_model("gpt-4o").encode("Hello there")))
            """,
            TIKTOKEN_CACHE_DIR=str(tmp_path),
        )
        assert said == "2"

    def test_estimates_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("")
        said = run_alone(
            """
            import tempfile
            from memory import tokens
            tempfile.tempdir = "/proc/nowhere"
            print(tokens.count("The quick brown fox"), tokens.is_exact("gpt-4o"))
            """,
            TIKTOKEN_CACHE_DIR=str(in_the_way),
        )
        assert said == "5 False"


class TestCount:
    @pytest.mark.parametrize("sample", SAMPLES)
    def test_agrees_with_the_tokenizer_of_a_known_model(self, sample: str) -> None:
        text = SAMPLES[sample]
        tokens.unpack_ranks()
        for model in ("gpt-4o-mini", "openai/gpt-4.1", "text-embedding-3-small"):
            tokenizer = tiktoken.encoding_for_model(model.rsplit("/", 1)[-1])
            assert tokens.count(text, model) == len(tokenizer.encode_ordinary(text))
            assert tokens.is_exact(model)

    @pytest.mark.parametrize("sample", SAMPLES)
    def test_errs_high_for_a_model_it_does_not_know(self, sample: str) -> None:
        text = SAMPLES[sample]
        known = max(tokens.count(text, "gpt-4o"), tokens.count(text, "gpt-4"))
        assert not tokens.is_exact("some-local-model")
        assert known < tokens.count(text, "some-local-model") < known * 1.5
        assert tokens.estimate(text) >= known

    def test_takes_reserved_words_for_text(self) -> None:
        assert tokens.count("<|endoftext|>") > 1

    @pytest.mark.parametrize("letter", ["x", " ", "\n", "漢"])
    def test_counts_a_hostile_megabyte(self, letter: str) -> None:
        assert tokens.count(letter * 1_000_000) > 7_000

    def test_counts_a_long_text_as_the_tokenizer_does(self) -> None:
        text = MAIL * 600
        whole = len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))
        assert abs(tokens.count(text) - whole) <= len(text) // 32_768 + 1

    def test_opens_no_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def closed(*_: object, **__: object) -> None:
            raise AssertionError("a socket was opened")

        monkeypatch.setattr(socket.socket, "connect", closed)
        monkeypatch.setattr(socket, "getaddrinfo", closed)
        assert tokens.count("Hello there", "gpt-4o") == 2
        assert tokens.count("Hello there", "gpt-4") == 2
        assert tokens.count("Hello there", "unheard-of") == 3


class TestCap:
    @settings(max_examples=60, deadline=None)
    @having(text=st.text(max_size=300), limit=st.integers(0, 60), model=st.sampled_from([None, "gpt-4", "unknown"]))
    def test_keeps_a_beginning_within_the_limit(self, text: str, limit: int, model: str | None) -> None:
        kept = tokens.cap(text, limit, model)
        assert text.startswith(kept)
        assert tokens.count(kept, model) <= limit

    @pytest.mark.parametrize("sample", SAMPLES)
    def test_uses_what_it_may(self, sample: str) -> None:
        assert 38 <= tokens.count(tokens.cap(SAMPLES[sample], 40)) <= 40

    def test_leaves_a_short_text_alone(self) -> None:
        assert tokens.cap(MAIL, 1000) == MAIL
        assert tokens.cap(MAIL, tokens.count(MAIL)) == MAIL

    def test_cuts_a_long_text_across_windows(self) -> None:
        assert tokens.count(tokens.cap(MAIL * 600, 20_000)) in range(19_990, 20_001)
