"""Prices in the file: looked up, set, withdrawn, and the costs that follow them."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.tools.patience import PATIENCE_S
from tests.tools.short_waits import impatient_commands
from waxlocal.clock import utc_text
from waxlocal.errors import FileMissing, InvalidQuery, NotFound
from waxlocal.prices.lookup import NOTE_MODEL, Prices
from waxlocal.prices.table import (
    Repriced,
    list_prices,
    price_pending,
    reprice,
    set_price,
    unset_price,
)
from waxlocal.storage.connection import open_writer, reader

NOON_NS = 1_769_860_800_000_000_000  # 2026-01-31T12:00:00Z
HOUR_NS = 3_600_000_000_000


class StoppedClock:
    def __init__(self, hours: float = 0.0) -> None:
        self.ns = NOON_NS + int(hours * HOUR_NS)

    def time_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "waxlocal.db"
    with closing(open_writer(path)) as connection:
        connection.execute(
            "INSERT INTO runs (run_id, agent_name, workflow_name, session_id, trace_id,"
            " interaction_mode, status, started_at)"
            " VALUES ('r', 'a', 'a', 's', 't', 'interactive', 'success', '2026')"
        )
    return path


@pytest.fixture
def file(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_writer(path)) as connection:
        yield connection


ADD_CALL = """
INSERT INTO llm_calls (run_id, position, recorded_at, model, provider, task, tokens_in, tokens_out,
  cached_tokens, cache_write_tokens, cost, cost_source, is_streaming, status)
VALUES ('r', (SELECT count(*) FROM llm_calls), '2026', ?, ?, '', ?, ?, 0, 0, ?, ?, 0, 'ok')
"""


def record(
    file: sqlite3.Connection,
    model: str,
    *,
    provider: str = "openai",
    tokens: tuple[int, int] = (1000, 500),
    cost: float | None = None,
    source: str | None = None,
    hours: float = 0.0,
) -> None:
    """Write a call as a recorder does that knows no price, and note its model."""
    file.execute(ADD_CALL, (model, provider, *tokens, cost, source))
    if cost is None:
        note(file, model, provider, hours)


def note(file: sqlite3.Connection, model: str, provider: str = "openai", hours: float = 0) -> None:
    file.execute(NOTE_MODEL, (model, provider, utc_text(StoppedClock(hours).ns)))


def costs(file: sqlite3.Connection) -> list[Any]:
    return file.execute("SELECT cost, cost_source FROM llm_calls ORDER BY position").fetchall()


def sources(file: sqlite3.Connection) -> dict[str, str]:
    return dict(file.execute("SELECT model, source FROM model_prices").fetchall())


def session_cost(file: sqlite3.Connection) -> Any:
    return file.execute("SELECT total_cost, priced_calls, llm_calls FROM sessions").fetchone()


def test_pending_models_get_a_price_and_their_calls_a_cost(
    path: Path, file: sqlite3.Connection
) -> None:
    """What waits is priced once: calls, price rows and the session's totals."""
    record(file, "gpt-4o")
    record(file, "gpt-4o-mini")
    record(file, "no-such-model")
    assert price_pending(path) == 2
    assert costs(file) == [(0.0075, "price"), (0.00045, "price"), (None, None)]
    assert session_cost(file) == (pytest.approx(0.00795), 2, 3)
    by_model = sources(file)
    assert by_model["gpt-4o"].startswith("genai-prices ")
    assert by_model["no-such-model"] == "unknown"
    assert price_pending(path) == 0


def test_a_call_recorded_while_its_price_was_looked_up_is_priced_by_the_next_command(
    path: Path, file: sqlite3.Connection
) -> None:
    """A process that still knows no price notes the model again; nothing stays behind."""
    record(file, "gpt-4o")
    assert price_pending(path) == 1
    record(file, "gpt-4o")
    assert price_pending(path) == 1
    assert costs(file) == [(0.0075, "price"), (0.0075, "price")]


def test_pricing_that_was_cut_off_is_finished_by_the_next_command(
    path: Path, file: sqlite3.Connection
) -> None:
    """A row with a price that is still pending means that calls of it may lack their cost."""
    record(file, "gpt-4o")
    record(file, "gpt-4o", cost=0.0075, source="price")
    file.execute("UPDATE model_prices SET input_per_mtok = 2.5, output_per_mtok = 10")
    assert price_pending(path) == 1
    assert costs(file) == [(0.0075, "price"), (0.0075, "price")]
    assert sources(file)["gpt-4o"].startswith("genai-prices ")


def test_costs_given_by_the_program_and_known_costs_stay(
    path: Path, file: sqlite3.Connection
) -> None:
    """Pricing what is pending fills in costs, it changes none."""
    record(file, "gpt-4o", cost=0.5, source="call")
    record(file, "gpt-4o", cost=0.25, source="price")
    record(file, "gpt-4o")
    assert price_pending(path) == 1
    assert costs(file) == [(0.5, "call"), (0.25, "price"), (0.0075, "price")]


