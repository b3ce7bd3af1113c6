"""The way in."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import RedirectView


class Home(LoginRequiredMixin, RedirectView):
    """To the policies; an auditor, who works for no insurer, to the timeline."""

    def get_redirect_url(self, *args: object, **kwargs: object) -> str:
        user = self.request.user
        self.pattern_name = "policies:list" if user.tenant_id or user.is_superuser else "audit:timeline"
        return super().get_redirect_url() or "/"
