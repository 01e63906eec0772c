"""Compares a schema that another tool has partly built with two manifests, the baseline and the complete schema.

The database must hold all of the first manifest, and may hold any part of the second. A part of the second may also
exist as an equivalent variant. The variant is replaced in several statements, and what it enforces is enforced all the
time. Everything else is a difference.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.backends.base.base import BaseDatabaseWrapper

from council.postgres import catalog, facts
from council.postgres.facts import Difference, Fact
from council.zero_downtime import offending_rows, variants
from council.zero_downtime.variants import INVALID, NOT_VALID


@dataclass(frozen=True)
class Replacement:
    """A variant that was found, and its replacement."""

    kind: str
    name: str
    found: str
    by: str

    def __str__(self) -> str:
        name = "" if self.name in self.found else f" as {self.name}"
        return f"found {self.found}{name}, replaced by {self.by}"


@dataclass
class Adoption:
    """The parts of the manifests that a database has, and what must be done before migrations continue.

    Each of the `statements` runs in its own transaction or in none. After each one, the database can still be adopted,
    so an interrupted run can simply start again.
    """

    there: frozenset[Fact]
    differences: list[Difference] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # one line each, as for differences
    replacements: list[Replacement] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)  # foreign keys NOT VALID, indexes that are INVALID


def look(
    connection: BaseDatabaseWrapper, *, first: frozenset[Fact], second: frozenset[Fact], with_rows: bool
) -> Adoption:
    """Compare a database with two manifests. Takes no lock. `with_rows`: also check rows against rules to be added."""
    return _Look(connection, first, second).adoption(with_rows=with_rows)


# What is counted in the second manifest: label, kind, and a text that the definition contains.
COUNTED = {
    "enums": ("enum", ""),
    "columns": ("column", ""),
    "tables": ("table", ""),
    "foreign keys": ("constraint", "FOREIGN KEY"),
    "indexes": ("index", ""),
    "triggers": ("trigger", ""),
}


def counts(there: frozenset[Fact], *, first: frozenset[Fact], second: frozenset[Fact]) -> str:
    """Say how much exists of what the second manifest adds to the first: `4 of 4 enums, 3 of 3 columns, …`.

    Only columns added to tables of the first manifest count. Indexes of constraints do not count.
    """
    old_tables, keys = facts.names("table", first), facts.names("constraint", second)
    found = {(fact.kind, fact.name) for fact in there}
    parts = []
    for words, (kind, definition) in COUNTED.items():
        added = [
            (fact.kind, fact.name)
            for fact in second - first
            if fact.kind == kind
            and definition in fact.definition
            and not (kind == "column" and fact.name.partition(".")[0] not in old_tables)
            and not (kind == "index" and fact.name in keys)
        ]
        parts.append(f"{len(found.intersection(added))} of {len(added)} {words}")
    return ", ".join(parts)


class _Look:
    def __init__(
        self, connection: BaseDatabaseWrapper, first: frozenset[Fact], second: frozenset[Fact]
    ) -> None:
        self.connection = connection
        self.quote = connection.ops.quote_name
        self.first = {(fact.kind, fact.name): fact.definition for fact in first}
        self.second = {(fact.kind, fact.name): fact.definition for fact in second}
        found = facts.of_tables(
            connection, tables=facts.names("table", second), enums=facts.names("enum", second)
        )
        self.found = {(fact.kind, fact.name): fact.definition for fact in found}
        self.tables = facts.names("table", found)
        self.result = Adoption(frozenset(found))

    def adoption(self, *, with_rows: bool) -> Adoption:
        if not self.found:
            return self.result
        self._owners()
        tables = [key for key in sorted({*self.second, *self.found}) if key[0] == "table"]
        for kind, name in tables:
            self._compare_table(kind, name)
        strange = {difference.name for difference in self.result.differences}
        for kind, name in sorted({*self.second, *self.found}):
            if kind != "table" and name.partition(".")[0] not in strange:
                self._compare(kind, name)
        self.result.differences.sort()
        for table in sorted(self.tables - strange):
            self._replace_variants(table)
        if with_rows and not (self.result.differences or self.result.faults):
            self._rows()
        return self.result

    def _differs(self, kind: str, name: str, want: str | None, have: str | None) -> None:
        self.result.differences.append(Difference(kind, name, want, have))

    def _owners(self) -> None:
        """Report tables and functions that must be altered but belong to another role."""
        altered = {name.partition(".")[0] for _, name in self.second.keys() - self.first.keys()}
        functions = [function for function, _ in self._trigger_functions()]
        for kind, name, owner, role in catalog.owned_by_others(
            self.connection, tables=self.tables & altered, functions=functions
        ):
            self.result.faults.append(
                f"owner      {kind} {name}: it belongs to {owner}, and the role {role} is not a member of {owner}"
            )

    def _compare_table(self, kind: str, name: str) -> None:
        want, have = self.second[kind, name], self.found.get((kind, name))
        if want != have and (have is not None or (kind, name) in self.first):
            self._differs(kind, name, want, have)

    def _compare(self, kind: str, name: str) -> None:
        """Compare one object with the manifests: equal, unfinished, a variant, or else a difference."""
        want, have = self.second.get((kind, name)), self.found.get((kind, name))
        is_of_first = (kind, name) in self.first
        if want == have and kind != "trigger":
            return
        if have is None:
            # Only these kinds are added to a table later; the others are created with it.
            is_late = kind in {"index", "trigger", "enum"} or "FOREIGN KEY" in str(want)
            is_missing_whole = kind != "enum" and name.partition(".")[0] not in self.tables
            is_members = kind == "column" and ("table", name.partition(".")[0]) in self.first
            if not (is_missing_whole or (not is_of_first and (is_late or is_members))):
                self._differs(kind, name, want, None)
            return
        if want is None:
            if not self._is_leftover(kind, name, have) and not self._is_constraint_for_index(
                kind, name, have
            ):
                self._differs(kind, name, None, have)
            return
        if is_of_first or not self._is_on_the_way(kind, name, want, have):
            self._differs(kind, name, want, have)

    def _is_leftover(self, kind: str, name: str, have: str) -> bool:
        """Return whether an index is left from an interrupted rebuild, or was built by us as a replacement."""
        table, _, index = name.partition(".")
        if kind != "index":
            return False
        of = re.sub(r"_cc(new|old)\d*$", "", index)
        if of != index and have.endswith(INVALID):
            return ("index", f"{table}.{of}") in self.second
        return any(
            have == variants.renamed(want, one.partition(".")[2], index)
            for (kind_of_it, one), want in self.second.items()
            if kind_of_it == "index"
            and one.partition(".")[0] == table
            and index == variants.successor(one.partition(".")[2])
        )

    def _is_constraint_for_index(self, kind: str, name: str, have: str) -> bool:
        """Return whether a unique constraint stands where the manifest has a unique index. Record its replacement."""
        want = self.second.get(("index", name), "")
        if (
            kind != "constraint"
            or not want.startswith("CREATE UNIQUE INDEX ")
            or ("index", name) in self.first
        ):
            return False
        columns = variants.IndexShape.read(want).columns
        if not re.fullmatch(r"UNIQUE \([^()]*\)", have):
            return False
        own = self.found.get(("index", name))
        if own is None or set(variants.IndexShape.read(own).columns) != set(columns):
            return False
        index = name.partition(".")[2]
        self.result.replacements.append(Replacement("constraint", index, have, want))
        return True

    def _is_on_the_way(self, kind: str, name: str, want: str, have: str) -> bool:
        """Return whether something is unfinished or an equivalent variant. Record which of the two."""
        thing = name.partition(".")[2]
        by = want
        match kind:
            case "constraint" if "FOREIGN KEY" in want:
                bare = have.removesuffix(NOT_VALID)
                is_same, is_unfinished = (
                    variants.without_on_update(bare) == variants.without_on_update(want),
                    bare == want,
                )
            case "index" if ("constraint", name) in self.found:  # the constraint is compared separately
                return True
            case "index":
                is_same, is_unfinished = (
                    variants.IndexShape.read(have).means_the_same_as(variants.IndexShape.read(want)),
                    have.endswith(INVALID),
                )
            case "trigger":
                is_same, is_unfinished = variants.is_same_event(want, have), False
                by = "the trigger of these migrations (CREATE OR REPLACE)"
            case _:
                return False
        if is_unfinished:
            self.result.unfinished.append(f"{thing} ({'INVALID' if kind == 'index' else 'not valid'})")
        elif is_same:
            self.result.replacements.append(Replacement(kind, thing, have, by))
        return is_unfinished or is_same

    def _trigger_functions(self) -> Iterator[tuple[str, str]]:
        """Yield the functions of the manifest's triggers, each with the name of its trigger."""
        for (kind, name), definition in self.second.items():
            if kind == "trigger" and (match := CALLED.search(definition)):
                yield match[1], name

    def _replace_variants(self, table: str) -> None:
        """Write the statements that replace a table's variants with what the manifest defines."""
        for replacement in self.result.replacements:
            name = f"{table}.{replacement.name}"
            if (
                replacement.kind == "constraint"
                and "FOREIGN KEY" in replacement.by
                and (self.found.get(("constraint", name)) == replacement.found)
            ):
                # NOT VALID applies to new rows at once; a later migration validates the existing rows.
                key = self.quote(replacement.name)
                self.result.statements.append(
                    f"ALTER TABLE {self.quote(table)} DROP CONSTRAINT {key}, "
                    f"ADD CONSTRAINT {key} {replacement.by} NOT VALID"
                )
        for (kind, name), want in sorted(self.second.items()):
            if kind == "index" and name.partition(".")[0] == table:
                self._replace_index(table, name.partition(".")[2], want)
        for function, trigger in self._trigger_functions():
            if trigger.partition(".")[0] == table:
                self._compare_function(function, trigger)

    def _replace_index(self, table: str, index: str, want: str) -> None:
        statements = self.result.statements
        have, next_one = self.found.get(("index", f"{table}.{index}")), variants.successor(index)
        wanted_next = variants.renamed(want, index, next_one)
        is_constraint = ("constraint", f"{table}.{index}") in self.found
        for kind, name in sorted(self.found):
            own = name.partition(".")[2]
            if (
                kind == "index"
                and name.partition(".")[0] == table
                and re.sub(r"_cc(new|old)\d*$", "", own) == index != own
                and self.found[kind, name].endswith(INVALID)
            ):
                statements.append(f"DROP INDEX CONCURRENTLY {self.quote(own)}")
        key = f"{table}.{index}"
        if ("index", key) in self.first or ("constraint", key) in self.second:  # the index of a primary key
            return
        is_built = self.found.get(("index", f"{table}.{next_one}")) == wanted_next
        is_there = have is not None and not have.endswith(INVALID)
        if is_there and not is_constraint and have == want:
            if is_built:
                statements.append(f"DROP INDEX CONCURRENTLY {self.quote(next_one)}")
            return
        if not is_there and not is_built and not want.startswith("CREATE UNIQUE "):
            return  # a later migration builds it
        if not is_there and not is_built:
            # On a table in use, CreateModel would build it under a lock that blocks writes.
            statements.append(variants.concurrently(want))
            return
        if not is_built:
            statements.append(variants.concurrently(wanted_next))
        if is_constraint:
            statements.append(f"ALTER TABLE {self.quote(table)} DROP CONSTRAINT {self.quote(index)}")
        elif have is not None:
            statements.append(f"DROP INDEX CONCURRENTLY {self.quote(index)}")
        statements.append(f"ALTER INDEX {self.quote(next_one)} RENAME TO {self.quote(index)}")

    def _compare_function(self, function: str, trigger: str) -> None:
        """Report a difference unless the function returns a trigger and only this trigger calls it."""
        found = catalog.trigger_function(self.connection, function)
        if found is None:
            return
        others = [one for one in found.triggers if one != trigger]
        expected = f"a trigger function that only {trigger} calls"
        if found.returns != "trigger":
            self._differs("function", f"{function}()", expected, f"a function that returns {found.returns}")
        elif others:
            self._differs("function", f"{function}()", expected, f"a function that {', '.join(others)} call")

    def _rows(self) -> None:
        """Report rows that break a rule which is still to be added."""
        for (kind, name), want in sorted(self.second.items()):
            table, _, thing = name.partition(".")
            have = self.found.get((kind, name))
            if table not in self.tables or (kind, name) in self.first:
                continue
            if kind == "constraint" and "FOREIGN KEY" in want and (have is None or have.endswith(NOT_VALID)):
                key = offending_rows.ForeignKey.read(table, want)
                parent_is_there = key.to_table in self.tables
                for line in offending_rows.orphans(self.connection, key, parent_is_there=parent_is_there):
                    self.result.faults.append(f"orphans    constraint {name}: {line}")
            if ("constraint", name) in self.second:
                continue
            if (
                kind == "index"
                and want.startswith("CREATE UNIQUE ")
                and (have is None or have.endswith(INVALID))
            ):
                if ("index", f"{table}.{variants.successor(thing)}") in self.found:
                    continue
                for line in offending_rows.duplicates(
                    self.connection, table, variants.IndexShape.read(want).columns
                ):
                    self.result.faults.append(f"duplicates index {name}: {line}")


CALLED = re.compile(r" EXECUTE FUNCTION (\w+)\(\)$")
