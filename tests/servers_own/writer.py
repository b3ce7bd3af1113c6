"""A process that saves until SIGTERM, and takes a refused transaction as applications do: it forgets it and goes on.

Each transaction adds one to some claims. ``CLAIM AMOUNT`` is printed when its COMMIT has returned, ``refused`` when the
database did not take it, or did not say.
"""

from __future__ import annotations

import random
import signal
import time

import django

PAUSE_SECONDS = 0.02  # at most, between two transactions


class RolledBack(Exception):
    """The writer has thought better of it."""


def write(told: list[int]) -> None:
    """Save until there is a signal in ``told``."""
    from django.db import Error, connection, transaction
    from testapp.models import Claim

    claims = list(Claim.objects.order_by("pk").values_list("pk", flat=True))
    connection.close()
    while not told:
        time.sleep(random.uniform(0, PAUSE_SECONDS))
        done = []
        try:
            with transaction.atomic():
                # In one order, so that two writers never wait for each other.
                chosen = Claim.objects.select_for_update().filter(pk__in=random.sample(claims, 2))
                for claim in chosen.order_by("pk"):
                    claim.amount += 1
                    claim.save()
                    done.append(claim)
                if random.random() < 0.1:
                    raise RolledBack
        except RolledBack:
            continue
        except Error:
            print("refused", flush=True)
            connection.close()
            continue
        for claim in done:
            print(claim.pk, claim.amount, flush=True)


if __name__ == "__main__":
    # A handler that set an event could wait for the lock of the one who waits for it: itself.
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    django.setup()
    write(told)
