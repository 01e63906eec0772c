"""The model state while migrations are applied.

Django renders a model and all related models again whenever the model's state changes. Two of three such changes
concern indexes, constraints or triggers, which are lists in the model's options. Here these lists are replaced in
the existing model instead.
"""

from typing import Any, Self

from django.db.migrations.state import ModelState, ProjectState

LISTS = ("indexes", "constraints", "triggers")


class ForwardState(ProjectState):
    """A state for applying migrations. Not for reversing, where one model would stand for several states at once."""

    _made_of: dict[tuple[str, str], Any]

    @classmethod
    def of(cls, state: ProjectState) -> Self:
        """Copy a state. Reset the lists, as a failed attempt may have replaced them in models that both share."""
        copied = state.clone()
        new = cls(copied.models, copied.real_apps)
        new.is_delayed = copied.is_delayed
        new._made_of = {}
        if "apps" in copied.__dict__:
            new.apps = copied.apps
            for key, model_state in new.models.items():
                new._made_of[key] = _made_of(model_state)
                new._exchange_lists(key)
        return new

    def reload_model(self, app_label: str, model_name: str, delay: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's signature
        key = app_label, model_name
        made_of = _made_of(self.models[key])
        # A model that was renamed away and back has been removed in between.
        is_rendered = "apps" in self.__dict__ and model_name in self.apps.all_models[app_label]
        if is_rendered and self._made_of.get(key) == made_of:
            self._exchange_lists(key)
            return
        super().reload_model(app_label, model_name, delay)
        self._made_of[key] = made_of

    def _exchange_lists(self, key: tuple[str, str]) -> None:
        meta = self.apps.get_model(*key)._meta
        for name in LISTS:
            setattr(meta, name, list(self.models[key].options.get(name, ())))
        meta.__dict__.pop("total_unique_constraints", None)


def _made_of(state: ModelState) -> Any:
    """Return everything that defines a model, except for the lists."""
    options = {name: value for name, value in state.options.items() if name not in LISTS}
    return list(state.fields.items()), state.bases, list(state.managers), options
