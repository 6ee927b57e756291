"""A key is seen by whoever reveals it, and by nobody else."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import subprocess
import sys
import traceback

import pytest

from tests.tools.patience import PATIENCE_S
from waxlocal import ObserveConfig
from waxlocal.encode import dumps
from waxlocal.errors import ConfigurationError
from waxlocal.settings.secret import Secret

KEY = "wax_sk_canary_7d1f"


def test_the_key_comes_out_when_asked_for() -> None:
    """What was put in is revealed, without the white space that files and pasting add."""
    assert Secret(f" \t{KEY}\r\n").reveal() == KEY
    assert Secret(Secret(KEY)).reveal() == KEY
    assert Secret("clé").header() == b"cl\xe9"


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        "{}".format,
        "{!r:>30}".format,
        "{:^40}".format,
        lambda secret: f"{secret} {secret!r} {secret!s} {secret:>20}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: repr([secret, {"key": secret}, (secret,)]),
        pprint.pformat,
        dumps,
        lambda secret: dumps({"key": secret}),
        lambda secret: json.dumps({"key": secret}, default=str),
    ],
)
def test_text_forms_say_only_that_it_is_set(shown: object) -> None:
    """Every way to make text of it gives `Secret(set)`."""
    assert callable(shown)
    said = shown(Secret(KEY))
    assert KEY not in said
    assert "Secret(set)" in said


@pytest.mark.parametrize(
    "written", [pickle.dumps, json.dumps, vars, lambda secret: secret.__getstate__()]
)
def test_it_is_not_written_down(written: object) -> None:
    """What would store its insides is refused, and the refusal does not hold the key."""
    assert callable(written)
    with pytest.raises(TypeError) as refused:
        written(Secret(KEY))
    assert KEY not in str(refused.value)


def test_a_copy_is_itself() -> None:
    """Copying settings does not take the key out of its wrapping."""
    secret = Secret(KEY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_logging_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    """Neither as an argument nor as an extra of a record."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("any").debug("key %s %r", Secret(KEY), {"key": Secret(KEY)})
    assert "Secret(set)" in caplog.text
    assert KEY not in caplog.text


def test_tracebacks_with_variables_do_not_show_it() -> None:
    """A traceback that prints the variables of its frames shows no key, not even a refused one."""

    def fail(secret: Secret) -> None:
        secret.checked("the test")
        raise RuntimeError("failed")

    for secret in (Secret(KEY), Secret.unchecked(KEY + "\n" + KEY)):
        with pytest.raises((RuntimeError, ConfigurationError)) as failed:
            fail(secret)
        whole = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
        said = "".join(whole.format())
        assert "secret = Secret(set)" in said
        assert KEY not in said


@pytest.mark.parametrize("bad", [f"{KEY}\n{KEY}", f"{KEY}\0", f"{KEY}\x7f", f"{KEY}\x85x"])
def test_control_characters_are_refused(bad: str) -> None:
    """A key that would break a header is refused, in words that do not hold it."""
    with pytest.raises(ConfigurationError, match="control character") as refused:
        Secret(bad)
    assert KEY not in repr(refused.value) + refused.value.hint


@pytest.mark.parametrize("bad", [f"{KEY}\u2019", "ключ", "\ud800"])
def test_characters_beyond_latin_are_refused(bad: str) -> None:
    """So is one with characters that no header can carry, a curly quote for example."""
    with pytest.raises(ConfigurationError, match="outside Latin-1") as refused:
        Secret(bad)
    whole = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    assert KEY not in str(refused.value) + repr(whole.stack[-1].locals)


def test_comparison_is_by_characters() -> None:
    """Equal to the same key, as a secret or as text of any alphabet; unequal to all else."""
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) == KEY
    assert Secret(KEY) != KEY + "x"
    assert Secret(KEY) != KEY[:-1]
    assert Secret(KEY) != "ключ\ud800"
    assert Secret(KEY) != 5
    assert Secret("") == ""


def test_an_empty_key_is_false() -> None:
    """White space is not a key."""
    assert Secret(KEY)
    assert not Secret()
    assert not Secret(" \n")
    assert repr(Secret()) == "Secret(not set)"


def test_the_configuration_of_a_program_does_not_show_its_key() -> None:
    """`ObserveConfig` gives the key as an attribute; its text and its variables do not have it."""
    config = ObserveConfig("https://acme.waxell.dev", f"{KEY}\n")
    assert config.api_key == KEY
    assert config.is_configured
    assert KEY not in repr(config) + repr(vars(config)) + str(config)
    config.api_key = "other"
    assert config == ObserveConfig("https://acme.waxell.dev", "other")


def test_an_unusable_key_does_not_stop_a_program() -> None:
    """Whoever only records may give any key; it is refused where it would be sent."""
    assert ObserveConfig(api_key="a\nb").is_configured is False
    with pytest.raises(ConfigurationError):
        Secret.unchecked("a\nb").checked()


def test_a_variable_of_the_environment_counts_without_white_space(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`WAXELL_*` before `WAX_*`; a blank variable is as good as none."""
    monkeypatch.setenv("WAXELL_API_KEY", "  ")
    monkeypatch.setenv("WAX_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("WAXELL_API_URL", "https://a")
    monkeypatch.setenv("WAX_API_URL", "https://b")
    config = ObserveConfig.from_env()
    assert (config.api_url, config.api_key) == ("https://a", KEY)


def test_importing_waxlocal_reads_no_settings_of_the_upload() -> None:
    """Recording needs neither the profile's parser nor the comparison of keys."""
    program = "import sys, waxlocal; print(*{'configparser', 'hmac', 'httpx'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.strip() == ""
