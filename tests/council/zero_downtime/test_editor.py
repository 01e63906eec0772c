"""Django's own operations recognise what an interrupted run or another tool has already created."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
)
from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from council.postgres import definitions
from council.zero_downtime.editor import SchemaEditor
from council.zero_downtime.failures import DefinitionConflict

BOOK = migrations.CreateModel(
    "Book",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=100, db_index=True)),
        ("isbn", models.CharField(max_length=13, unique=True)),
        ("pages", models.PositiveIntegerField(default=0)),
        ("added", models.DateTimeField(db_default=models.functions.Now())),
        ("language", models.CharField(max_length=2, db_default="en", db_collation="C")),
        ("extra", models.JSONField(default=dict)),
        ("author", models.ForeignKey("app.Author", on_delete=models.CASCADE)),
        ("tags", models.ManyToManyField("app.Tag")),
    ],
    options={
        "db_table_comment": "What there is to read",
        "indexes": [models.Index(fields=["-added"], name="book_added"), GinIndex("extra", name="book_extra")],
        "constraints": [
            models.CheckConstraint(condition=models.Q(pages__lt=9000), name="book_pages_check"),
            models.UniqueConstraint(fields=["title", "author"], name="book_once"),
            models.UniqueConstraint(fields=["title"], condition=models.Q(pages=0), name="book_empty"),
        ],
    },
)
BEFORE = [
    migrations.CreateModel("Author", [("id", models.BigAutoField(primary_key=True))]),
    migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True))]),
]
STOCK: dict[str, Operation] = {
    "CreateModel": BOOK,
    "AddField": migrations.AddField("book", "subtitle", models.CharField(max_length=50, default="")),
    "AddField, db_default": migrations.AddField("book", "price", models.IntegerField(db_default=3)),
    "AddField, unique": migrations.AddField("book", "code", models.TextField(null=True, unique=True)),
    "AddField, checked": migrations.AddField("book", "stars", models.PositiveSmallIntegerField(null=True)),
    "AddField, key": migrations.AddField(
        "book", "editor", models.ForeignKey("app.Author", models.SET_NULL, null=True, related_name="+")
    ),
    "AddField, many": migrations.AddField(
        "book", "readers", models.ManyToManyField("app.Author", related_name="+")
    ),
    "AddConstraint, check": migrations.AddConstraint(
        "book", models.CheckConstraint(condition=models.Q(pages__gte=0), name="book_pages")
    ),
    "AddConstraint, unique": migrations.AddConstraint(
        "book", models.UniqueConstraint(fields=["isbn", "title"], name="book_isbn_title")
    ),
    "AddConstraintNotValid": AddConstraintNotValid(
        "book", models.CheckConstraint(condition=models.Q(pages__gte=0), name="book_pages")
    ),
    "AddIndex": migrations.AddIndex("book", models.Index(fields=["pages"], name="book_pages_idx")),
    "AddIndexConcurrently": AddIndexConcurrently(
        "book", models.Index(fields=["pages"], name="book_pages_idx")
    ),
    "RunSQL": migrations.RunSQL('CREATE TABLE "shelf" (id bigint PRIMARY KEY, name varchar(20) NOT NULL)'),
    "RunSQL, index": migrations.RunSQL("CREATE INDEX CONCURRENTLY book_by_hand ON app_book (pages, title)"),
}
OBSTACLES = {
    "CreateModel": (
        "ALTER TABLE app_book ALTER title TYPE text, DROP COLUMN pages",
        r'Table "app_book".*\n  found:    column app_book.pages is missing; column app_book.title text NOT NULL.*\n'
        r"  expected: column app_book.pages integer NOT NULL; column app_book.title character varying\(100\) NOT NULL",
    ),
    "AddField": (
        "ALTER TABLE app_book ALTER subtitle DROP NOT NULL",
        r'Column "subtitle" of "app_book".*\n  found:    character varying\(50\)\n'
        r"  expected: character varying\(50\) NOT NULL",
    ),
    "AddField, db_default": (
        "ALTER TABLE app_book ALTER price SET DEFAULT 4",
        r"found:    integer NOT NULL DEFAULT 4\n  expected: integer NOT NULL DEFAULT 3",
    ),
    "AddField, key": (
        "ALTER TABLE app_book DROP CONSTRAINT {key}, ADD CONSTRAINT {key} FOREIGN KEY (editor_id) "
        "REFERENCES app_author (id)",
        r"found:    FOREIGN KEY \(editor_id\) REFERENCES app_author\(id\)\n"
        r"  expected: .* DEFERRABLE INITIALLY DEFERRED",
    ),
    "AddConstraint, check": (
        "ALTER TABLE app_book DROP CONSTRAINT book_pages, ADD CONSTRAINT book_pages CHECK (pages > 0)",
        r"found:    CHECK \(\(pages > 0\)\)\n  expected: CHECK \(\(pages >= 0\)\)",
    ),
    "AddConstraint, unique": (
        "ALTER TABLE app_book DROP CONSTRAINT book_isbn_title, ADD CONSTRAINT book_isbn_title UNIQUE (isbn)",
        r"found:    UNIQUE \(isbn\)\n  expected: UNIQUE \(isbn, title\)",
    ),
    "AddIndex": (
        "DROP INDEX book_pages_idx; CREATE INDEX book_pages_idx ON app_book (pages DESC)",
        r"found:    CREATE INDEX book_pages_idx ON app_book USING btree \(pages DESC\)\n  expected: .*\(pages\)",
    ),
    "AddIndexConcurrently": (
        "DROP INDEX book_pages_idx; CREATE INDEX book_pages_idx ON app_book (pages) WHERE pages > 0",
        r"found:    CREATE INDEX .* WHERE \(pages > 0\)\n  expected: .*\(pages\)",
    ),
    "RunSQL": (
        "ALTER TABLE shelf ADD COLUMN more text",
        r"found:    column shelf.more text\n  expected: column shelf.more is missing",
    ),
}
INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{}'::regclass"
FOREIGN_KEY = """
SELECT quote_ident(conname) FROM pg_constraint
 WHERE contype = 'f' AND conrelid = 'app_book'::regclass AND conkey = ARRAY[
       (SELECT attnum FROM pg_attribute WHERE attrelid = 'app_book'::regclass AND attname = 'editor_id')]
