"""What is sealed opens only whole, under its name, with a key of the ring."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import vault
from memory.db import Tx
from memory.vault import NotReadable, Vault

OLD, NEW = b"o" * 32, b"n" * 32
ring = Vault({"k1": OLD})


class TestSeal:
    @settings(deadline=None)
    @given(name=st.text(max_size=50), value=st.binary(max_size=2000))
    def test_opens_to_what_was_sealed(self, name: str, value: bytes):
        assert ring.open(name, ring.seal(name, value)) == value

    def test_never_gives_the_same_twice(self):
        assert ring.seal("token", b"secret") != ring.seal("token", b"secret")

    def test_hides_the_value(self):
        assert b"secret" not in ring.seal("token", b"secret")


class TestOpen:
    def test_refuses_another_name(self):
        with pytest.raises(NotReadable):
            ring.open("mail:2", ring.seal("mail:1", b"secret"))

    def test_refuses_every_changed_byte(self):
        sealed = ring.seal("token", b"secret")
        for position in range(len(sealed)):
            changed = bytearray(sealed)
            changed[position] ^= 1
            with pytest.raises(NotReadable):
                ring.open("token", bytes(changed))

    def test_refuses_every_shortened_value(self):
        sealed = ring.seal("token", b"secret")
        for length in range(len(sealed)):
            with pytest.raises(NotReadable):
                ring.open("token", sealed[:length])

    def test_refuses_a_key_that_only_shares_its_id(self):
        with pytest.raises(NotReadable) as refused:
            Vault({"k1": NEW}).open("token", ring.seal("token", b"secret"))
        assert refused.value.message == "The stored secret token cannot be read with the keys of this vault."
        # The traceback shows no cause that might hold more.
        assert refused.value.__cause__ is None
        assert refused.value.__context__ is None


class TestRotation:
    def test_a_new_key_in_front_seals_and_the_old_one_still_opens(self):
        sealed = ring.seal("token", b"secret")
        rotated = Vault({"k2": NEW, "k1": OLD})
        assert rotated.open("token", sealed) == b"secret"
        assert rotated.is_stale(sealed)
        again = rotated.seal("token", b"secret")
        assert not rotated.is_stale(again)
        assert Vault({"k2": NEW}).open("token", again) == b"secret"

    def test_an_id_that_begins_like_another_is_another(self):
        assert Vault({"k": OLD, "kk": NEW}).is_stale(Vault({"kk": NEW}).seal("token", b""))


class TestVault:
    def test_refuses_an_empty_ring(self):
        with pytest.raises(vault.VaultEmpty):
            Vault({})

    @pytest.mark.parametrize("bad", [{"k1": b"short"}, {"": OLD}, {"k" * 65: OLD}])
    def test_refuses_bad_keys(self, bad: dict[str, bytes]):
        with pytest.raises(ValueError, match="each key"):
            Vault(bad)

    def test_shows_no_key(self):
        assert repr(ring) == "Vault(1 keys)"


class TestSecrets:
    async def test_are_kept_sealed_and_replaced(self, tx: Tx):
        await vault.keep_secret(tx, ring, "fireflies", b"first")
        await vault.keep_secret(tx, ring, "fireflies", b"second")
        assert await vault.read_secret(tx, ring, "fireflies") == b"second"
        assert b"second" not in await tx.one(bytes, "SELECT sealed FROM secrets")

    async def test_are_forgotten(self, tx: Tx):
        await vault.keep_secret(tx, ring, "fireflies", b"first")
        assert await vault.forget_secret(tx, "fireflies")
        assert not await vault.forget_secret(tx, "fireflies")
        with pytest.raises(vault.SecretNotFound):
            await vault.read_secret(tx, ring, "fireflies")

    async def test_are_sealed_anew_after_a_rotation(self, tx: Tx):
        await vault.keep_secret(tx, ring, "a", b"1")
        await vault.keep_secret(tx, ring, "b", b"2")
        rotated = Vault({"k2": NEW, "k1": OLD})
        await vault.keep_secret(tx, rotated, "c", b"3")
        assert await vault.reseal_secrets(tx, rotated) == 2
        assert await vault.reseal_secrets(tx, rotated) == 0
        newest = Vault({"k2": NEW})
        assert [await vault.read_secret(tx, newest, name) for name in "abc"] == [b"1", b"2", b"3"]
