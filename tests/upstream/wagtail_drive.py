"""An editor's day in Wagtail's admin, through its own views: prints what was done as JSON, for the test to check."""

import io
import json
import sys

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402
from home.models import Article, Topic  # noqa: E402
from PIL import Image  # noqa: E402
from wagtail.documents.models import Document  # noqa: E402
from wagtail.images import get_image_model  # noqa: E402
from wagtail.models import Collection, Page  # noqa: E402
from wagtail.test.utils.form_data import (  # noqa: E402
    inline_formset,
    nested_form_data,
    rich_text,
    streamfield,
)

client = Client(headers={"host": "localhost"})


def post(view, *args, **data):
    response = client.post(reverse(view, args=args), data)
    assert response.status_code == 302, (view, response.status_code, _errors(response))


def _errors(response):
    return {
        name: value.errors
        for context in response.context or ()
        for name, value in context.flatten().items()
        if hasattr(value, "errors")
    }


def article(title, slug, links=(), topics=(), tags="", text="A paragraph."):
    form = {
        "title": title,
        "slug": slug,
        "intro": rich_text(f"<p>About {title}</p>"),
        "body": streamfield([("heading", title), ("text", rich_text(f"<p>{text}</p>"))]),
        "topics": [topic.pk for topic in topics],
        "tags": tags,
        "links": inline_formset(links, initial=sum("id" in link for link in links)),
        "comments": inline_formset([]),
    }
    return nested_form_data(form)


get_user_model().objects.create_superuser("editor", "editor@example.com", "a long pass phrase")
post("wagtailadmin_login", username="editor", password="a long pass phrase")

# Snippets, with Wagtail's own views.
for name in ("Politics", "Sport", "Weather"):
    post("wagtailsnippets_home_topic:add", name=name)
politics, sport, weather = Topic.objects.order_by("pk")
post("wagtailsnippets_home_topic:edit", weather.pk, name="The weather")

# A draft, edited twice, published, unpublished.
home = Page.objects.get(depth=2)
new = ("wagtailadmin_pages:add", "home", "article", home.pk)
post(
    *new,
    **article("First", "first", [{"url": "https://example.com/1", "ORDER": 1}], [politics, sport], "a, b"),
)
first = Article.objects.get(slug="first")
edit = ("wagtailadmin_pages:edit", first.pk)
post(*edit, **article("First, second draft", "first", topics=[politics], tags="a"))
publish = {"action-publish": "action-publish"}
links = [{"url": "https://example.com/2", "ORDER": 1}, {"url": "https://example.com/3", "ORDER": 2}]
post(*edit, **article("First, published", "first", links, [politics, weather], "b, c"), **publish)
kept = first.links.order_by("sort_order").first()
links = [{"id": kept.pk, "url": "https://example.com/changed", "ORDER": 1}]
post(*edit, **article("First, corrected", "first", links, [weather], "c"), **publish)

# Four more, moved below the first, put in another order, copied, unpublished, deleted.
for slug in ("second", "third", "fourth", "fifth"):
    post(*new, **article(slug.title(), slug), **publish)
second, third, fourth, fifth = Article.objects.exclude(pk=first.pk).order_by("pk")
post("wagtailadmin_pages:move_confirm", second.pk, first.pk)
post("wagtailadmin_pages:move_confirm", third.pk, first.pk)
place = reverse("wagtailadmin_pages:set_page_position", args=[fifth.pk])
assert client.post(f"{place}?position=0").status_code == 200
copy = {"new_title": "Copy", "new_slug": "copy", "new_parent_page": str(home.pk), "copy_subpages": "on"}
post("wagtailadmin_pages:copy", first.pk, **copy)
post("wagtailadmin_pages:unpublish", fourth.pk)
post("wagtailadmin_pages:lock", third.pk)
post("wagtailadmin_pages:delete", fourth.pk)
post("wagtailadmin_pages:delete", Page.objects.get(slug="copy").pk)

# A collection, an image and a document.
post("wagtailadmin_collections:add", name="Press", parent=Collection.get_first_root_node().pk)
press = Collection.objects.get(name="Press")
picture = io.BytesIO()
Image.new("RGB", (8, 8), "red").save(picture, "PNG")
upload = SimpleUploadedFile("red.png", picture.getvalue(), "image/png")
post("wagtailimages:add", title="Red", file=upload, collection=press.pk, tags="red, small")
image = get_image_model().objects.get()
post("wagtailimages:edit", image.pk, title="A red square", collection=press.pk, tags="red")
upload = SimpleUploadedFile("report.txt", b"A report", "text/plain")
post("wagtaildocs:add", title="Report", file=upload, collection=press.pk, tags="")
document = Document.objects.get()
post("wagtaildocs:edit", document.pk, title="The report", collection=press.pk, tags="")
post("wagtaildocs:delete", document.pk)

# Topics that go: from articles too.
post("wagtailsnippets_home_topic:delete", weather.pk)

deleted = {"home.Article": fourth.pk, "wagtaildocs.Document": document.pk, "home.Topic": weather.pk}
there = {"home.Article": first.pk, "wagtailimages.Image": image.pk, "home.Topic": politics.pk}
json.dump({"there": there, "deleted": deleted}, sys.stdout)