"""


class Project:
    """Runs operations of an app without files, with migrate's schema editor."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.state = self.before = ProjectState()
        self.told: list[str] = []

    def run(self, *operations: Operation) -> None:
        for operation in operations:
            self.before = self.state.clone()
            operation.state_forwards("app", self.state)
            atomic = "Concurrently" not in type(operation).__name__ and "CONCURRENTLY" not in str(
                getattr(operation, "sql", "")
            )
            with SchemaEditor(self.connection, atomic=atomic, tell=self.told.append) as editor:
                operation.database_forwards("app", editor, self.before, self.state)

    def again(self, operation: Operation) -> None:
        """Run an operation again from the state before it, as after a crash."""
        self.state = self.before
        self.told.clear()
        self.run(operation)

    def execute(self, statements: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statements)
            return list(cursor.fetchall()) if cursor.description else []

    def schema(self) -> list[tuple[Any, ...]]:
        """Return the ids of all versions of all rows that describe the schema."""
        return self.execute("""
            SELECT 'class', oid, xmin::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
            UNION ALL
            SELECT 'constraint', oid, xmin::text FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            UNION ALL
            SELECT 'index', indexrelid, i.xmin::text
              FROM pg_index i JOIN pg_class t ON t.oid = indexrelid AND relnamespace = 'public'::regnamespace
            ORDER BY 1, 2""")


@pytest.fixture
def project(scratch: BaseDatabaseWrapper) -> Project:
    project = Project(scratch)
    project.run(*BEFORE)
    return project


