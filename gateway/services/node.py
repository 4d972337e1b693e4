"""One node of the gateway: its services built, tied together, started and ended.

What the parts decide stands in their own modules; here is only who knows whom.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from twisted.internet import defer, task
from zope.interface import implementer

from gateway.config import Config
from gateway.csp.common import (
    ClientCapabilityRequest,
    GetSPInfoRequest,
    KeepAliveRequest,
    ServiceRequest,
    VerifyIDRequest,
)
from gateway.csp.messaging import (
    ForwardMessageRequest,
    GetMessageListRequest,
    GetMessageRequest,
    MessageDelivered,
    RejectMessageRequest,
    SendMessageRequest,
    SetDeliveryMethodRequest,
)
from gateway.csp.presence import GetPresenceRequest
from gateway.errors import Unreachable
from gateway.identity import Domains
from gateway.igateway import Figures, IGateway
from gateway.log import Logger
from gateway.services import figures
from gateway.services.access import Access
from gateway.services.delivery import Delivery
from gateway.services.directory import Watch, served
from gateway.services.embedded import EmbeddedCore, targets_gateway
from gateway.services.forwarding import Forwarding
from gateway.services.incoming import Incoming
from gateway.services.ledger import Ledger
from gateway.services.lookups import Lookups
from gateway.services.outbox import Outbox
from gateway.services.pressure import Pressure
from gateway.services.proxy import Proxy
from gateway.services.registration import Registrations
from gateway.services.sap import Sap
from gateway.services.sending import Sending
from gateway.services.sessions import Sessions
from gateway.services.tokens import CountedTokens, RandomTokens
from gateway.services.ua import UserAgent
from gateway.sip.message import Request, Uri
from gateway.sip.transaction import Hop, ServerTransaction
from gateway.store import Store, StoredMessage

SWEEP = 5.0
"""Seconds between two looks for expired messages."""
UPKEEP = 60.0
"""Seconds between two sweeps of the store's tables."""
TICK = 1.0
"""Seconds between two looks at how late the reactor is."""
RETRY = 2.0
DRAIN = 5.0


