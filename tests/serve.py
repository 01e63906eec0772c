"""Serve the application for a browser. `python -m tests.serve` prints its port, and serves until it is killed."""

import os
from wsgiref.simple_server import WSGIServer

import django
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings_of_server"
    django.setup()
    from council.wsgi import application  # noqa: PLC0415  # needs the settings

    server: WSGIServer = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(application)
    print(server.server_port, flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main()