@pytest.fixture
def prepared(project: Project) -> Callable[[str], Operation]:
    def prepared(name: str) -> Operation:
        if name != "CreateModel":
            project.run(BOOK)
        project.run(STOCK[name])
        return STOCK[name]

    return prepared


@pytest.mark.parametrize("name", STOCK)
def test_existing_objects_are_not_changed(
    project: Project, prepared: Callable[[str], Operation], name: str
) -> None:
    operation = prepared(name)
    before = project.schema()

    project.again(operation)

    assert project.schema() == before
    if name != "RunSQL, index" and not name.endswith("Concurrently"):
        assert project.told
        assert all(line.endswith("already exists.") for line in project.told)


@pytest.mark.parametrize("name", OBSTACLES)
def test_a_different_definition_is_refused_and_both_are_shown(
    project: Project, prepared: Callable[[str], Operation], name: str
) -> None:
    operation = prepared(name)
    sql, message = OBSTACLES[name]
    if "{key}" in sql:
        sql = sql.format(key=project.execute(FOREIGN_KEY)[0][0])
    project.execute(sql)
    before = project.schema()

    with pytest.raises(DefinitionConflict, match=message):
        project.again(operation)

    assert project.schema() == before


LOST = {
    "index": "DROP INDEX book_added",
    "unique index": "DROP INDEX book_empty",
    "unique constraint": "ALTER TABLE app_book DROP CONSTRAINT book_once",
    "table in between": "DROP TABLE app_book_tags",
}


@pytest.mark.parametrize("lost", LOST)
def test_missing_parts_of_a_model_are_created(
    project: Project, prepared: Callable[[str], Operation], lost: str
) -> None:
    operation = prepared("CreateModel")
    complete = names(project)
    project.execute(LOST[lost])
    assert names(project) != complete

    project.again(operation)

    assert names(project) == complete


def names(project: Project) -> list[tuple[Any, ...]]:
    return project.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    )


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("AddIndexConcurrently", "book_pages_idx"),
        ("RunSQL, index", "book_by_hand"),
        ("AddIndex", "book_pages_idx"),
    ],
)
def test_an_invalid_index_is_built_again(
    project: Project, prepared: Callable[[str], Operation], name: str, index: str
) -> None:
    operation = prepared(name)
    project.execute(INVALID.format(index))

    project.again(operation)

    found = definitions.index(project.connection, index)
    assert found
    assert found.is_valid


def test_a_check_that_is_not_valid_is_validated_if_necessary(
    project: Project, prepared: Callable[[str], Operation]
) -> None:
    operation = prepared("AddConstraint, check")
    project.execute(
        "ALTER TABLE app_book DROP CONSTRAINT book_pages, "
        "ADD CONSTRAINT book_pages CHECK (pages >= 0) NOT VALID"
    )

    project.again(operation)

    found = definitions.constraint(project.connection, "app_book", "book_pages")
    assert found
    assert found.is_validated


def test_the_lock_timeout_does_not_stop_django_s_concurrent_build(
    project: Project, prepared: Callable[[str], Operation]
) -> None:
    during: list[str] = []

    def ask(execute: Any, sql: str, *args: Any) -> Any:
        if "CREATE INDEX CONCURRENTLY" in sql:
            assert project.connection.connection
            during.append(
                project.connection.connection.execute("SELECT current_setting('lock_timeout')").fetchone()[0]
            )
        return execute(sql, *args)

    project.execute("SET lock_timeout = '100ms'")
    with project.connection.execute_wrapper(ask):
        prepared("AddIndexConcurrently")

    assert during == ["0"]


def test_django_s_concurrent_removal_can_be_repeated(
    project: Project, prepared: Callable[[str], Operation]
) -> None:
    prepared("AddIndexConcurrently")
    removal = RemoveIndexConcurrently("book", "book_pages_idx")
    project.run(removal)

    project.again(removal)

    assert definitions.index(project.connection, "book_pages_idx") is None
