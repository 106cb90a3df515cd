"""recbole_unirep.serving.server: serves a run or an export with uvicorn."""

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

MAX_CONNECTIONS, SHUTDOWN_SECONDS = 256, 5


def serve_folder(folder, host, port, options, logs_requests=False):
    """Serves a run or an export until the process is interrupted.

    Args:
        folder (str or Path): folder of the run or export.
        host (str): host name or address.
        port (int): 0 for any free port.
        options (dict[str, str]): only for a run: `index`, `data_path` and ranking settings.
        logs_requests (bool): True logs each request.

    Raises:
        FileNotFoundError: the folder holds neither a run nor an export.
        ValueError: options are given for an export, or the export has no scores.
        OSError: the port can't be opened.
        KeyboardInterrupt: the process was interrupted.
    """
    is_export = (Path(folder) / MANIFEST).is_file()
    if is_export and options:
        raise ValueError(f"--{next(iter(options))} is for a run, and {folder} is an export: leave it out")
    with listening_socket(host, port) as listener:
        recommender = _load_export(folder) if is_export else _load_run(folder, dict(options))
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
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _load_export(folder):
    from recbole_unirep.serving.exported import ExportedRecommender  # onnxruntime is needed only for exports

    recommender = ExportedRecommender(folder)
    if recommender.manifest["encoder"] is None:
        raise ValueError(f"{folder} cannot recommend; {recommender.manifest['scores']}")
    return recommender


def _load_run(folder, options):
    require_recbole()  # an export does not need it
    from recbole_unirep.runs.log import RunLog
    from recbole_unirep.serving.recommender import Recommender

    index = options.pop("index", "exact")
    with RunLog(speaks=False):
        return Recommender.load(folder, options.pop("data_path", None), index, **options)


def listening_socket(host, port):
    """Opens a listening socket, so that an occupied port is reported before the model is loaded.

    Args:
        host (str): host name or address, IPv4 or IPv6.
        port (int): 0 for any free port.

    Returns:
        socket.socket: connections wait in its queue until the server starts.

    Raises:
        OSError: the host is not an address of this machine, or the port is occupied or not allowed.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise OSError(
            f"host={host} is not an address ({error}): use one of this machine, or leave --host out"
        ) from error
    try:
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # without the details that create_server appends
        raise OSError(f"host={host} port={port} can't be opened ({reason}): choose another --port") from error
    # asyncio sets TCP_NODELAY only for sockets that it opens; without it each answer waits 40 ms for the client's ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_loopback(address):
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
