"""Who may use a studio: on this machine everybody, from elsewhere only who has the password or an account.

A password lives in memory alone, as a salted hash. Accounts are those of an OpenID Connect provider, as Streamlit reads
them from `[auth]` in `.streamlit/secrets.toml`; who of them may come in stands there as `allow` under `[thaw]`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import os
import secrets
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from finetune_core import places
from finetune_core.errors import UserError

LOCAL = ("localhost", "127.0.0.1", "::1")  # addresses that only this machine can reach
PASSWORD, LOCK = "THAW_PASSWORD", "THAW_LOCK"  # variables: a password of a person's, and its hash for the server
LEAST = 8  # letters of a password
SECRETS = places.ROOT / ".streamlit" / "secrets.toml"


@dataclass(frozen=True)
class Accounts:
    """The accounts that may come in: by whom they are kept, and the addresses or @domains that are allowed."""

    providers: tuple[str, ...]
    allow: tuple[str, ...]

    def admit(self, user: Mapping[str, Any]) -> bool:
        """Whether this is somebody who may. An address counts only where the provider does not call it unverified."""
        mail = str(user.get("email", "")).lower()
        if not user.get("is_logged_in") or "@" not in mail or user.get("email_verified") is False:
            return False
        return any(each in ("*", mail, f"@{mail.rpartition('@')[2]}") for each in self.allow)


def password(given: str | None, file: Path | None) -> str:
    """The password that was set: given, in a file's first line or in $THAW_PASSWORD; empty where none was."""
    text = given if given is not None else _first_line(file) if file else os.environ.get(PASSWORD)
    if text is not None and len(text) < LEAST:
        why = f"It has {len(text)} letters." if text else "It is empty."
        raise UserError("The password is too short.", why, f"Take {LEAST} letters or more.")
    return text or ""


def hashed(password: str) -> str:
    """A salted hash of a password, as `matches` wants it."""
    salt = secrets.token_bytes(16)
    return f"{_text(salt)}.{_text(_scrypt(password, salt))}"


def matches(password: str, lock: str) -> bool:
    """Whether this is the password of a hash; takes as long whether it is or not."""
    salt, known = (base64.b64decode(part) for part in lock.split("."))
    return hmac.compare_digest(_scrypt(password, salt), known)


def accounts(file: Path = SECRETS) -> Accounts | None:
    """The accounts that may come in; None where no provider was named. A UserError for what is wrong with them."""
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read.", f"{error}.", "Mend it, or remove it.") from error
    auth = tree.get("auth")
    if not auth:
        return None
    if importlib.util.find_spec("authlib") is None:
        hint = "Install it: pip install -r requirements-extras.txt"
        raise UserError("Logging in with an account needs Authlib.", f"{file} names a provider.", hint)
    allow = tuple(str(each).lower() for each in tree.get("thaw", {}).get("allow", ()))
    if not allow:
        why, hint = "Anybody with an account there could come in.", 'Write under [thaw]: allow = ["@school.org"].'
        raise UserError(f"{file} does not say who may come in.", why, hint)
    named = tuple(name for name, section in auth.items() if isinstance(section, dict) and "client_id" in section)
    return Accounts(named or ("default",), allow)


def check(address: str, locked: bool) -> None:
    """A UserError where a studio would be open to everybody who reaches this address."""
    if address not in LOCAL and not locked:
        raise UserError(
            f"The studio may not listen at {address} without a password.",
            "Whoever reaches this machine could read its images and run programs on it.",
            f"Set one in ${PASSWORD} or by --password-file, or name a provider of accounts in {SECRETS.name}.",
        )


def names(address: str, more: tuple[str, ...] = ()) -> list[str]:
    """What a studio at this address may be called in a browser: itself, this machine's names and addresses, and more.

    A page of another name that leads here (DNS rebinding) is refused.
    """
    if address in LOCAL:
        return [*LOCAL, *more]
    own = [each.address.partition("%")[0] for nets in psutil.net_if_addrs().values() for each in nets]
    addresses = [each for each in own if "." in each or ":" in each]
    return list(dict.fromkeys([*LOCAL, address, socket.gethostname(), socket.getfqdn(), *addresses, *more]))


def _first_line(file: Path) -> str:
    try:
        return (file.read_text(encoding="utf-8").splitlines() or [""])[0]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{file} cannot be read.", f"{why}.", "Name a text file with the password in it.") from error


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
