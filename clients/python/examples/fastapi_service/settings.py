"""The service's own settings.py."""

import os

DATABASE_URL = os.environ["DATABASE_URL"]  # a member of headrace_producer that may write the service's tables
TENANT_ID = os.environ["TENANT_ID"]
