"""`waxlocal sync verify`: compare the file with what the server has."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from waxlocal import escaping, wording
from waxlocal.cli.commands import Subcommand
from waxlocal.cli.formats import form_options, print_json
from waxlocal.cli.output import Screen
from waxlocal.cli.server_options import load_settings, server_options
from waxlocal.cli.target_file import need_own, target_file_of
from waxlocal.errors import DeliveryError

if TYPE_CHECKING:
    from waxlocal_daemon.verify import Verification

__all__ = ["verify"]

_DELIVER = "deliver first, with: waxlocal sync; see what is pending with: waxlocal sync status"
_SEND_AGAIN = "send what the server lacks again: waxlocal sync retry --missing; then: waxlocal sync"
_LOOK = "see what was sent: waxlocal sql \"SELECT * FROM known_requests WHERE run_id = '...'\""


@click.command("verify", cls=Subcommand, short_help="Compare with what the server has.")
@server_options
@form_options()
@click.pass_context
def verify(ctx: click.Context, /, *, form: str, **server: Any) -> None:
    """Ask the server for its sessions, and list those missing, doubled or different there."""
    from waxlocal_daemon.verify import verify as compare

    path = target_file_of(ctx).path
    need_own(path)
    settings = load_settings(**server)
    result = compare(path, settings)
    if form == "json":
        print_json(asdict(result))
    else:
        _show_verification(Screen(), result)
    wrong = {one.session_id for one in (*result.missing, *result.doubled, *result.different)}
    if wrong:
        more = " or more" if result.unlisted else ""
        raise DeliveryError(
            f"{wording.counted(len(wrong), 'session')}{more} missing, doubled or different there",
            hint=_SEND_AGAIN if result.lacking else _LOOK,
        )
    if not result.asked:
        raise DeliveryError(
            f"nothing was compared: nothing was ever sent to {settings.api_url}", hint=_DELIVER
        )
    if result.waiting and not result.checked:
        raise DeliveryError("nothing was compared: no session is fully delivered", hint=_DELIVER)


def _show_verification(screen: Screen, result: Verification) -> None:
    for name in ("missing", "doubled", "different"):
        for one in getattr(result, name):
            there = "nothing" if one.there is None else one.there
            line = f"{one.session_id}  {one.field}: here {one.here}, there {there}"
            screen.write(screen.text((name, "bold"), f"  {escaping.line(line)}"))
    different = {one.session_id for one in result.different}
    screen.write(
        screen.text(
            f"{wording.counted(result.checked, 'session')} compared; "
            f"{len(result.missing):,} missing, {len(result.doubled):,} doubled, "
            f"{len(different):,} different; {len(result.waiting):,} not fully delivered."
        )
    )
    if result.unlisted:
        screen.write(
            screen.text(f"{wording.counted(result.unlisted, 'more difference')} not listed.")
        )
