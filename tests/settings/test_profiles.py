"""`~/.waxell/config` is read as Waxell's own tools read it, and its faults are told."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from tests.tools.patience import PATIENCE_S
from waxlocal.errors import ConfigurationError
from waxlocal.settings.profiles import Profile, load_profile

KEY = "wax_sk_canary_7d1f"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return where the file of the home `tmp_path` is; its directory exists."""
    path = tmp_path / ".waxell" / "config"
    path.parent.mkdir()
    return path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file with a mode."""
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def refusal(home: Path, name: str = "", named_by: str = "") -> ConfigurationError:
    """Return the error that reading raises, after a look for the key in all that it holds."""
    with pytest.raises(ConfigurationError) as refused:
        load_profile(name, named_by=named_by, home=home)
    error = refused.value
    assert error.__cause__ is None
    assert error.__context__ is None
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert KEY not in "".join(whole.format())
    assert KEY not in error.hint
    return error


TWO = f"""
[default]
api_url = https://acme.waxell.dev
api_key = {KEY}

[staging]
API_URL: https://staging.waxell.dev
api_key = other
"""


def test_no_file_is_fine(tmp_path: Path) -> None:
    """Without a file the profile is empty."""
    assert load_profile(home=tmp_path) == Profile()


def test_the_default_profile_is_read(tmp_path: Path, config: Path) -> None:
    """Address and key of `[default]`, and where they were found."""
    write(config, TWO)
    profile = load_profile(home=tmp_path)
    assert (profile.api_url, profile.api_key.reveal()) == ("https://acme.waxell.dev", KEY)
    assert profile.origin == "~/.waxell/config [default]"
    assert profile.notes == ()
    assert KEY not in repr(profile)


def test_a_named_profile_is_read(tmp_path: Path, config: Path) -> None:
    """The name decides; option names may be in any case, and `:` is as good as `=`."""
    write(config, TWO)
    assert load_profile("staging", home=tmp_path).api_url == "https://staging.waxell.dev"


def test_the_chosen_profile_is_read(tmp_path: Path, config: Path) -> None:
    """`[wax] profile` is the choice of Waxell's command, and no profile itself."""
    write(config, f"[wax]\nprofile = staging\n{TWO}")
    assert load_profile(home=tmp_path).origin == "~/.waxell/config [staging]"
    assert load_profile("default", home=tmp_path).origin == "~/.waxell/config [default]"
    assert "no profile [wax]" in str(refusal(tmp_path, "wax"))


def test_without_a_default_the_first_profile_counts(tmp_path: Path, config: Path) -> None:
    """A file with one profile of any name needs no choice."""
    write(config, "[wax]\ntheme = dark\n[only]\napi_key = k\n")
    assert load_profile(home=tmp_path).origin == "~/.waxell/config [only]"


@pytest.mark.parametrize("text", ["", "# nothing\n", "[wax]\n", "[default]\n"])
def test_a_file_without_settings_is_fine(tmp_path: Path, config: Path, text: str) -> None:
    """An empty file gives an empty profile."""
    write(config, text)
    profile = load_profile(home=tmp_path)
    assert (profile.api_url, bool(profile.api_key)) == ("", False)


def test_the_same_is_read_as_by_the_original(tmp_path: Path, config: Path) -> None:
    """The published SDK, in a process whose home this is, finds the same address and key."""
    write(
        config, "[wax]\nprofile = b\n[a]\napi_key = 1\n[b]\napi_url=https://x/%%7e\napi_key= k ; 1"
    )
    program = (
        "from waxell_observe.config import ObserveConfig as C\n"
        "c = C.from_cli_config(); print(c.api_url, c.api_key, sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    profile = load_profile(home=tmp_path)
    assert done.stdout.strip() == f"{profile.api_url}|{profile.api_key.reveal()}"
    assert profile.api_url == "https://x/%7e"


def test_a_percent_sign_in_a_key_is_a_percent_sign(tmp_path: Path, config: Path) -> None:
    """What INI files would take for a reference is taken as it stands."""
    write(config, "[default]\napi_key = a%b%(c)s\n")
    assert load_profile(home=tmp_path).api_key.reveal() == "a%b%(c)s"


def test_a_byte_order_mark_does_not_matter(tmp_path: Path, config: Path) -> None:
    """Editors put one at the beginning."""
    write(config, "\ufeff" + TWO)
    assert load_profile(home=tmp_path).api_key.reveal() == KEY


def test_a_profile_that_is_not_there_is_an_error(tmp_path: Path, config: Path) -> None:
    """No other tenant's key takes its place; the error says who named it and what there is."""
    write(config, TWO)
    error = refusal(tmp_path, "prod", "WAX_PROFILE")
    assert str(error) == f"{config} has no profile [prod], which WAX_PROFILE names"
    assert error.hint == "its profiles are: default, staging"
    write(config, f"[wax]\nprofile = gone\n{TWO}")
    assert "[gone], which [wax] profile names" in str(refusal(tmp_path))


def test_a_profile_without_a_file_is_an_error(tmp_path: Path) -> None:
    """Whoever names a profile expects a file."""
    assert "~/.waxell/config does not exist" in str(refusal(tmp_path, "prod", "WAX_PROFILE"))


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (f"api_key = {KEY}\n", 1, "precedes the first [profile]"),
        (f"[default]\napi_url = u\n{KEY}\n", 3, "is not name = value"),
        (f"[default]\napi_key = 1\napi_key = {KEY}\n", 3, "api_key is set twice in [default]"),
        (f"[default]\napi_key = {KEY}\n[default]\n", 3, "[default] appears twice"),
        (f"[a]\napi_key = b\n[default]\n# k\napi_key = {KEY}\n  {KEY}\n", 5, "control character"),
        (f"[default]\nAPI_KEY = {KEY}\u2019\n", 2, "outside Latin-1"),
        (f"[default]\napi_key = {KEY}\nallow_http = perhaps\n", 3, "allow_http is 'perhaps'"),
    ],
)
def test_faults_name_file_and_line(
    tmp_path: Path, config: Path, text: str, line: int, what: str
) -> None:
    """A fault is told with its place, and never by showing the line."""
    write(config, text)
    error = refusal(tmp_path)
    assert str(error).startswith(f"{config}:{line}: ")
    assert what in str(error)
    assert error.hint


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path, config: Path) -> None:
    """So is a directory in its place."""
    config.write_bytes(b"\xff\xfe" + KEY.encode("utf-16"))
    config.chmod(0o600)
    assert "not UTF-8" in str(refusal(tmp_path))
    config.unlink()
    config.mkdir()
    assert "Is a directory" in str(refusal(tmp_path))


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)])
def test_a_file_that_others_can_read_is_told(
    tmp_path: Path, config: Path, mode: int, told: int
) -> None:
    """It is used, with a note that says what to type."""
    write(config, TWO, mode)
    profile = load_profile(home=tmp_path)
    assert profile.api_key.reveal() == KEY
    assert len(profile.notes) == told
    assert all("chmod 600 ~/.waxell/config" in note for note in profile.notes)


def test_plain_http_is_allowed_by_a_word(tmp_path: Path, config: Path) -> None:
    """`allow_http` is off unless the profile says yes."""
    write(config, "[default]\n[hub]\nallow_http = Yes\n[off]\nallow_http = 0\n")
    allowed = [load_profile(name, home=tmp_path).allow_http for name in ("default", "hub", "off")]
    assert allowed == [False, True, False]
