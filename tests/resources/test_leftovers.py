"""Differences between the storage and the rows, also after a process was killed between the two."""

import io
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from council import jobs
from council import verification as council_verification
from council.models import JobRun
from resources import leftovers, storage, verification
from resources.models import Resource, ResourceVersion
from tests.databases import ROOT, Database
from tests.factories import ResourceFactory
from tests.resources.storages import S3Server

pytestmark = pytest.mark.any_server


@pytest.fixture(params=["folder", "bucket"])
def files(request: pytest.FixtureRequest) -> Path:
    place = request.getfixturevalue(request.param)
    return place.files if isinstance(place, S3Server) else place


def stored(folder: str = storage.FILES, extension: str = ".pdf") -> storage.Stored:
    return storage.save(
        ContentFile(b"content"), folder=folder, extension=extension, mime_type="application/pdf"
    )


def with_file(**changes: Any) -> Resource:
    file = stored()
    facts: dict[str, Any] = {
        "storage_path": file.path,
        "file_name": "plan.pdf",
        "file_size": file.size,
        "mime_type": "application/pdf",
        "sha256": file.sha256,
    }
    resource = ResourceFactory.create(**facts, current_version=1, **changes)
    ResourceVersion.objects.create(resource=resource, number=1, **facts)
    return resource


def clean(*options: str, status: int = 0) -> str:
    said = io.StringIO()
    if status:
        with pytest.raises(SystemExit) as left:
            call_command("clean_storage", *options, stdout=said)
        assert left.value.code == status
    else:
        call_command("clean_storage", *options, stdout=said)
    return said.getvalue()


@pytest.mark.django_db
def test_nothing_is_removed_if_storage_and_rows_agree(files: Path) -> None:
    resource = with_file(thumbnail_path=stored(storage.THUMBNAILS, ".webp").path)
    before = sorted(files.rglob("*"))
    assert clean("--hours", "0", "--remove") == "Every file has a row, and every row has its file.\n"
    assert sorted(files.rglob("*")) == before
    Resource.objects.update(deleted_at=timezone.now())
    assert resource.versions.count() == 1
    assert "Every file has a row" in clean("--hours", "0", "--remove")


@pytest.mark.django_db
def test_files_without_a_row_are_listed_and_removed_on_request(files: Path) -> None:
    resource = with_file()
    orphan, picture = stored(), stored(storage.THUMBNAILS, ".webp")
    (files / "gateway.txt").write_text("not ours")
    assert "Every file has a row" in clean()  # they are a minute old
    listed = clean("--hours", "0", status=1)
    assert f"{orphan.path}: without a row, 7 bytes" in listed
    assert picture.path in listed
    assert "Files without a row: 2. To remove them, run `manage.py clean_storage --remove`." in listed
    assert storage.exists(orphan.path)
    assert f"{orphan.path}: removed" in clean("--hours", "0", "--remove")
    assert not storage.exists(orphan.path)
    assert not storage.exists(picture.path)
    assert storage.exists(str(resource.storage_path))
    assert (files / "gateway.txt").exists()


@pytest.mark.django_db
def test_rows_without_their_file_are_named(files: Path) -> None:
    resource = with_file(thumbnail_path="thumbnails/gone.webp")
    storage.delete(str(resource.storage_path))
    listed = clean("--hours", "0", "--remove", status=1)
    assert f"{resource.storage_path}: missing, the file of" in listed
    assert f"thumbnails/gone.webp: missing, the thumbnail of resource {resource.pk}" in listed
    assert "Rows whose file is missing: 2." in listed


@pytest.mark.django_db
def test_the_file_of_a_purged_version_has_no_row(files: Path) -> None:
    resource = with_file()
    ResourceVersion.objects.create(
        resource=resource,
        number=2,
        storage_path=stored().path,
        file_name="old.pdf",
        file_size=7,
        mime_type="application/pdf",
        sha256="0",
        purged_at=timezone.now(),
    )
    assert "Files without a row: 1." in clean("--hours", "0", status=1)


