"""The database wrapper: Django's own for PostgreSQL, connected to the embedded server if there is one.

For models without this package's fields, constraints and indexes it works like Django's own backend.
"""

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from django.db.utils import OperationalError
from psycopg import sql

from council.postgres import embedded, limits, loaders
from council.postgres.operations import DatabaseOperations
from council.postgres.schema import DatabaseSchemaEditor

LIMIT_TRANSACTION = "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)"
HEALTH_CHECK_SECONDS = 2.0


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    ops_class = DatabaseOperations
    Database = limits.Psycopg()

    # Commands that need no database, such as makemigrations, set this to False on their connection.
    may_start_embedded_server: bool = True

    @property
    def embedded_server(self) -> embedded.Server | None:
        server: embedded.Server | None = self.settings_dict.get("EMBEDDED_SERVER")
        return server

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        params["context"] = loaders.tolerant(params["context"])
        if server := self.embedded_server:
            if not self.may_start_embedded_server and not server.is_running():
                raise OperationalError(
                    "The embedded PostgreSQL is not running, and this command does not start it."
                )
            try:
                address = server.start()
            except embedded.EmbeddedServerError as error:
                raise OperationalError(str(error)) from error
            params |= {"host": address.host, "port": address.port, "user": address.user}
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            name = conn_params["dbname"]
            if self.embedded_server is None or f'database "{name}" does not exist' not in str(error):
                raise
            self._create_embedded_database(name)
            return super().get_new_connection(conn_params)

    def _set_autocommit(self, autocommit: bool) -> None:  # noqa: FBT001
        super()._set_autocommit(autocommit)  # type: ignore[misc]
        in_force = limits.IN_FORCE.get()
        if in_force and not autocommit and self.connection is not None:
            with self.wrap_database_errors:
                self.connection.execute(LIMIT_TRANSACTION, in_force.as_milliseconds)

    def is_usable(self) -> bool:
        """Check the connection, with a time limit even between requests, when no limits are in force."""
        with limits.at_most(
            limits.IN_FORCE.get() or limits.Limits(HEALTH_CHECK_SECONDS, HEALTH_CHECK_SECONDS)
        ):
            return bool(super().is_usable())

    def _create_embedded_database(self, name: str) -> None:
        with self._nodb_cursor() as cursor:
            try:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except Exception as error:
                # Ignore the error if another process has just created it.
                if not isinstance(
                    error.__cause__, psycopg.errors.DuplicateDatabase | psycopg.errors.UniqueViolation
                ):
                    raise