def test_more_calls_than_one_transaction_takes_are_all_priced(
    path: Path, file: sqlite3.Connection
) -> None:
    """Every call is priced, however many batches it takes."""
    file.execute("BEGIN")
    rows = (("gpt-4o", "openai", 1000, 500, None, None) for _ in range(5_001))
    file.executemany(ADD_CALL.replace("(SELECT count(*) FROM llm_calls)", "abs(random())"), rows)
    note(file, "gpt-4o")
    file.execute("COMMIT")
    assert price_pending(path) == 5_001
    assert session_cost(file) == (pytest.approx(37.5075), 5_001, 5_001)


def test_what_was_looked_up_a_day_ago_is_looked_up_again(
    path: Path, file: sqlite3.Connection
) -> None:
    """An unknown model, and a listed price, are asked for anew after a day and not before."""
    record(file, "gpt-4o")
    record(file, "gpt-4o-mini", cost=1.0, source="price")
    stale = utc_text(NOON_NS)
    file.execute("UPDATE model_prices SET source = 'unknown', updated_at = ?", (stale,))
    file.execute(
        "INSERT INTO model_prices (model, provider, input_per_mtok, output_per_mtok, source,"
        " updated_at) VALUES ('gpt-4o-mini', 'openai', 99, 99, 'genai-prices 0.0.1', ?)",
        (stale,),
    )
    assert price_pending(path, StoppedClock(hours=23)) == 0
    assert sources(file) == {"gpt-4o": "unknown", "gpt-4o-mini": "genai-prices 0.0.1"}
    assert price_pending(path, StoppedClock(hours=25)) == 1
    assert costs(file) == [(0.0075, "price"), (1.0, "price")]
    with reader(path) as connection:
        prices = Prices()
        prices.load(connection)
    assert prices.cost("gpt-4o-mini", "openai", 1000, 500) == 0.00045


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    """Pricing a file that does not exist does nothing, and leaves no file."""
    assert price_pending(tmp_path / "none.db") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """Pricing something else than a database does nothing to it."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at" * 40)
    before = path.read_bytes()
    assert price_pending(path) == 0
    assert path.read_bytes() == before


def test_a_locked_file_is_left_for_later(path: Path, file: sqlite3.Connection) -> None:
    """While another process holds the file nothing is priced, and the model stays pending."""
    record(file, "gpt-4o")
    file.execute("BEGIN IMMEDIATE")
    assert price_pending(path) == 0
    with pytest.MonkeyPatch.context() as patch:
        impatient_commands(patch)
        assert price_pending(path, wait=None) == 0
    file.execute("ROLLBACK")
    assert sources(file) == {"gpt-4o": "pending"}
    assert price_pending(path) == 1


def test_nothing_pending_loads_no_price_list(path: Path, file: sqlite3.Connection) -> None:
    """The usual case, nothing to look up, does not import the library."""
    record(file, "gpt-4o")
    assert price_pending(path) == 1
    code = (
        "import sys; from pathlib import Path; from waxlocal.prices.table import price_pending\n"
        "print(price_pending(Path(sys.argv[1])), 'genai_prices' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "0 False\n"


def test_a_price_set_by_hand_recomputes_the_calls_of_its_model(
    path: Path, file: sqlite3.Connection
) -> None:
    """Setting a price without a provider reaches all providers, and no cost of the program's."""
    record(file, "gpt-4o", cost=0.5, source="call")
    record(file, "gpt-4o")
    record(file, "gpt-4o", provider="azure")
    record(file, "gpt-4o-mini")
    price_pending(path)
    done = set_price(path, "gpt-4o", input_per_mtok=1, output_per_mtok=4)
    assert done == Repriced(calls=2, changed=2, before=0.015, after=0.006)
    assert [cost for cost, _source in costs(file)] == [0.5, 0.003, 0.003, 0.00045]
    assert session_cost(file)[0] == pytest.approx(0.50645)


def test_a_price_set_for_one_provider_leaves_the_others(
    path: Path, file: sqlite3.Connection
) -> None:
    """A price for a model at one provider recomputes only the calls made there."""
    record(file, "gpt-4o")
    record(file, "gpt-4o", provider="azure")
    price_pending(path)
    done = set_price(path, "gpt-4o", provider="azure", input_per_mtok=0, output_per_mtok=0)
    assert done == Repriced(calls=1, changed=1, before=0.0075, after=0.0)
    assert [cost for cost, _source in costs(file)] == [0.0075, 0.0]


def test_a_price_can_be_set_before_anything_is_recorded(tmp_path: Path) -> None:
    """Setting a price makes the file if need be."""
    path = tmp_path / "new" / "waxlocal.db"
    done = set_price(
        path,
        "in-house",
        input_per_mtok=1.0,
        output_per_mtok=2.0,
        cache_read_per_mtok=0.1,
        cache_write_per_mtok=1.5,
    )
    assert done == Repriced(calls=0, changed=0, before=None, after=None)
    with reader(path) as connection:
        (price,) = list_prices(connection)
        prices = Prices()
        prices.load(connection)
    assert (price.model, price.provider, price.source) == ("in-house", "", "override")
    assert prices.cost("in-house", "vllm", 1000, 100, 500, 100) == 0.0008


