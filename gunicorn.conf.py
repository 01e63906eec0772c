"""The production server. `gunicorn`, started in this folder, finds this file. docs/settings.md lists the variables.

gunicorn's own variable GUNICORN_CMD_ARGS overrides every setting here.
"""

import os
from pathlib import Path
from typing import Any

wsgi_app = "council.wsgi"

# Only this machine can connect. Django believes the headers X-Forwarded-For and X-Forwarded-Proto, so anybody who
# reaches the port could forge them. gunicorn's FORWARDED_ALLOW_IPS does not keep these headers from Django.
bind = os.environ.get("BIND") or "127.0.0.1:8000"

# One process for each core, because in a process only one thread at a time runs Python. At least two, so that one
# serves while the other is replaced. Threads are for requests that wait, for the database or for an upload. Each
# thread keeps a database connection (CONN_MAX_AGE), so the pooler needs processes times threads of them.
workers = int(os.environ.get("WEB_CONCURRENCY") or max(2, os.cpu_count() or 2))
threads = int(os.environ.get("WEB_THREADS") or 8)
worker_class = "gthread"

# A process that gives no sign of life for this many seconds is killed. This does not limit a request: pages have
# their own limit for the database (PAGE_STATEMENT_SECONDS), and an upload may take as long as it needs.
timeout = 30
# A process that is stopped or replaced has this many seconds to finish its requests.
graceful_timeout = 30
# Seconds. Longer than proxies keep an unused connection (nginx: 60 s). Otherwise, a proxy could send a request just
# when this side closes the connection.
keepalive = 65

# A process is replaced after this many requests, to free fragmented memory. The jitter prevents that all are replaced
# at once.
max_requests = 10_000
max_requests_jitter = 2_000

# Each process loads the code itself. So `kill -HUP` starts new code without refusing a request, which would not work
# with preloaded code, and no process can inherit a database connection that another one uses.
preload_app = False

# Each process shows that it is alive by touching a file. The file is in memory, so that a busy disk delays no process.
if Path("/dev/shm").is_dir():  # noqa: S108  # Linux
    worker_tmp_dir = "/dev/shm"  # noqa: S108

# The proxy has an access log. One here would contain what people search for.
accesslog = None
# systemd and signals are enough, and this socket would need a writable folder.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """Make a process log like the site: as JSON, without anything that people sent."""
    from council import logs  # noqa: PLC0415  # the first process must not load code that may be replaced later

    for handler in worker.log.error_log.handlers:
        handler.setFormatter(logs.JsonFormatter())
