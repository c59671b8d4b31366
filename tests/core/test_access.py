"""Who may come in: passwords, accounts, addresses, names."""

import importlib.util
import json
from pathlib import Path

import pytest
from streamlit.web.server.starlette import starlette_app_utils, starlette_websocket

from finetune_core import access
from finetune_core.cli import main
from finetune_core.errors import UserError
from pages.ui.frame.door import Account

ACCOUNTS = access.Accounts(("default",), ("ana@home.org", "@school.org"))


def test_a_password_is_known_by_a_salted_hash_alone() -> None:
    one, other = access.hashed("open sesame"), access.hashed("open sesame")
    assert one != other
    assert "sesame" not in one
    assert access.matches("open sesame", one)
    assert access.matches("open sesame", other)
    assert not access.matches("open Sesame", one)
    assert not access.matches("", one)


def test_a_password_comes_from_flag_file_or_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("from the file\nsecond line\n")
    monkeypatch.setenv("THAW_PASSWORD", "from the variable")
    assert access.password(None, None) == "from the variable"
    assert access.password(None, tmp_path / "password") == "from the file"
    assert access.password("from the flag", tmp_path / "password") == "from the flag"
    monkeypatch.delenv("THAW_PASSWORD")
    assert access.password(None, None) == ""
    for given, file in (("short", None), ("", None), (None, tmp_path / "none"), (None, tmp_path)):
        with pytest.raises(UserError):
            access.password(given, file)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_other_addresses_are_refused_without_a_key(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studio", "--address", address]) == 2
    assert "without a password" in capsys.readouterr().err
    access.check(address, locked=True)


def test_a_studio_goes_by_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.names("127.0.0.1") == ["localhost", "127.0.0.1", "::1"]
    monkeypatch.setattr("socket.gethostname", lambda: "lab-pc")
    found = access.names("0.0.0.0", ("thaw.school.org",))
    assert {"lab-pc", "thaw.school.org", "localhost"} <= set(found)
    assert not any("*" in name for name in found)


def secrets(tmp_path: Path, text: str) -> Path:
    (tmp_path / "secrets.toml").write_text(text)
    return tmp_path / "secrets.toml"


AUTH = '[auth]\nredirect_uri = "http://localhost/oauth2callback"\ncookie_secret = "x"\nclient_id = "me"\n'


def test_accounts_need_authlib_and_a_list_of_who_may_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.accounts(tmp_path / "none.toml") is None
    assert access.accounts(secrets(tmp_path, "[other]\nkey = 1\n")) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs Authlib"):
        access.accounts(secrets(tmp_path, AUTH))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    with pytest.raises(UserError, match="does not say who may come in"):
        access.accounts(secrets(tmp_path, AUTH))
    with pytest.raises(UserError, match="cannot be read"):
        access.accounts(secrets(tmp_path, "[auth"))
    allowed = '[thaw]\nallow = ["Ana@home.org", "@school.org"]\n'
    assert access.accounts(secrets(tmp_path, AUTH + allowed)) == ACCOUNTS
    several = '[auth.google]\nclient_id = "g"\n[auth.school]\nclient_id = "s"\n'
    found = access.accounts(secrets(tmp_path, several + allowed))
    assert found
    assert found.providers == ("google", "school")


@pytest.mark.parametrize(
    ("user", "admitted"),
    [
        ({"email": "ana@home.org"}, True),
        ({"email": "Bob@School.org"}, True),
        ({"email": "bob@school.org.evil.example"}, False),
        ({"email": "eve@evil.example"}, False),
        ({"email": "bob@school.org", "email_verified": False}, False),
        ({"email": "bob@school.org", "is_logged_in": False}, False),
        ({"email": ""}, False),
        ({"name": "ana@home.org"}, False),
    ],
)
def test_only_accounts_on_the_list_fit_and_only_with_the_servers_signature(
    user: dict[str, object], admitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (starlette_websocket,):
        monkeypatch.setattr(module, "get_cookie_secret", lambda: "the server's")
    text, key = json.dumps({"is_logged_in": True, **user}), Account(ACCOUNTS)

    def signed(secret: str) -> dict[str, str]:
        return {"_streamlit_user": starlette_app_utils.create_signed_value(secret, "_streamlit_user", text).decode()}

    assert key.fits(signed("the server's")) is admitted
    assert not key.fits(signed("a guess"))
    assert not key.fits({"_streamlit_user": text})
    assert not key.fits({})