def test_a_set_price_outlives_lookups(path: Path, file: sqlite3.Connection) -> None:
    """No lookup replaces a price set by hand: pending ones, after a day, or all."""
    record(file, "gpt-4o")
    set_price(
        path, "gpt-4o", provider="openai", input_per_mtok=1, output_per_mtok=1, clock=StoppedClock()
    )
    note(file, "gpt-4o")
    price_pending(path, StoppedClock(hours=25))
    assert reprice(path).changed == 0
    assert sources(file) == {"gpt-4o": "override"}
    assert costs(file) == [(0.0015, "price")]


def test_withdrawing_a_price_returns_to_the_listed_one(
    path: Path, file: sqlite3.Connection
) -> None:
    """After `unset_price` the list's price holds, or none, and the calls follow."""
    record(file, "gpt-4o")
    record(file, "in-house")
    for model in ("gpt-4o", "in-house"):
        set_price(path, model, input_per_mtok=1, output_per_mtok=1)
    assert unset_price(path, "gpt-4o") == Repriced(1, 1, before=0.0015, after=0.0075)
    assert unset_price(path, "in-house") == Repriced(1, 1, before=0.0015, after=None)
    assert costs(file) == [(0.0075, "price"), (None, None)]
    assert session_cost(file) == (pytest.approx(0.0075), 1, 2)


def test_calls_that_never_needed_the_list_are_looked_up_when_a_price_is_withdrawn(
    path: Path, file: sqlite3.Connection
) -> None:
    """A model priced by hand from its first call has no row of its own; its calls get a cost."""
    set_price(path, "gpt-4o", input_per_mtok=1, output_per_mtok=1)
    record(file, "gpt-4o", cost=0.0015, source="price")
    assert unset_price(path, "gpt-4o") == Repriced(1, 1, before=0.0015, after=0.0075)


def test_withdrawing_a_price_that_was_not_set_is_an_error(
    path: Path, file: sqlite3.Connection
) -> None:
    """There must be an override to withdraw."""
    record(file, "gpt-4o")
    price_pending(path)
    with pytest.raises(NotFound, match="no price was set for gpt-4o of openai"):
        unset_price(path, "gpt-4o", "openai")


@pytest.mark.parametrize("dollars", [-0.01, math.nan, math.inf, -math.inf, 1.1e9])
@pytest.mark.parametrize(
    "kind", ["input_per_mtok", "output_per_mtok", "cache_read_per_mtok", "cache_write_per_mtok"]
)
def test_a_price_must_be_a_number_from_zero_up(path: Path, kind: str, dollars: float) -> None:
    """Negative, infinite and absurd prices are refused, and nothing is stored."""
    good: dict[str, Any] = {"input_per_mtok": 1.0, "output_per_mtok": 1.0}
    with pytest.raises(InvalidQuery, match="must be from 0 to 1,000,000,000"):
        set_price(path, "m", **{**good, kind: dollars})
    with reader(path) as connection:
        assert list_prices(connection) == []


def test_reprice_computes_every_cost_anew_but_the_programs_own(
    path: Path, file: sqlite3.Connection
) -> None:
    """Repricing corrects stale costs, fills in unknown ones, and withdraws unfounded ones."""
    record(file, "gpt-4o", cost=9.0, source="call")
    record(file, "gpt-4o", cost=1.0, source="price")
    record(file, "gpt-4o-mini")
    record(file, "no-such-model", cost=2.0, source="price")
    record(file, "llama3", provider="ollama")
    done = reprice(path)
    assert done == Repriced(calls=4, changed=4, before=3.0, after=0.00795)
    assert costs(file) == [
        (9.0, "call"),
        (0.0075, "price"),
        (0.00045, "price"),
        (None, None),
        (0.0, "price"),
    ]
    assert session_cost(file) == (pytest.approx(9.00795), 4, 5)
    assert reprice(path) == Repriced(calls=4, changed=0, before=0.00795, after=0.00795)


def test_reprice_of_one_model_leaves_the_others(path: Path, file: sqlite3.Connection) -> None:
    """Naming a model limits the recomputation to its calls."""
    record(file, "gpt-4o", cost=1.0, source="price")
    record(file, "gpt-4o-mini", cost=1.0, source="price")
    assert reprice(path, "gpt-4o") == Repriced(calls=1, changed=1, before=1.0, after=0.0075)
    assert [cost for cost, _source in costs(file)] == [0.0075, 1.0]


def test_reprice_of_a_missing_file_says_so(tmp_path: Path) -> None:
    """There is nothing to recompute in a file that does not exist, and none is made."""
    with pytest.raises(FileMissing):
        reprice(tmp_path / "none.db")
    with pytest.raises(FileMissing):
        unset_price(tmp_path / "none.db", "gpt-4o")
    assert list(tmp_path.iterdir()) == []
