"""Settings that are read from the environment, and values that are refused."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from council import settings as module

pytestmark = pytest.mark.any_server

BUCKET = {
    "S3_ENDPOINT_URL": "https://abc.supabase.co/storage/v1/s3",
    "S3_REGION": "eu-central-1",
    "S3_BUCKET": "library",
    "S3_ACCESS_KEY_ID": "key",
    "S3_SECRET_ACCESS_KEY": "the-secret",
}
SECONDS = ("S3_CONNECT_SECONDS", "S3_ANSWER_SECONDS", "S3_SAVE_SECONDS")


def library_storage(monkeypatch: pytest.MonkeyPatch, debug: bool = False, /, **given: str) -> Any:
    for name in (*BUCKET, *SECONDS, "LIBRARY_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "DEBUG", debug)
    return module.library_storage()


def test_a_bucket_has_its_address_region_name_and_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library_storage(monkeypatch, **BUCKET) == {
        "BACKEND": "resources.bucket.Bucket",
        "OPTIONS": {
            "endpoint_url": "https://abc.supabase.co/storage/v1/s3",
            "region_name": "eu-central-1",
            "bucket_name": "library",
            "access_key": "key",
            "secret_key": "the-secret",
            "connect_seconds": 3,
            "answer_seconds": 5,
            "save_seconds": 60,
        },
    }
    given = dict(zip(SECONDS, ("1", "2", "30"), strict=True))
    options = library_storage(monkeypatch, **BUCKET, **given)["OPTIONS"]
    assert [options[f"{name}_seconds"] for name in ("connect", "answer", "save")] == [1, 2, 30]


def test_development_has_a_folder_and_production_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library_storage(monkeypatch) is None
    assert library_storage(monkeypatch, True)["OPTIONS"] == {"location": module.BASE_DIR / ".library"}
    assert library_storage(monkeypatch, LIBRARY_FOLDER="/srv/library")["OPTIONS"] == {
        "location": Path("/srv/library")
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"S3_REGION": "", "S3_BUCKET": " "},
            "S3_REGION, S3_BUCKET must be set, because other variables of the bucket are set.",
        ),
        ({"LIBRARY_FOLDER": "/srv/library"}, "LIBRARY_FOLDER and S3_BUCKET are both set. Set one of them."),
        (
            {"S3_ENDPOINT_URL": "http://abc.supabase.co"},
            "S3_ENDPOINT_URL is 'http://abc.supabase.co'. Set it to",
        ),
        ({"S3_ENDPOINT_URL": "abc.supabase.co"}, "an address that begins with https://"),
        ({"S3_ANSWER_SECONDS": "soon"}, "S3_ANSWER_SECONDS is 'soon'. Set it to a whole number."),
    ],
)
def test_an_invalid_setting_is_reported_with_its_cure(
    changes: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        library_storage(monkeypatch, **{**BUCKET, **changes})
    assert words in str(refusal.value)
    assert "the-secret" not in str(refusal.value)
