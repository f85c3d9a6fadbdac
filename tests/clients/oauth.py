"""A stock OAuth client library against a running node: refresh, introspect, revoke.

Run by scripts/test-api.sh, which gives TENURE_URL and TENURE_KEY (of role admin) in the environment.
"""

import os

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

URL = os.environ["TENURE_URL"]
api = requests.Session()
api.headers["Authorization"] = f"Bearer {os.environ['TENURE_KEY']}"


def call(method, path, body=None, expect=200):
    answer = api.request(method, URL + path, json=body)
    assert answer.status_code == expect, (method, path, answer.status_code, answer.text)
    return answer.json()


def check(token):
    return api.post(URL + "/v1/sessions/check", json={"token": token})


def sign_in(entity):
    return call("POST", "/v1/sessions", {"kind": "mobile", "user": "abel.tuter", "oauth_entity": entity}, 201)


def session_of(created, **client):
    token = {name: created[name] for name in ("access_token", "refresh_token", "token_type", "expires_in")}
    return OAuth2Session(token=token, token_endpoint=URL + "/oauth/token", **client)


def refresh(client):
    """The library's own way through: it posts the form, reads the answer and keeps the new tokens."""
    return client.refresh_token(URL + "/oauth/token")


def exercise(entity, **client):
    created = sign_in(entity)
    oauth = session_of(created, **client)
    tokens = refresh(oauth)
    assert tokens["refresh_token"] != created["refresh_token"], "the refresh token was not rotated"
    assert tokens["expires_in"] == 600 and tokens["token_type"] == "Bearer"
    assert check(tokens["access_token"]).status_code == 200
    again = refresh(oauth)
    assert again["access_token"] != tokens["access_token"]

    # A replay of the first token ends the session; the library raises what the server says.
    try:
        refresh(session_of(created, **client))
        raise AssertionError("a replay was granted")
    except OAuthError as error:
        assert error.error == "invalid_grant", error
    over = check(created["token"])
    assert (over.status_code, over.json()["reason"]) == (401, "token_reuse"), over.text

    # Introspection and revocation.
    created = sign_in(entity)
    oauth = session_of(created, **client)
    if "client_secret" in client:
        seen = oauth.introspect_token(URL + "/oauth/introspect", token=created["access_token"]).json()
        assert seen["active"] is True and seen["username"] == "abel.tuter", seen
    answer = oauth.revoke_token(URL + "/oauth/revoke", token=created["access_token"], token_type_hint="access_token")
    assert answer.status_code == 200, answer.text
    assert check(created["access_token"]).json()["code"] == "unknown_token"
    assert check(created["token"]).status_code == 200, "an access token is revoked alone"
    answer = oauth.revoke_token(URL + "/oauth/revoke", token=created["refresh_token"], token_type_hint="refresh_token")
    assert answer.status_code == 200, answer.text
    assert check(created["token"]).json()["reason"] == "signed_out"
    if "client_secret" in client:
        seen = oauth.introspect_token(URL + "/oauth/introspect", token=created["refresh_token"]).json()
        assert seen == {"active": False}, seen


call("PUT", "/v1/users/abel.tuter", {}, 201)
call("PUT", "/v1/oauth-entities/Phone", {"access_token_lifespan": 600}, 201)
secret = call("PUT", "/v1/oauth-entities/Backend", {"access_token_lifespan": 600, "public": False}, 201)["client_secret"]
exercise("Phone", client_id="phone", token_endpoint_auth_method="none")
exercise("Backend", client_id="backend", client_secret=secret, token_endpoint_auth_method="client_secret_basic")
exercise("Backend", client_id="backend", client_secret=secret, token_endpoint_auth_method="client_secret_post")
print("authlib refreshes, introspects and revokes: public, client_secret_basic and client_secret_post.")
