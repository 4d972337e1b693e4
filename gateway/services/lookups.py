"""Look-ups that a handset may make: the provider, addresses, its own presence.

CSP fundamental primitives (GetSPInfo, VerifyID, version discovery); GetPresence of
oneself is answered whatever this release offers, because clients go on only with it
(docs/semantics.md 5).
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.config import Gateway as Settings
from gateway.csp.attributes import OnlineStatus, PresenceSubList
from gateway.csp.common import (
    DetailedResult,
    GetSPInfoRequest,
    GetSPInfoResponse,
    Result,
    Status,
    VerifyIDRequest,
    VersionDiscoveryRequest,
    VersionDiscoveryResponse,
    VersionList,
)
from gateway.csp.namespaces import NAMESPACES, Space
from gateway.csp.presence import GetPresenceRequest, GetPresenceResponse, Presence
from gateway.csp.schema import Primitive, Version
from gateway.csp.session import Session
from gateway.errors import Malformed, Refused
from gateway.identity import Domains, WVAddress
from gateway.services.registration import Registrations
from gateway.services.ua import UserAgent
from gateway.store import Store
from gateway.translation.messaging import options

VERIFIED = 50
"""UserIDs that one VerifyID may hold; each may cost a question to the core."""
_NOBODY = frozenset({404, 410, 416, 484, 485, 604})
_ONLINE = PresenceSubList(
    online_status=(OnlineStatus(qualifier=True, presence_value="T"),)
)


class Lookups:
    """Questions that change nothing."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        domains: Domains,
        ua: UserAgent,
        registrations: Registrations,
        token: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._store = store
        self._domains = domains
        self._ua = ua
        self._registrations = registrations
        self._token = token

    async def provider(
        self, session: Session | None, request: GetSPInfoRequest
    ) -> Primitive:
        """Tell who provides the service (also outside of any session)."""
        return GetSPInfoResponse(
            client_id=request.client_id,
            name=self._settings.name,
            description=self._settings.description or None,
            url=self._settings.url or None,
        )

    def discovery(self, request: VersionDiscoveryRequest) -> Primitive:
        """Tell the versions that are spoken here, by their namespaces."""
        names = {
            space: tuple(NAMESPACES[version, space] for version in Version)
            for space in Space
        }
        return VersionDiscoveryResponse(
            version_list=VersionList(
                session_ns_name=names[Space.MESSAGE],
                transaction_ns_name=names[Space.TRANSACTION],
                presence_attribute_ns_name=names[Space.PRESENCE],
            )
        )

    async def verify(self, session: Session, request: VerifyIDRequest) -> Primitive:
        """Tell which addresses are valid: 200, or 201 and the others by code."""
        ids = request.id_list
        if len(ids.user_id) > VERIFIED:
            raise Refused(403, f"more than {VERIFIED} UserIDs")
        bad: dict[int, list[str]] = {}
        for user_id in ids.user_id:
            code = await self._verified(session, user_id)
            if code != 200:
                bad.setdefault(code, []).append(user_id)
        details = [
            DetailedResult(code=code, user_id=tuple(users))
            for code, users in bad.items()
        ]
        if ids.contact_list:
            details.append(DetailedResult(code=700, contact_list=ids.contact_list))
        if ids.group_id:
            details.append(DetailedResult(code=800, group_id=ids.group_id))
        if ids.screen_name:
            details.append(DetailedResult(code=800, screen_name=ids.screen_name))
        foreign = tuple(d for d in ids.domain if d.lower() != self._domains.home)
        if foreign:
            details.append(DetailedResult(code=516, domain=foreign))
        code = 201 if details else 200
        return Status(result=Result(code=code, detailed_result=tuple(details)))

    async def _verified(self, session: Session, user_id: str) -> int:
        try:
            user = self._domains.address(user_id)
        except Malformed:
            return 901
        if user.domain == self._domains.home:
            if user.is_msisdn:
                found = await self._store.subscriber_by_msisdn(user.user)
            else:
                found = await self._store.subscriber_by_user(user.key)
            if found is not None:
                return 200
        return 200 if await self._exists(session, user) else 531

    async def _exists(self, session: Session, user: WVAddress) -> bool:
        """Ask the core about a user; only a plain "no such user" counts as no."""
        request = options(session.aor, self._domains.aor(user), self._token())
        account = await self._registrations.account(session.aor)
        response = await self._ua.request(request, account)
        return response.status not in _NOBODY

    async def own_presence(
        self, session: Session, request: GetPresenceRequest
    ) -> Primitive:
        """Answer GetPresence of oneself with one Presence; anything else is 405."""
        named = [user.user_id for user in request.user]
        if request.user_id_list is not None:
            named += request.user_id_list.user_id
        try:
            keys = {self._domains.address(user_id).key for user_id in named}
        except Malformed as error:
            raise Refused(901, str(error)) from None
        if keys != {self._domains.address(session.user).key}:
            raise Refused(405, "Service not supported")
        presence = Presence(user_id=named[0], presence_sub_list=(_ONLINE,))
        return GetPresenceResponse(result=Result(code=200), presence=(presence,))
