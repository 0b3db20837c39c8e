"""
A mailbox behind Microsoft Graph, as far as its public documentation describes it: drafts, replies, sending, searching.

It answers at the wire (respx). `fault` makes one step fail, before or after it has had its effect.
"""

import base64
import itertools
import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
import orjson
import respx

GRAPH = "https://graph.microsoft.com/v1.0"
LOGIN = "https://login.microsoftonline.com/organizations"
Failure = httpx.Response | BaseException


def packed(value: dict[str, Any]) -> str:
    """Return the value as a part of a token."""
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


def error(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"error": {"code": code, "message": f"What {code} means.", "innerError": {"request-id": "0"}}}
    return httpx.Response(status, json=body, headers=headers)


class Exchange:
    """The state of one mailbox; `sent` is what has left it, in order."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.done: Counter[str] = Counter()
        self.requests: list[httpx.Request] = []
        self.tokens = {"token-1"}
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self._faults: dict[str, list[tuple[Failure, bool]]] = {}
        self._numbers = itertools.count(1)
        path = re.escape(GRAPH) + "/me/messages"
        steps: list[tuple[str, str, str, Callable[..., httpx.Response]]] = [
            ("create", "POST", f"{path}$", self._create),
            ("search", "GET", rf"{path}\?", self._search),
            ("reply", "POST", rf"{path}/(?P<id>[^/?]+)/createReply$", self._reply),
            ("send", "POST", rf"{path}/(?P<id>[^/?]+)/send$", self._send),
            ("find", "GET", rf"{path}/(?P<id>[^/?]+)\?", self._find),
            ("update", "PATCH", rf"{path}/(?P<id>[^/?]+)$", self._update),
            ("delete", "DELETE", rf"{path}/(?P<id>[^/?]+)$", self._delete),
            ("sendMail", "POST", re.escape(GRAPH) + "/me/sendMail$", self._send_mail),
        ]
        for name, method, pattern, act in steps:
            router.route(method=method, url__regex=pattern).mock(side_effect=self._step(name, act))

    def fault(self, step: str, failure: Failure, *, after: bool = False, times: int = 1) -> None:
        """Have the next calls of a step fail; `after` it has had its effect."""
        self._faults.setdefault(step, []).extend([(failure, after)] * times)

    def receive(self, **fields: Any) -> str:
        """Put a received message into the mailbox and return its id."""
        return self._keep(
            {"isDraft": False, "subject": "Prices", "body": {"contentType": "html", "content": ""}, **fields}
        )

    def _step(self, name: str, act: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
        def answer(request: httpx.Request, **parts: str) -> httpx.Response:
            self.requests.append(request)
            if request.headers["Authorization"].removeprefix("Bearer ") not in self.tokens:
                return error(401, "InvalidAuthenticationToken")
            waiting = self._faults.get(name)
            failure, after = waiting.pop(0) if waiting else (None, False)
            self.before(name)
            if failure is not None and not after:
                return self._fail(failure)
            response = act(request, **{key: unquote(value) for key, value in parts.items()})
            if response.status_code < 300:
                self.done[name] += 1
            self.after(name)
            return response if failure is None else self._fail(failure)

        return answer

    @staticmethod
    def _fail(failure: Failure) -> httpx.Response:
        if isinstance(failure, BaseException):
            raise failure
        return failure

    def _keep(self, fields: dict[str, Any]) -> str:
        number = next(self._numbers)
        message_id = f"AAMk{number}/+="
        self.messages[message_id] = {
            "id": message_id,
            "conversationId": f"conversation-{number}",
            "internetMessageId": f"<{number}@ours.prod.example>",
            "sentDateTime": "2026-11-22T12:00:00Z",
            **fields,
        }
        return message_id

    def _create(self, request: httpx.Request) -> httpx.Response:
        message_id = self._keep({**orjson.loads(request.content), "isDraft": True})
        return httpx.Response(201, json=self.messages[message_id])

    def _reply(self, request: httpx.Request, id: str) -> httpx.Response:
        answered = self.messages.get(id)
        if answered is None:
            return error(404, "ErrorItemNotFound")
        given = orjson.loads(request.content)["message"]
        if "body" in given:
            return error(400, "ErrorInvalidRequest")
        quote = f"<html><head></head><body lang='en'><hr>{answered['body']['content']}</body></html>"
        message_id = self._keep(
            {
                "subject": f"RE: {answered['subject']}",
                "body": {"contentType": "html", "content": quote},
                **given,
                "conversationId": answered["conversationId"],
                "isDraft": True,
            }
        )
        return httpx.Response(201, json=self.messages[message_id])

    def _update(self, request: httpx.Request, id: str) -> httpx.Response:
        if id not in self.messages:
            return error(404, "ErrorItemNotFound")
        self.messages[id].update(orjson.loads(request.content))
        return httpx.Response(200, json=self.messages[id])

    def _send(self, request: httpx.Request, id: str) -> httpx.Response:
        message = self.messages.get(id)
        if message is None or not message["isDraft"]:
            return error(404, "ErrorItemNotFound")
        message["isDraft"] = False
        self.sent.append(message)
        return httpx.Response(202)

    def _send_mail(self, request: httpx.Request) -> httpx.Response:
        message_id = self._keep({**orjson.loads(request.content)["message"], "isDraft": False})
        self.sent.append(self.messages[message_id])
        return httpx.Response(202)

    def _find(self, request: httpx.Request, id: str) -> httpx.Response:
        message = self.messages.get(id)
        return error(404, "ErrorItemNotFound") if message is None else httpx.Response(200, json=message)

    def _delete(self, request: httpx.Request, id: str) -> httpx.Response:
        if self.messages.pop(id, None) is None:
            return error(404, "ErrorItemNotFound")
        return httpx.Response(204)

    def _search(self, request: httpx.Request) -> httpx.Response:
        condition = request.url.params["$filter"]
        if found := re.fullmatch(r"internetMessageId eq '(.+)'", condition):
            wanted = found[1].replace("''", "'")
            hits = [message for message in self.messages.values() if message["internetMessageId"] == wanted]
        else:
            stamped = re.fullmatch(
                r"singleValueExtendedProperties/Any\(ep: ep/id eq '(String \{[0-9a-f-]{36}\} Name \w+)' and ep/value eq '(.+)'\)",
                condition,
            )
            if stamped is None:
                return error(400, "ErrorInvalidUrlQueryFilter")
            stamp = {"id": stamped[1], "value": stamped[2].replace("''", "'")}
            hits = [one for one in self.messages.values() if stamp in one.get("singleValueExtendedProperties", [])]
        return httpx.Response(200, json={"@odata.context": "...", "value": hits})


class SignIn:
    """The token endpoint: each refresh gives `token-1`, `token-2` ..., which the mailbox then accepts."""

    def __init__(self, router: respx.MockRouter, exchange: Exchange) -> None:
        self.refused: str | None = None
        self.exchange = exchange
        self._numbers = itertools.count(1)
        router.get(f"{LOGIN}/v2.0/.well-known/openid-configuration").respond(
            json={
                "authorization_endpoint": f"{LOGIN}/oauth2/v2.0/authorize",
                "token_endpoint": f"{LOGIN}/oauth2/v2.0/token",
                "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
            }
        )
        self.route = router.post(f"{LOGIN}/oauth2/v2.0/token").mock(side_effect=self._redeem)

    def _redeem(self, request: httpx.Request) -> httpx.Response:
        if self.refused:
            return httpx.Response(400, json={"error": self.refused, "error_description": "AADSTS50173: withdrawn"})
        token = f"token-{next(self._numbers)}"
        self.exchange.tokens = {token}
        return httpx.Response(
            200,
            json={
                "token_type": "Bearer",
                "scope": parse_qs(request.content.decode())["scope"][0],
                "expires_in": 3600,
                "access_token": token,
                "refresh_token": f"refresh-after-{token}",
                "client_info": packed({"uid": "o", "utid": "t"}),
            },
        )


def token_cache(client_id: str = "app-1") -> str:
    """Return what MSAL keeps after somebody has signed in, with an access token that has expired."""
    import msal

    claims = {
        "aud": client_id,
        "iss": f"{LOGIN}/v2.0",
        "sub": "s",
        "oid": "o",
        "tid": "t",
        "preferred_username": "rep@ours.example",
    }
    cache: Any = msal.SerializableTokenCache()
    cache.add(
        {
            "client_id": client_id,
            "scope": ["Mail.Send"],
            "token_endpoint": f"{LOGIN}/oauth2/v2.0/token",
            "response": {
                "access_token": "token-0",
                "refresh_token": "refresh-0",
                "expires_in": 0,
                "client_info": packed({"uid": "o", "utid": "t"}),
                "id_token": f"{packed({'alg': 'none'})}.{packed(claims)}.signature",
                "id_token_claims": claims,
            },
        }
    )
    return cache.serialize()