@implementer(IGateway)
class Node:
    """The gateway behind its bindings; see ``IGateway``."""

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        config: Config,
        store: Store,
        *,
        name: str,
        secret: bytes,
        bearers: tuple[str, ...] = ("HTTP",),
    ) -> None:
        self.clock = clock
        self.config = config
        self.store = store
        self.domains = Domains(config.gateway.domain, config.sip.domain)
        random = RandomTokens()
        unique = CountedTokens(random()[:10])
        self.addresses: list[Hop] = []
        self.ua = UserAgent(
            clock,
            random,  # who guesses a branch can answer in the core's name
            cores=[Hop(*core) for core in config.sip.core],
            core_memory=config.sip.core_memory,
        )
        self.pressure = Pressure(clock, config.limits, store.writes_waiting)
        self.ua.put_off(self.pressure.busy)
        self.sessions = Sessions(clock, store, config.session, name)
        self.watch = Watch(store, self.sessions)
        self._make_services(random, unique, bearers)
        self.proxy = Proxy(self.ua)
        self.incoming: Incoming | None = None
        self.core: EmbeddedCore | None = None
        self._secret = secret
        self.lag = self._ticked = 0.0
        self._token = random
        self.sap = self._make_sap(unique)
        self.restored: defer.Deferred[None] = defer.succeed(None)
        """Fires when the sessions of the process before this one are open again."""
        self._loops = [
            (SWEEP, task.LoopingCall(self._guarded, self.delivery.expire)),
            (UPKEEP, task.LoopingCall(self._guarded, self._upkeep)),
            (TICK, task.LoopingCall(self._tick)),
            (TICK, task.LoopingCall(self._guarded, self.watch.look)),
        ]

    def _make_services(
        self, random: RandomTokens, unique: CountedTokens, bearers: tuple[str, ...]
    ) -> None:
        clock, config, store = self.clock, self.config, self.store
        domains, sessions = self.domains, self.sessions
        self.registrations = Registrations(
            clock,
            store,
            self.ua,
            sessions,
            contact=self._contact,
            registrar=f"sip:{config.sip.domain}",
            expires=config.sip.expires,
            token=unique,
            rate=config.limits.registrations,
        )
        self.ua.on_recovered = self.registrations.renew
        self.ledger = ledger = Ledger(clock, store)
        self.outbox = Outbox(clock, store, self.ua, self.registrations, ledger)
        self.sending = Sending(
            clock,
            config,
            self.outbox,
            ledger,
            domains,
            random,
            store.subscriber_by_msisdn,
        )
        self.delivery = Delivery(
            clock, config, store, ledger, sessions, domains, random
        )
        self.outbox.on_failed = self.delivery.report
        self.outbox.here = self._here
        self.access = Access(
            clock, config, store, sessions, domains, random, bearers=bearers
        )

    async def _here(self, message: StoredMessage, request: Request) -> int | None:
        """Deliver a handset's message to another subscriber; None: he is none.

        Raises Unreachable.
        """
        found = await served(self.store, message.recipient, self.domains.sip)
        if found is None:
            return None
        sender = str(self.domains.wv(message.sender))
        return (await self.delivery.accept(request, found.aor, sender)).status

    def _make_sap(self, unique: CountedTokens) -> Sap:
        forwarding = Forwarding(self.sending, self.delivery)
        lookups = Lookups(
            self.config.gateway,
            self.store,
            self.domains,
            self.ua,
            self.registrations,
            unique,
        )
        return Sap(
            self.clock,
            self.sessions,
            self.access,
            lookups,
            {
                KeepAliveRequest: self.access.keep_alive,
                ClientCapabilityRequest: self.access.capability,
                ServiceRequest: self.access.service,
                GetSPInfoRequest: lookups.provider,
                VerifyIDRequest: lookups.verify,
                GetPresenceRequest: lookups.own_presence,
                SendMessageRequest: self.sending.send,
                ForwardMessageRequest: forwarding.forward,
                SetDeliveryMethodRequest: self.delivery.set_method,
                GetMessageListRequest: self.delivery.list,
                GetMessageRequest: self.delivery.get,
                MessageDelivered: self.delivery.delivered,
                RejectMessageRequest: self.delivery.reject,
            },
            self.delivery.confirmed,
            self.delivery.refill,
            self.pressure,
        )

    def apply(self, config: Config) -> None:
        """Take [session], [offline] and [limits]; they change while running."""
        self.config = config
        self.pressure.apply(config.limits)
        self.registrations.rate = config.limits.registrations
        self.access.apply(config.session)
        self.sessions.apply(config.session)
        self.sending.apply(config)
        self.delivery.apply(config)

    async def figures(self) -> Figures:
        """Gather what the operator's meters show; see ``IGateway``."""
        return await figures.figures(self)

    async def ills(self) -> list[str]:
        """Name what is ill; see ``IGateway``."""
        return await figures.ills(self)

    def _tick(self) -> None:
        now = self.clock.seconds()
        self.lag = max(now - self._ticked - TICK, 0.0) if self._ticked else 0.0
        self._ticked = now

    # -- addresses ---------------------------------------------------------------

    def listening(self, addresses: Sequence[tuple[str, str, int]]) -> None:
        """Learn where SIP listens, the first being what others are told."""
        self.addresses = [Hop(*address) for address in addresses]
        if self.config.sip.embedded:
            self.ua.set_cores(self.addresses[:1])
        self.incoming = Incoming(
            self.clock,
            self.ua,
            self.proxy,
            self.store,
            self.sessions,
            self.delivery,
            self.domains,
            trusted=self._trusted(),
            own=self._own,
        )
        if not self.config.sip.embedded:
            self.ua.take = self.incoming.take
            return
        self.core = EmbeddedCore(
            self.clock,
            self.ua,
            self.proxy,
            self.store,
            self.domains,
            own=self._own,
            own_hop=self.addresses[0],
            secret=self._secret,
            token=self._token,
        )
        self.ua.take = self._take

    def _trusted(self) -> Sequence[Any]:
        """With the embedded core ``_take`` lets nothing in but what is our own."""
        if self.config.sip.embedded:
            return [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
        return self.config.sip.trusted

    def _take(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        """Tell what is for the gateway from what is for the embedded core."""
        assert self.incoming is not None and self.core is not None
        if self._from_ourselves(request, source) and targets_gateway(
            request, self._own
        ):
            self.incoming.take(transaction, request, source)
        else:
            self.core.take(transaction, request, source)

    def _from_ourselves(self, request: Request, source: Hop) -> bool:
        """Tell what the embedded core passes on to us: sent here, by us, just now.

        Over TCP, and from a wildcard listener, its port or address is another.
        """
        local = source.host.startswith("127.") or any(
            source.host == hop.host for hop in self.addresses
        )
        return source in self.addresses or (local and self.ua.is_ours(request))

    def _own(self, uri: Uri) -> bool:
        """Tell whether a URI names one of our listeners by address and port."""
        host, port = uri.host.strip("[]"), uri.port or 5060
        return any(
            port == hop.port and hop.host in (host, "0.0.0.0") for hop in self.addresses
        )

    def _contact(self, aor: str) -> str:
        """Give the contact under which the core reaches a user here."""
        user = aor.partition(":")[2].rpartition("@")[0]
        hop = self._cores_side()
        return f"sip:{user}@{self.ua.sent_by(hop)};transport={hop.transport}"

    def _cores_side(self) -> Hop:
        """Give the core address whose transport our contact names."""
        return self.ua.cores[0]

    # -- life --------------------------------------------------------------------

    async def open(self) -> None:
        """Connect to the store; try again until it is there.

        Raises ConfigError on a store of another release.
        """
        while True:
            try:
                await self.store.open()
                return
            except Unreachable as error:
                self._log.error("the store cannot be had: {why}", why=str(error))
                await task.deferLater(self.clock, RETRY)

    async def start(self) -> None:
        """Take up what waited: sessions, messages, registrations."""
        await self.outbox.start()
        self.restored = defer.ensureDeferred(self._restore())
        for seconds, loop in self._loops:
            loop.clock = self.clock
            loop.start(seconds)

    async def _restore(self) -> None:
        """Claim the sessions of before, beside what handsets and SIP users ask."""
        while not self.sap.stopping:
            try:
                restored = await self.sessions.restore()
            except Unreachable as error:
                self._log.warn("open sessions wait: {why}", why=str(error))
                await task.deferLater(self.clock, RETRY)
            except defer.CancelledError:
                return
            else:
                if restored:
                    self._log.info("{count} sessions are open again", count=restored)
                return

    def _guarded(self, work: Any) -> defer.Deferred[Any]:
        d: defer.Deferred[Any] = defer.ensureDeferred(work())

        def failed(failure: Any) -> None:
            if failure.check(Unreachable):
                self._log.warn("upkeep waits: {why}", why=str(failure.value))
            else:
                self._log.failure("upkeep failed", failure)

        return d.addErrback(failed)

    async def _upkeep(self) -> None:
        await self.store.sweep(int(self.clock.seconds() * 1e6))

    def drain(self) -> None:
        """Take no new work; what waits for a SIP answer is held and answered."""
        self.sap.stopping = True
        if self.incoming is not None:
            self.incoming.drain()
        self.sending.stop()

    async def stop(self) -> None:
        """Stop every timer, then flush and close the store."""
        try:
            for _, loop in self._loops:
                if loop.running:
                    loop.stop()
            self.outbox.stop()
            self.registrations.stop()
            self.sessions.stop()
            self.pressure.stop()
            self.ua.stop()
        finally:
            await self.store.close()
