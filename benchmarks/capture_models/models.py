"""The same model several times: plain, audited in each of our ways, and by each other package that is installed."""

from django.db import models

from audit_django import register

try:
    from auditlog.registry import auditlog
except ImportError:
    auditlog = None
try:
    from simple_history.models import HistoricalRecords
except ImportError:
    HistoricalRecords = None
try:
    import reversion
except ImportError:
    reversion = None
try:
    import pghistory
except ImportError:
    pghistory = None


class Label(models.Model):
    name = models.CharField(max_length=20)

    def __str__(self):
        return self.name


class Policy(models.Model):
    number = models.CharField(max_length=20)
    holder = models.CharField(max_length=100)
    status = models.CharField(max_length=20, default="pending")
    premium = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    discount = models.IntegerField(default=0)
    is_active = models.BooleanField(default=True)
    valid_from = models.DateField(null=True)
    created_at = models.DateTimeField(null=True)
    notes = models.TextField(blank=True)

    class Meta:
        abstract = True

    def __str__(self):
        return self.number


class Plain(Policy):
    """What Django does."""

    labels = models.ManyToManyField(Label, related_name="+")


class Floor(Policy):
    """One plain INSERT beside each write, in its transaction."""

    labels = models.ManyToManyField(Label, related_name="+")


class Exact(Policy):
    """The values before are read under a lock."""

    labels = models.ManyToManyField(Label, related_name="+")


class Instance(Policy):
    """The values before are those that were loaded."""

    labels = models.ManyToManyField(Label, related_name="+")


register(Exact)
register(Instance, before="instance")

KINDS = {"exact": Exact, "instance": Instance}

if auditlog:

    class ByAuditlog(Policy):
        labels = models.ManyToManyField(Label, related_name="+")

    auditlog.register(ByAuditlog, m2m_fields={"labels"})
    KINDS["auditlog"] = ByAuditlog

if HistoricalRecords:

    class BySimpleHistory(Policy):
        labels = models.ManyToManyField(Label, related_name="+")
        history = HistoricalRecords(m2m_fields=[labels])

    KINDS["simple-history"] = BySimpleHistory

if reversion:

    @reversion.register
    class ByReversion(Policy):
        labels = models.ManyToManyField(Label, related_name="+")

    KINDS["reversion"] = ByReversion

if pghistory:

    @pghistory.track()
    class ByPghistory(Policy):
        labels = models.ManyToManyField(Label, related_name="+")

    KINDS["pghistory"] = ByPghistory
