"""The production server. `gunicorn`, started in this folder, finds this file. docs/settings.md lists the variables.

GUNICORN_CMD_ARGS, gunicorn's own variable, overrides any of it.
"""

import os
from pathlib import Path
from typing import Any

wsgi_app = "council.wsgi"

# This machine alone may ask: whoever reaches the port can say by X-Forwarded-For and X-Forwarded-Proto who they are,
# and Django believes it. gunicorn's own list, FORWARDED_ALLOW_IPS, does not keep these headers from Django.
bind = os.environ.get("BIND") or "127.0.0.1:8000"

# Python computes in one thread of a process at a time, so a process for each core; two at least, so that one serves
# while the other is replaced. Threads are for requests that wait: for the database, or for an upload. Each thread
# keeps a connection to the database (CONN_MAX_AGE), so processes times threads is what the pooler must have room for.
workers = int(os.environ.get("WEB_CONCURRENCY") or max(2, os.cpu_count() or 2))
threads = int(os.environ.get("WEB_THREADS") or 8)
worker_class = "gthread"

# A process that has not been heard of for so long hangs as a whole, and is killed. It is no limit for a request: pages
# give up on the database by themselves (PAGE_STATEMENT_SECONDS), and an upload may take as long as it moves.
timeout = 30
# A process that stops or is replaced finishes its requests for so long.
graceful_timeout = 30
# Longer than proxies keep a connection without requests (nginx: 60 s), so that a request never meets one that is
# just being closed from here.
keepalive = 65

# A process is replaced after so many requests, which gives back what fragmented memory it holds; not all at once.
max_requests = 10_000
max_requests_jitter = 2_000

# Each process loads the code by itself. So `kill -HUP` brings new code without a refused request, which preloaded code
# rules out, and no process can inherit a connection to the database that another one uses.
preload_app = False

# The sign of life is a file that is touched all the time: in memory, so that a busy disk stops no process.
if Path("/dev/shm").is_dir():  # noqa: S108  # Linux
    worker_tmp_dir = "/dev/shm"  # noqa: S108

# The proxy has an access log. Here it would hold what people search for.
accesslog = None
# systemd and signals do what this socket would, and it would need a folder to write to.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Have a process write of requests as the site's log does: as JSON, without what people sent."""
    from council import logs  # noqa: PLC0415  # the first process must not load code that is replaced later

    for handler in worker.log.error_log.handlers:
        handler.setFormatter(logs.JsonFormatter())
