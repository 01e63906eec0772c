"""Rows for tests, valid and as small as possible."""

# mypy: disable-error-code="attr-defined, no-untyped-call, untyped-decorator"

from typing import Any

import argon2
import factory
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile

from benchmarks.answers import BenchmarkSubmission
from benchmarks.definitions import Category as BenchmarkCategory
from council.accounts.models import Account
from council.models import Admin, Member, SubscriptionStatus, Team
from gamification.models import PointTransaction
from resources import storage
from resources.models import Category, Resource, ResourceDownload, ResourceTag, ResourceVersion, Type

_cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def hashed(password: str) -> str:
    """Hash a password as the gateway does, but cheaply."""
    return _cheap.hash(password)


class TeamFactory(factory.django.DjangoModelFactory[Team]):
    class Meta:
        model = Team

    name = factory.Sequence(lambda n: f"Team {n}")
    stripe_customer_id = factory.Sequence(lambda n: f"cus_team_{n}")


class MemberFactory(factory.django.DjangoModelFactory[Member]):
    class Meta:
        model = Member

    email = factory.Sequence(lambda n: f"member{n}@example.com")
    first_name = factory.Sequence(lambda n: f"Member {n}")
    subscription_status = SubscriptionStatus.ACTIVE


class AdminFactory(factory.django.DjangoModelFactory[Admin]):
    class Meta:
        model = Admin

    email = factory.Sequence(lambda n: f"admin{n}@council.example")
    password_hash = "$argon2id$nobody-knows-it"


class AccountFactory(factory.django.DjangoModelFactory[Account]):
    """An account; with `permissions=["app.codename", ...]` it has these."""

    class Meta:
        model = Account
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"account{n}")

    @factory.post_generation
    def permissions(self, create: bool, names: list[str] | None, **kwargs: Any) -> None:
        for name in names or []:
            app_label, codename = name.split(".")
            permission = Permission.objects.get(content_type__app_label=app_label, codename=codename)
            self.user_permissions.add(permission)


class PointTransactionFactory(factory.django.DjangoModelFactory[PointTransaction]):
    class Meta:
        model = PointTransaction

    member = factory.SubFactory(MemberFactory)
    action = "intro_completed"
    points = 25


class ResourceFactory(factory.django.DjangoModelFactory[Resource]):
    class Meta:
        model = Resource

    title = factory.Sequence(lambda n: f"Resource {n}")
    description = "How to use it."
    category = Category.COLD_EMAIL
    type = Type.TEMPLATE
    file_url = "https://files.example.com/template.pdf"


class ResourceTagFactory(factory.django.DjangoModelFactory[ResourceTag]):
    class Meta:
        model = ResourceTag

    name = factory.Sequence(lambda n: f"Tag {n}")
    slug = factory.LazyAttribute(lambda tag: tag.name.lower().replace(" ", "-"))


def stored_resource(
    *, content: bytes = b"%PDF-1.7 the file", file_name: str = "Playbook.pdf", **fields: Any
) -> Resource:
    """Make a resource with a file in the storage, as its first version."""
    resource: Resource = ResourceFactory.create(**{"type": Type.PLAYBOOK, **fields})
    store_version(resource, content=content, file_name=file_name)
    return resource


def store_version(
    resource: Resource, *, content: bytes, file_name: str = "Playbook.pdf", **fields: Any
) -> None:
    """Give a resource a file, as its next version."""
    stored = storage.save(
        ContentFile(content), folder=storage.FILES, extension=".pdf", mime_type="application/pdf"
    )
    facts = {
        "storage_path": stored.path,
        "file_name": file_name,
        "file_size": stored.size,
        "mime_type": "application/pdf",
        "sha256": stored.sha256,
    }
    number = (resource.current_version or 0) + 1
    ResourceVersion.objects.create(resource=resource, number=number, **facts, **fields)
    for name, value in {**facts, "current_version": number, "file_url": resource.get_absolute_url()}.items():
        setattr(resource, name, value)
    resource.save()


class ResourceDownloadFactory(factory.django.DjangoModelFactory[ResourceDownload]):
    class Meta:
        model = ResourceDownload

    member = factory.SubFactory(MemberFactory)
    resource = factory.SubFactory(ResourceFactory)


class BenchmarkSubmissionFactory(factory.django.DjangoModelFactory[BenchmarkSubmission]):
    class Meta:
        model = BenchmarkSubmission

    member = factory.SubFactory(MemberFactory)
    category = BenchmarkCategory.INFRASTRUCTURE
    data = {"cost_per_domain": 12, "domain_vendor": "Porkbun"}
