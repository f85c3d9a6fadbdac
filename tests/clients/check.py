"""Checks the token on stdin as an application does, over HTTP, and prints whose session it is.

Run by scripts/test-import.sh: TENURE_URL and TENURE_KEY in the environment.
"""

import json
import os
import sys
import urllib.request

request = urllib.request.Request(
    os.environ["TENURE_URL"] + "/v1/sessions/check",
    data=json.dumps({"token": sys.stdin.read().strip(), "activity": "user"}).encode(),
    headers={"Authorization": "Bearer " + os.environ["TENURE_KEY"], "Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=10) as answer:
    print(json.load(answer)["session"]["user"])
