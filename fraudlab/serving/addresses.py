"""Where a server listens: any name or address, any port, and a refusal that says what to type."""

import errno
import socket

from fraudlab.errors import UserError

_KERNEL_BYTES = 128 * 1024  # that the kernel may keep of a connection, each way; Linux takes twice as much

Sockets = list[socket.socket]


def bind(host: str, port: int, key: str = "port") -> Sockets:
    """Sockets that are bound to every address of ``host``, and do not listen yet.

    Args:
        host: a name or an address.
        port: there.
        key: of ``serving``, that says the port.

    Raises:
        UserError: the name is not known, the port is in use, or it may not be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise UserError(f"serving.host={host}: {error.strerror}; give a name or an address of this machine") from None
    bound: Sockets = []
    failures: list[OSError] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            listening = socket.socket(family, kind, protocol)
        except OSError as error:
            failures.append(error)
            continue
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # of each connection: the kernel's own go up to 6 MB
                listening.setsockopt(socket.SOL_SOCKET, buffer, _KERNEL_BYTES)
            listening.bind(address)
        except OSError as error:
            listening.close()
            failures.append(error)
        else:
            bound.append(listening)
    missing = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # localhost has an address of IPv6, the machine may have none
    fatal = next((error for error in failures if error.errno not in missing), None)
    if bound and fatal is None:
        return bound
    for listening in bound:
        listening.close()
    raise UserError(_refusal(host, port, key, fatal or failures[0])) from None


def _refusal(host: str, port: int, key: str, error: OSError) -> str:
    where = f"serving.host={host} serving.{key}={port}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where}: the port is in use; end what listens there (ss -ltnp 'sport = :{port}' names it), or choose "
            f"another one: serving.{key}={port % 65535 + 1}"
        )
    if error.errno == errno.EACCES:
        return f"{where}: this user may not listen there; choose a port above 1023: serving.{key}=8000"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address; 0.0.0.0 stands for all that it has"
    return f"{where}: {error.strerror}"
