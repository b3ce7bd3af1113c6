"""Password hashing for a developer's machine."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """Django's own, with few rounds. Never for production: the settings use it with DEBUG only."""

    iterations = 5_000
