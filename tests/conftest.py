"""What every test stands on: a database to roll back, and no way out of this machine."""

import ipaddress
import sys
from typing import Any

pytest_plugins = ("tests.databases", "tests.given")


class OutsideWorld(RuntimeError):
    """A test tried to leave this machine."""


def _refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    address = arguments[1]
    if not isinstance(address, tuple):  # a Unix socket
        return
    host = str(address[0])
    try:
        allowed = ipaddress.ip_address(host).is_loopback
    except ValueError:
        allowed = host == "localhost"
    if not allowed:
        raise OutsideWorld(f"{host} is not this machine")


sys.addaudithook(_refuse_outside)
