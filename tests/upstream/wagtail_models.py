"""Appended to the models of the project that ``wagtail start`` makes: the kinds of content that people edit."""

from django.db import models
from modelcluster.contrib.taggit import ClusterTaggableManager
from modelcluster.fields import ParentalKey, ParentalManyToManyField
from taggit.models import TaggedItemBase
from wagtail import blocks
from wagtail.admin.panels import FieldPanel, InlinePanel
from wagtail.fields import RichTextField, StreamField
from wagtail.models import Orderable, Page
from wagtail.snippets.models import register_snippet


@register_snippet
class Topic(models.Model):
    name = models.CharField(max_length=50)

    panels = (FieldPanel("name"),)

    def __str__(self):
        return self.name


class ArticleTag(TaggedItemBase):
    content_object = ParentalKey("home.Article", related_name="tagged_items", on_delete=models.CASCADE)


class Article(Page):
    intro = RichTextField(blank=True)
    body = StreamField([("heading", blocks.CharBlock()), ("text", blocks.RichTextBlock())], blank=True)
    topics = ParentalManyToManyField(Topic, blank=True)
    tags = ClusterTaggableManager(through=ArticleTag, blank=True)

    content_panels = (
        *Page.content_panels,
        FieldPanel("intro"),
        FieldPanel("body"),
        FieldPanel("topics"),
        FieldPanel("tags"),
        InlinePanel("links"),
    )


class Link(Orderable):
    article = ParentalKey(Article, related_name="links", on_delete=models.CASCADE)
    url = models.URLField()

    panels = (FieldPanel("url"),)