@pytest.mark.django_db
def test_a_row_added_while_files_are_removed_keeps_its_file(folder: Path) -> None:
    orphan = stored()
    [found] = leftovers.unused(older_than=timedelta(0))
    ResourceFactory.create(thumbnail_path=orphan.path)
    assert not leftovers.remove(found)
    assert storage.exists(orphan.path)


@pytest.mark.django_db
def test_faults_give_a_message(settings: Any, bucket: S3Server) -> None:
    with pytest.raises(CommandError, match="--hours is -1. Give a number from 0"):
        clean("--hours=-1")
    down = {**bucket.setting(), "OPTIONS": {**bucket.options, "endpoint_url": "http://127.0.0.1:9"}}
    settings.STORAGES = {**settings.STORAGES, "library": down}
    with pytest.raises(CommandError, match="does not answer"):
        clean()


def verified(settings: Any, *, is_full: bool) -> list[tuple[str, str]]:
    database = council_verification.Database(connection, is_full=is_full)
    with mock.patch.object(council_verification.Database, "transaction", nullcontext):
        found = verification.files(database)
        return [(str(finding.level), finding.message) for finding in found]


@pytest.mark.django_db
def test_verify_schema_looks_for_the_files_of_rows(files: Path, settings: Any) -> None:
    assert verified(settings, is_full=False) == [
        ("ok", "checked the files of rows: the newest 0; --full checks all")
    ]
    resource = with_file()
    orphan = stored()
    assert verified(settings, is_full=False) == [
        ("ok", "checked the files of rows: the newest 1; --full checks all")
    ]
    with mock.patch.object(leftovers.unused, "__kwdefaults__", {"older_than": timedelta(0)}):
        assert ("warning", f"1 files have no row, such as {orphan.path}") in verified(settings, is_full=True)
    storage.delete(str(resource.storage_path))
    gone = f"{resource.storage_path} is missing: version 1 of resource {resource.pk}"
    assert ("FAILED", gone) in verified(settings, is_full=False)
    settings.STORAGES = {name: value for name, value in settings.STORAGES.items() if name != "library"}
    [(level, words)] = verified(settings, is_full=False)
    assert (level, words) == (
        "warning",
        "not checked: No file storage is configured. Set LIBRARY_FOLDER, or the five variables that begin with S3_.",
    )


def run_job(monkeypatch: pytest.MonkeyPatch, *, age: timedelta) -> JobRun:
    monkeypatch.setattr(leftovers, "OLD_ENOUGH_FOR_A_JOB", age)
    run = jobs.run(jobs.JOBS["clean_storage"])
    assert run is not None
    return run


