"""The forms of the library's admin pages."""

from typing import Any

from django import forms

from council.model_admin import MultilineField
from resources import curation, thumbnails, uploads
from resources.models import Resource, ResourceTag
from resources.refusal import Refused
from resources.storage import MIB
from resources.uploads import Reception

CHOOSE_AGAIN = "If the form comes back with an error, choose the file again, because browsers do not keep it."
FILE_HELP = f"PDF, DOCX, XLSX, PPTX, MP4 or ZIP, at most {uploads.MAX_BYTES // MIB} MB. {CHOOSE_AGAIN}"
THUMBNAIL_MB = thumbnails.MAX_UPLOAD_BYTES // MIB
THUMBNAIL_HELP = f"JPEG, PNG or WebP, at most {THUMBNAIL_MB} MB. It is made smaller. {CHOOSE_AGAIN}"
NOT_SAVED = "This file is fine, but the form has errors. Correct them, and choose the file again."
ACCEPT = ".pdf,.docx,.xlsx,.pptx,.mp4,.zip"


class ReceivingForm(forms.Form):
    """A form whose files are received before it is validated (uploads.reception). It shows why files were refused."""

    reception: Reception

    def received(self, field: str) -> None:
        """Add the error of a field's file to the form."""
        if fault := self.reception.faults.get(field):
            self.errors.pop(field, None)  # "no file was chosen", if the upload was cut off
            self.add_error(field, fault)

    def say_what_is_lost(self) -> None:
        """If the form has errors, say that files without errors must be chosen again, too."""
        if not self.errors:
            return
        stored = {"file": self.reception.file, "thumbnail": self.reception.thumbnail_path}
        for field, found in stored.items():
            if found and field in self.fields:
                self.add_error(field, NOT_SAVED)


class ResourceForm(ReceivingForm, forms.ModelForm):
    """A resource. The fields depend on whether it is new, and on whether it is a file or a link."""

    file = forms.FileField(
        required=False,
        help_text=FILE_HELP,
        widget=forms.FileInput(attrs={"accept": ACCEPT}),
        allow_empty_file=True,
    )
    thumbnail = forms.FileField(
        required=False,
        help_text=THUMBNAIL_HELP,
        widget=forms.FileInput(attrs={"accept": ".jpg,.jpeg,.png,.webp"}),
        allow_empty_file=True,
    )
    remove_thumbnail = forms.BooleanField(required=False, label="Remove the picture")
    tag_list = forms.ModelMultipleChoiceField(
        ResourceTag.objects.order_by("name"),
        required=False,
        label="Tags",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "One of the tags no longer exists. Choose again."},
    )

    class Meta:
        model = Resource
        fields: tuple[str, ...] = ()  # the admin page chooses them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_new = self.instance._state.adding
        if not self.is_new:
            self.initial["tag_list"] = [tag.pk for tag in self.instance.tags.all()]
        if "file_url" in self.fields:
            self.fields["file_url"].required = not self.is_new
            self.fields["file_url"].label = "Address of a link"
            self.fields["file_url"].help_text = "A video or page elsewhere. It must begin with https://."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.received("file")
        self.received("thumbnail")
        if self.is_new:
            self._check_file_or_link(cleaned)
        try:
            status_or_time_changed = {"status", "publish_at"} & {*self.changed_data}
            if "status" in cleaned and "publish_at" in cleaned and (self.is_new or status_or_time_changed):
                curation.check_schedule(status=cleaned["status"], at=cleaned["publish_at"])
        except Refused as error:
            self.add_error("publish_at", str(error))
        self.say_what_is_lost()
        return cleaned

    def _check_file_or_link(self, cleaned: dict[str, Any]) -> None:
        has_file = self.files.get("file") is not None or "file" in self.errors
        has_link = bool(cleaned.get("file_url"))
        if has_file and has_link:
            self.add_error("file_url", "A resource is either a file or a link. Remove one of them.")
        elif not has_file and not has_link and "file_url" not in self.errors:
            self.add_error("file", "Choose a file, or enter the address of a link.")


class ReplaceForm(ReceivingForm):
    """A new file for a resource, with a note. `seen` is the version that the page showed."""

    seen = forms.IntegerField(widget=forms.HiddenInput)
    note = MultilineField(
        label="What is new",
        max_length=curation.MAX_NOTE_LENGTH,
        help_text="Members who have the previous version see this note.",
        error_messages={"required": "Enter what is new."},
    )
    file = forms.FileField(
        label="New file",
        help_text=FILE_HELP,
        widget=forms.FileInput(attrs={"accept": ACCEPT}),
        allow_empty_file=True,
        error_messages={"required": "Choose the new file."},
    )

    def clean(self) -> dict[str, Any]:
        self.received("file")
        self.say_what_is_lost()
        return self.cleaned_data


class TagForm(forms.ModelForm):
    """A tag. Members see its name, and can filter by it."""

    class Meta:
        model = ResourceTag
        fields = ("name",)

    def clean_name(self) -> str:
        name = " ".join(str(self.cleaned_data["name"]).split())
        try:
            curation.name_tag(tag=self.instance, name=name)
        except Refused as error:
            raise forms.ValidationError(str(error)) from error
        return name


class MergeForm(forms.Form):
    """The choice of the tag that stays after a merge."""

    into = forms.ModelChoiceField(
        ResourceTag.objects.none(), label="Keep", empty_label=None, widget=forms.RadioSelect
    )
