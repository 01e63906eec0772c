"""What migrations have created that migration state does not include: enums, functions, and forgotten fields."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.db.migrations import AddField, CreateModel, DeleteModel, RemoveField, SeparateDatabaseAndState
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.operations.base import Operation

from council.postgres.constraints import ForeignKeyConstraint
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.operations import AddEnumValue, CreateEnum
from council.zero_downtime.trigger_operations import CreateFunction, RemoveFunction


class Enum(NamedTuple):
    app_label: str
    labels: tuple[str, ...]


class FunctionVersion(NamedTuple):
    app_label: str
    definition: str


class Forgotten(NamedTuple):
    """A field (None: the whole model) that was removed from state only; the database still has it."""

    app_label: str
    model_name: str
    field_name: str | None


class History:
    """What the migrations of a graph have created, found by reading them in the order in which they run."""

    def __init__(self, graph: MigrationGraph | None) -> None:
        self.graph = graph
        self.enums: dict[str, Enum] = {}
        self.functions: dict[tuple[str, str], FunctionVersion] = {}
        # The values are the migrations that removed them from state.
        self.forgotten: dict[Forgotten, tuple[str, str]] = {}
        for node in _in_order(graph) if graph else ():
            migration = graph.nodes[node] if graph else None
            for operation in _flat(migration.operations if migration else ()):
                self._learn(node, operation)

    def _learn(self, node: tuple[str, str], operation: Operation) -> None:
        app_label = node[0]
        match operation:
            case CreateEnum():
                self.enums[operation.name] = Enum(app_label, tuple(operation.labels))
            case AddEnumValue() if operation.name in self.enums:
                owner, labels = self.enums[operation.name]
                place = labels.index(operation.after) + 1 if operation.after in labels else 0
                self.enums[operation.name] = Enum(owner, (*labels[:place], operation.label, *labels[place:]))
            case RemoveFunction():
                self.functions.pop((operation.name, operation.arguments), None)
            case CreateFunction():
                key = operation.name, operation.arguments
                self.functions[key] = FunctionVersion(app_label, operation.definition)
            case SeparateDatabaseAndState(database_operations=[]):
                for inner in operation.state_operations:
                    self._learn_of_state(node, inner)

    def _learn_of_state(self, node: tuple[str, str], operation: Operation) -> None:
        app_label = node[0]
        match operation:
            case RemoveField():
                key = Forgotten(app_label, operation.model_name_lower, operation.name_lower)
                self.forgotten[key] = node
            case DeleteModel():
                self.forgotten[Forgotten(app_label, operation.name_lower, None)] = node
            case AddField():
                key = Forgotten(app_label, operation.model_name_lower, operation.name_lower)
                self.forgotten.pop(key, None)
            case CreateModel():
                # The table is dropped with all its columns, even those forgotten before the table was.
                gone = [key for key in self.forgotten if key[:2] == (app_label, operation.name_lower)]
                for key in gone:
                    del self.forgotten[key]

    def remembered(self) -> Iterator[tuple[Forgotten, CreateModel | AddField]]:
        """Yield what state has forgotten, newest first, with the operations that would restore it.

        If a whole table is forgotten, its columns are left out.
        """
        for key, node in reversed(self.forgotten.items()):
            app_label, model_name, field_name = key
            assert self.graph
            before = self.graph.make_state(nodes=node, at_end=False).models[app_label, model_name]
            if field_name is None:
                fields = [(name, field.clone()) for name, field in before.fields.items()]
                options = {"db_table": before.options["db_table"]} if "db_table" in before.options else {}
                keys = before.options.get("constraints", ())
                if keys := [one for one in keys if isinstance(one, ForeignKeyConstraint)]:
                    options["constraints"] = keys
                yield key, CreateModel(before.name, fields, options=options)
            elif Forgotten(app_label, model_name, None) not in self.forgotten:
                field = before.fields[field_name].clone()
                yield key, AddField(model_name, field_name, field)


def _in_order(graph: MigrationGraph) -> list[tuple[str, str]]:
    plans = [graph.forwards_plan(leaf) for leaf in sorted(graph.leaf_nodes())]
    return list(dict.fromkeys(node for plan in plans for node in plan))


def _flat(operations: Sequence[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, AdoptBaseline):
            yield from operation.operations
        else:
            yield operation