@pytest.mark.django_db
def test_the_job_removes_the_few_files_that_killed_processes_left_a_week_ago(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert timedelta(days=7) == leftovers.OLD_ENOUGH_FOR_A_JOB
    resource, orphan = with_file(), stored()
    assert run_job(monkeypatch, age=timedelta(days=7)).counts == {"files removed": 0}
    assert run_job(monkeypatch, age=timedelta(0)).counts == {"files removed": 1}
    assert not storage.exists(orphan.path)
    assert storage.exists(str(resource.storage_path))


@pytest.mark.django_db
def test_the_job_removes_nothing_if_many_files_have_no_row(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "MOST_FOR_A_JOB", 2)
    orphans = [stored() for _ in range(3)]
    run = run_job(monkeypatch, age=timedelta(0))
    assert (run.outcome, "Files without a row: 3, more than" in str(run.error)) == ("FAILED", True)
    assert all(storage.exists(orphan.path) for orphan in orphans)


@pytest.mark.django_db
def test_the_job_fails_if_a_row_has_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = with_file()
    storage.delete(str(resource.storage_path))
    run = run_job(monkeypatch, age=timedelta(0))
    assert run.outcome == "FAILED"
    assert f"Rows whose file is missing: 1: {resource.storage_path}" in str(run.error)


KILLED = """
    import os, signal, sys
    import django
    django.setup()
    from django.core.files.base import ContentFile
    from django.db import transaction
    from council.accounts.models import Account
    from resources import curation, storage, uploads
    from resources.models import Resource

    account = Account.objects.create_superuser("sam")
    stop = sys.argv[1]
    with uploads.reception() as reception:
        stored = storage.save(ContentFile(b"content"), folder="files", extension=".pdf", mime_type="application/pdf")
        reception.stored.append(stored.path)
        if stop == "stored":
            os.kill(os.getpid(), signal.SIGKILL)
        with transaction.atomic():
            resource = Resource(title="x", description="y", category="COLD_EMAIL", type="SOP")
            file = uploads.Received(stored, "plan.pdf", "application/pdf")
            curation.create(resource=resource, file=file, thumbnail_path=None, tags=[], site="", by=account)
            if stop == "written":
                os.kill(os.getpid(), signal.SIGKILL)
            if stop == "failed":
                raise RuntimeError("the database failed")
        reception.keep()
"""


@pytest.mark.parametrize(
    ("stop", "status", "files", "rows"),
    [("stored", -9, 1, 0), ("written", -9, 1, 0), ("failed", 1, 0, 0), ("never", 0, 1, 1)],
)
def test_files_left_by_a_killed_process_are_found(
    stop: str, status: int, files: int, rows: int, migrated: Database, tmp_path: Path
) -> None:
    environment = migrated.environment(
        DJANGO_SETTINGS_MODULE="council.settings", LIBRARY_FOLDER=str(tmp_path), DEBUG="true"
    )
    script = textwrap.dedent(KILLED)
    ended = subprocess.run(
        [sys.executable, "-c", script, stop],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == status, ended.stderr
    assert len(list(tmp_path.glob("files/*"))) == files
    assert migrated.fetch('SELECT count(*) FROM "Resource"') == [(rows,)]

    if files > rows:
        cleaned = migrated.manage(
            "clean_storage",
            "--hours=0",
            "--remove",
            DJANGO_SETTINGS_MODULE="council.settings",
            LIBRARY_FOLDER=str(tmp_path),
            DEBUG="true",
        )
        assert ": removed, 7 bytes" in cleaned.stdout
        assert list(tmp_path.glob("files/*")) == []


REPLACED = """
    import sys
    import django
    django.setup()
    from django.core.files.base import ContentFile
    from council.accounts.models import Account
    from resources import curation, storage, uploads
    from resources.refusal import Refused

    account = Account.objects.get()
    content = sys.argv[2].encode()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        with uploads.reception() as reception:
            stored = storage.save(ContentFile(content), folder="files", extension=".pdf", mime_type="application/pdf")
            reception.stored.append(stored.path)
            file = uploads.Received(stored, "plan.pdf", "application/pdf")
            curation.replace(resource_id=sys.argv[1], file=file, note="x", expected_version=1, by=account)
            reception.keep()
    except curation.Conflict as error:
        print(error)
    else:
        print("replaced")
"""


def test_of_several_concurrent_replacements_one_succeeds(migrated: Database, tmp_path: Path) -> None:
    settings = {
        "DJANGO_SETTINGS_MODULE": "council.settings",
        "LIBRARY_FOLDER": str(tmp_path),
        "DEBUG": "true",
    }
    environment = migrated.environment(**settings)
    first = [sys.executable, "-c", textwrap.dedent(KILLED), "never"]
    subprocess.run(first, cwd=ROOT, env=environment, check=True)
    [(resource_id,)] = migrated.fetch('SELECT id FROM "Resource"')

    def start(n: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(REPLACED), str(resource_id), f"content {n}"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)

    processes = [start(n) for n in range(3)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(3) as pool:
        said = [
            answer[0]
            for answer in pool.map(lambda process: process.communicate("go\n", timeout=60), processes)
        ]
    assert sorted(words[:8] for words in said) == ["Somebody"] * 2 + ["replaced"]
    assert migrated.fetch('SELECT "currentVersion" FROM "Resource"') == [(2,)]
    assert migrated.fetch('SELECT number FROM "ResourceVersion" ORDER BY 1') == [(1,), (2,)]
    assert len(list(tmp_path.glob("files/*"))) == 2
