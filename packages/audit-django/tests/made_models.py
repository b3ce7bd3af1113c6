"""Models that are made for one test: an application may define one at any time."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import connection, models

from audit_django import registry


@contextmanager
def audited(*made: type[models.Model], **options: Any) -> Generator[None]:
    """Tables for these models, which are audited, with these options, as long as they are there."""
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    for model in made:
        registry.register(model, **options)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)
        for model in made:
            take_away(model)


def take_away(model: type[models.Model]) -> None:
    """The application has this model no more."""
    registry.unregister(model)
    links = [field.remote_field.through for field in model._meta.local_many_to_many]
    for gone in (model, *(through for through in links if through._meta.auto_created)):
        del apps.all_models[gone._meta.app_label][gone._meta.model_name]
    apps.clear_cache()
