"""`manage.py verify_schema`: check the database's schema, data and settings, after a deploy or at any time."""

import json
import sys
import textwrap
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, NotSupportedError, connection

from council import verification
from council.postgres import units
from council.verification.checks import Level, Result, run
from council.zero_downtime import failures

NAME_WIDTH = 25
PARAGRAPH_WIDTH = 118
INDENT = " " * 11


class Command(BaseCommand):
    help = (
        "Compare the schema with the migrations, and the members' figures with the ledger. Search for leftovers, "
        "tables open to outsiders and harmful settings. Change nothing. The exit status is 1 if a check failed."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["table", "json"], default="table", help="The output format.")
        parser.add_argument("--strict", action="store_true", help="Exit with status 1 for warnings, too.")
        parser.add_argument(
            "--full", action="store_true", help="Compare all members with the ledger, not only a sample."
        )

    def handle(self, *args: Any, format: str, strict: bool, full: bool, **options: Any) -> None:  # noqa: A002
        began = time.monotonic()
        results = []
        try:
            connection.ensure_connection()
            database = verification.Database(connection, is_full=full)
            if format == "table":
                self.stdout.write(self.style.MIGRATE_HEADING(self.place()))
                if database.standing:
                    self.stdout.write(textwrap.fill(database.standing, PARAGRAPH_WIDTH))
            for result in run(database):
                results.append(result)
                if format == "table":
                    self.write_result(result)
            if format == "table":
                self.write_cures(results)
        except (DatabaseError, NotSupportedError) as error:
            raise failures.DatabaseUnusable(error, connection, command="verify_schema") from error
        except LookupError as error:  # there is no schema
            raise CommandError(str(error)) from error
        summary = Summary(
            results, seconds=time.monotonic() - began, is_strict=strict, standing=database.standing
        )
        if format == "json":
            self.stdout.write(json.dumps(summary.as_json(), indent=2, ensure_ascii=False))
        else:
            self.stdout.write((self.style.SUCCESS if summary.is_ok else self.style.ERROR)(str(summary)))
        if not summary.is_ok:
            sys.exit(1)

    def place(self) -> str:
        given = connection.settings_dict
        return f"Database {given['NAME']} on {given['HOST'] or 'the local socket'}"

    def write_result(self, result: Result) -> None:
        """Write one line per finding, the check's name on the first. If there are faults, show only those."""
        style = {
            Level.OK: self.style.SUCCESS,
            Level.WARNING: self.style.WARNING,
            Level.FAILED: self.style.ERROR,
        }
        faults = [finding for finding in result.findings if finding.level is not Level.OK]
        head = f"  {style[result.level](f'{result.level:<8}')} {result.name:<{NAME_WIDTH}}"
        for finding in faults or result.findings:
            self.stdout.write(f"{head}{finding.message}")
            head = f"{INDENT}{'':<{NAME_WIDTH}}"

    def write_cures(self, results: list[Result]) -> None:
        """Write each cure once, ready to paste, below the findings that it repairs."""
        cures: dict[str, list[str]] = {}
        for result in results:
            for finding in result.findings:
                if finding.level is not Level.OK:
                    cures.setdefault(finding.cure, []).append(f"-- {result.name}: {finding.message}")
        if cures:
            self.stdout.write(self.style.MIGRATE_HEADING("Cures"))
        for cure, faults in cures.items():
            self.stdout.write("\n".join([*faults, cure, ""]))


class Summary:
    def __init__(
        self, results: list[Result], *, seconds: float, is_strict: bool, standing: str | None = None
    ) -> None:
        self.results = results
        self.standing = standing
        self.seconds = seconds
        self.failed = sum(result.level is Level.FAILED for result in results)
        self.warnings = sum(result.level is Level.WARNING for result in results)
        self.is_ok = not (self.failed or (is_strict and self.warnings))

    def __str__(self) -> str:
        ok = len(self.results) - self.failed - self.warnings
        counts = f"{ok} ok, {units.count(self.warnings, 'warning')}, {self.failed} failed"
        return f"{len(self.results)} checks: {counts}, in {units.duration(self.seconds)}."

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.is_ok,
            "failed": self.failed,
            "warnings": self.warnings,
            "seconds": round(self.seconds, 3),
            "before_the_first_migrate": self.standing,
            "checks": [
                {
                    "name": result.name,
                    "level": result.level.lower(),
                    "seconds": round(result.seconds, 3),
                    "findings": [
                        {"level": finding.level.lower(), "message": finding.message, "cure": finding.cure}
                        for finding in result.findings
                    ],
                }
                for result in self.results
            ],
        }
