"""Serve a model on this machine: a page in the browser and a JSON API.

Reads a model folder; answers on the loopback address alone, so nothing but this machine
reaches it, and sends nothing anywhere. `GET /api` says what the model does; `POST
/api/classify`, `/api/tag`, `/api/fill-mask` and `/api/embed` take `{"texts": ["…"]}`,
`/api/answer` `{"texts": [["question", "context"]]}`.

Try: python scripts/serve.py --model MODEL_FOLDER
"""

import argparse
import socket
import sys
from pathlib import Path

from cloze.cli import capped_threads, make_parser, non_negative_int, run_script
from cloze.errors import ClozeError, require_module
from cloze.model.device import limit_primitive_cache, resolve_compute
from cloze.settings.fields import add_flags
from cloze.settings.machine import ComputeSettings
from cloze.use.service import ModelService

_HOST = "127.0.0.1"
_PACKAGES = "starlette uvicorn"
_SECONDS_TO_END = 2


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--port", type=non_negative_int, default=8000, help="0: any free one")
    add_flags(parser, ComputeSettings, precision="fp32")
    return parser


def run(args: argparse.Namespace) -> None:
    """Load the model and answer until the process is interrupted."""
    require_module("starlette", "serve", "serve", _PACKAGES)
    uvicorn = require_module("uvicorn", "serve", "serve", _PACKAGES)
    limit_primitive_cache()
    compute = resolve_compute(args.device, args.precision, "off", capped_threads(args), 0.0)
    service = ModelService(args.model, compute)
    # Imports the framework, which only this script needs.
    from cloze.use.web import make_app

    settings = uvicorn.Config(
        make_app(service),
        log_level="warning",
        access_log=False,
        server_header=False,
        # Whoever has sent half of a request does not keep the server from ending.
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    with _listen(args.port) as listener:
        address = f"http://{_HOST}:{listener.getsockname()[1]}"
        sys.stdout.write(f"{address} answers for {args.model}; Ctrl-C ends it\n")
        sys.stdout.flush()
        uvicorn.Server(settings).run(sockets=[listener])
    # Only a signal ends it; one that comes while it starts is not raised again.
    raise KeyboardInterrupt


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port))
    except (OSError, OverflowError) as error:
        raise ClozeError(f"--port {port}: cannot be used ({error}); try another, or 0") from error


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
