"""recbole_unirep.serving.server: a run or an export served by uvicorn."""

import ipaddress
import os
import socket
import sys
from pathlib import Path

from recbole_unirep.compat.workarounds import require_recbole
from recbole_unirep.files.manifest import MANIFEST
from recbole_unirep.serving.service import app, model_name

try:
    import uvicorn
except ImportError as error:
    raise ImportError(
        f"unirep serve needs uvicorn ({error}): install it with pip install 'recbole-unirep[serve]'"
    ) from error

CONNECTIONS, SECONDS_TO_END = 256, 5


def serve_folder(folder, host, port, options, logs_requests=False):
    """Serves a run, or an export, until it is interrupted.

    Args:
        folder (str or Path): of either.
        host (str): a name or an address.
        port (int): 0 is any free one.
        options (dict[str, str]): `index`, `data_path` and settings of ranking, for a run.
        logs_requests (bool): whether each request is logged.

    Raises:
        FileNotFoundError: the folder holds neither.
        ValueError: an export is given options, or it recommends nothing.
        OSError: the port can't be opened.
        KeyboardInterrupt: it was interrupted.
    """
    is_export = (Path(folder) / MANIFEST).is_file()
    if is_export and options:
        raise ValueError(f"--{next(iter(options))} is for a run, and {folder} is an export: leave it out")
    with listening_socket(host, port) as listener:
        recommender = _exported(folder) if is_export else _of_run(folder, dict(options))
        service, name = app(recommender), model_name(recommender)
        if not _is_loopback(listener.getsockname()[0]):
            print(
                f"unirep serve: --host={host} answers other machines too, without password or encryption: use it in a "
                f"network that you trust",
                file=sys.stderr,
            )
        shown, port = f"[{host}]" if ":" in host else host, listener.getsockname()[1]
        print(f"{name}, {len(recommender.item_tokens) - 1} items: http://{shown}:{port} (Ctrl-C ends it)", flush=True)
        config = uvicorn.Config(
            service,
            log_level="info" if logs_requests else "error",
            access_log=logs_requests,
            lifespan="off",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=SECONDS_TO_END,
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _exported(folder):
    from recbole_unirep.serving.exported import ExportedRecommender  # onnxruntime may be missing where a run is served

    recommender = ExportedRecommender(folder)
    if recommender.manifest["encoder"] is None:
        raise ValueError(f"{folder} recommends nothing; {recommender.manifest['scores']}")
    return recommender


def _of_run(folder, options):
    require_recbole()  # an export is served without it
    from recbole_unirep.runs.log import RunLog
    from recbole_unirep.serving.recommender import Recommender

    index = options.pop("index", "exact")
    with RunLog(speaks=False):
        return Recommender.load(folder, options.pop("data_path", None), index, **options)


def listening_socket(host, port):
    """A socket that listens, so that a port that is taken is known before a model is read.

    Args:
        host (str): a name or an address, IPv4 or IPv6.
        port (int): 0 for any that is free.

    Returns:
        socket.socket: whoever connects waits until it is served.

    Raises:
        OSError: the host is no address of this machine, or the port is taken or not allowed.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise OSError(f"host={host} is no address ({error}): name one of this machine, or leave --host out") from error
    try:
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # without what create_server adds to it
        raise OSError(f"host={host} port={port} can't be opened ({reason}): choose another --port") from error
    # asyncio does so for connections of sockets of its own; without it each answer waits 40 ms for the client's ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_loopback(address):
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
