"""The model state while migrations are applied.

Django renders a model and all related models again whenever the model's state changes, which with many related models
takes most of a migrate's time. Here as little as possible is rendered:

- Most changes concern indexes, constraints or triggers, which are lists in the model's options. These lists are
  replaced in the existing model.
- For most other changes, it is enough to render the model itself, the models that inherit from it, and the models to
  which it gains or loses a relation. All other models see no more of it than its table and the columns that they
  reference. If these change, Django's own method is used.

As with Django's own delayed rendering, RunPython gets models that have all been rendered again.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Self

from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import (  # type: ignore[attr-defined]  # not in the stubs
    FieldReference,
    field_references,
    resolve_relation,
)

Key = tuple[str, str]
LISTS = ("indexes", "constraints", "triggers")
# Options that no other model sees.
OWN_OPTIONS = {
    *LISTS,
    *("default_permissions", "get_latest_by", "index_together", "ordering", "permissions", "unique_together"),
    *("verbose_name", "verbose_name_plural"),
}


class ForwardState(ProjectState):
    """A state for applying migrations. It cannot reverse them, which needs several states of a model at once."""

    _rendered: dict[Key, ModelState]

    @classmethod
    def of(cls, state: ProjectState) -> Self:
        """Copy a state. Reset the lists, as a failed attempt may have replaced them in models that both share."""
        new = cls(_copies(state), state.real_apps)
        new.is_delayed = state.is_delayed
        new._rendered = dict(state._rendered) if isinstance(state, cls) else dict(_copies(state))
        if "apps" in state.__dict__:
            new.apps = state.apps.clone()
            for key in new.models:
                new._exchange_lists(key)
        return new

    def clone(self) -> ProjectState:
        """Copy it as Django's own kind of state, without checking each field again."""
        new = ProjectState(_copies(self), self.real_apps)
        new.is_delayed = self.is_delayed
        if "apps" in self.__dict__:
            new.apps = self.apps.clone()
        return new

    def reload_model(self, app_label: str, model_name: str, delay: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's signature
        key = app_label, model_name
        if "apps" not in self.__dict__:
            return
        now = self.models[key]
        # A model that was renamed away and back has been removed in between.
        is_rendered = model_name in self.apps.all_models[app_label]
        former = self._rendered.get(key) if is_rendered else None
        if former and _made_of(former) == _made_of(now):
            self._exchange_lists(key)
        elif self._is_seen_elsewhere(key, former, now):
            super().reload_model(app_label, model_name, delay)
        else:
            self.is_delayed = True
            self._reload({key, *_targets(key, _changed(former, now))})

    def remove_model(self, app_label: str, model_name: str) -> None:
        former = self.models[app_label, model_name]
        super().remove_model(app_label, model_name)
        if "apps" in self.__dict__:
            self._reload(_targets((app_label, model_name), former.fields.items()))

    def _reload(self, related_models: set[Key]) -> None:
        """Render models and all that inherit from them."""
        found, new = set(related_models), set(related_models)
        while new:
            new = {key for key, state in self.models.items() if _parents(state) & new} - found
            found |= new
        super()._reload(found)  # type: ignore[misc]  # not in the stubs
        self._rendered |= {key: _copy(self.models[key]) for key in found if key in self.models}

    def _is_seen_elsewhere(self, key: Key, former: ModelState | None, now: ModelState) -> bool:
        """Return whether other models see what has changed of a model: its table, or columns that they reference."""
        if former is None:
            return any(state is not now for state, _ in self._references(key))
        if former.bases != now.bases or _seen_options(former) != _seen_options(now):
            return True
        return any(
            _is_seen(*one, reference)
            for one in _changed(former, now)
            for _, reference in self._references(key, *one)
        )

    def _references(self, key: Key, *field: Any) -> Iterator[tuple[ModelState, FieldReference]]:
        """Yield what refers to a model or a field of it, as Django's get_references, but look at relations only."""
        for own_key, state in self.models.items():
            for candidate in state.fields.values():
                if candidate.remote_field and (found := field_references(own_key, candidate, key, *field)):
                    yield state, found

    def _exchange_lists(self, key: Key) -> None:
        app_label, model_name = key
        meta: Any = self.apps.all_models[app_label][model_name]._meta
        for name in LISTS:
            setattr(meta, name, list(self.models[key].options.get(name, ())))
        meta.__dict__.pop("total_unique_constraints", None)


def _copies(state: ProjectState) -> dict[Key, ModelState]:
    return {key: _copy(model) for key, model in state.models.items()}


def _copy(state: ModelState) -> ModelState:
    copied = object.__new__(type(state))  # copy.copy takes ten times as long
    copied.__dict__ = state.__dict__ | {
        "fields": dict(state.fields),
        "options": dict(state.options),
        "managers": list(state.managers),
    }
    return copied


def _made_of(state: ModelState) -> Any:
    """Return everything that defines a model, except for the lists."""
    options = {name: value for name, value in state.options.items() if name not in LISTS}
    return list(state.fields.items()), state.bases, list(state.managers), options


def _seen_options(state: ModelState) -> dict[str, Any]:
    return {name: value for name, value in state.options.items() if name not in OWN_OPTIONS}


def _changed(former: ModelState | None, now: ModelState) -> list[tuple[str, Any]]:
    """Return the fields that only one of two states of a model has, with their names."""
    before, after = former.fields if former else {}, now.fields
    return [
        (name, field)
        for one, other in ((before, after), (after, before))
        for name, field in one.items()
        if other.get(name) is not field
    ]


def _is_seen(name: str, field: Any, reference: FieldReference) -> bool:
    """Return whether a reference to a field's model depends on the field. Many-to-many fields depend on all fields."""
    _, to_fields = reference.to or (None, ())
    is_end_of_many_to_many = bool(reference.through and field.remote_field)
    return is_end_of_many_to_many or bool(reference.to and field.primary_key) or name in (to_fields or ())


def _parents(state: ModelState) -> set[Key]:
    return {resolve_relation(base, state.app_label) for base in state.bases if isinstance(base, str)}


def _targets(key: Key, fields: Iterable[tuple[str, Any]]) -> set[Key]:
    """Return the other models at which relations point, directly or through a table of their own."""
    ends = [
        end
        for _, field in fields
        if field.remote_field
        for end in (field.remote_field.model, getattr(field.remote_field, "through", None))
        if end
    ]
    return {resolve_relation(end, *key) for end in ends} - {key}
