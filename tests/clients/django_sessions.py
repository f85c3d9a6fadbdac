"""Fills django_session as Django does: its own models, its own encoding.

Run by scripts/test-import.sh: SOURCE_HOST, SOURCE_PORT, SOURCE_NAME and ROWS in the environment. Prints a session key.
"""

import os
from datetime import timedelta

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a-secret-that-only-this-test-knows-and-that-is-long-enough",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["SOURCE_HOST"],
            "PORT": os.environ["SOURCE_PORT"],
            "NAME": os.environ["SOURCE_NAME"],
            "USER": "tenure",
        }
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

ROWS = int(os.environ["ROWS"])
call_command("migrate", verbosity=0)
User.objects.bulk_create(User(username=f"user.{n}") for n in range(1000))
ids = list(User.objects.order_by("username").values_list("id", flat=True))
store = SessionStore()
expires = timezone.now() + timedelta(days=14)
key = None
for first in range(0, ROWS, 5000):
    batch = []
    for n in range(first, min(first + 5000, ROWS)):
        key = f"{n:032x}"
        data = {"_auth_user_id": str(ids[n % 1000]), "_auth_user_backend": "django.contrib.auth.backends.ModelBackend", "cart": [n]}
        batch.append(Session(session_key=key, session_data=store.encode(data), expire_date=expires))
    Session.objects.bulk_create(batch)
print(key)
