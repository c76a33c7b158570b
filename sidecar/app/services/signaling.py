"""Runs signaling (DESIGN D3, D4): what is heard, what is said, our keys in time. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

from sidecar.app.services.arrivals import Arrivals
from sidecar.app.services.control_link import ControlLink
from sidecar.app.services.delivery import Delivery
from sidecar.app.services.errands import Errands
from sidecar.app.services.hearing import Hearing
from sidecar.app.services.keys import Device, Graph, KeyDirectory, Memory
from sidecar.app.services.listening import follow_time
from sidecar.calls.events import Relation
from sidecar.clock import Clock, Random
from sidecar.errors import SidecarError
from sidecar.log import Logger
from sidecar.signaling import layout
from sidecar.signaling.inbox import Inbox
from sidecar.signaling.limits import Limits
from sidecar.signaling.messages import AnyBody, EmptyBody, Incoming, InviteBody, Kind
from sidecar.signaling.outbox import Message, Outbox
from sidecar.signaling.sealing import Leaf, OnEnvelope
from sidecar.trust import boxkeys
from sidecar.trust.identity import Identity, check_pair
from sidecar.trust.pins import KeyChange
from sidecar.trust.social import SocialState

RECEIPT_TTL_S = 60.0


class SignalingService:
    """Sends and receives the signals of this device. ``on_signal`` gets those that passed every check.

    ``counters`` gets ``signal.sent``, ``signal.received``, ``signal.duplicate`` and
    ``signal.dropped.<reason>``.
    """

    def __init__(
        self,
        graph: Graph,
        identity: Identity,
        keys: Device,
        social: SocialState,
        *,
        control: ControlLink,
        memory: Memory,
        clock: Clock,
        random: Random,
        log: Logger,
        on_signal: Callable[[Incoming], None],
        on_key_changed: Callable[[KeyChange], None],
        counters: MutableMapping[str, int],
        on_envelope: OnEnvelope | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._graph = graph
        self._identity = identity
        self._keys = keys
        self._memory = memory
        self._clock = clock
        self._log = log
        self._counters = counters
        self.directory = KeyDirectory(
            graph, identity, social, memory, on_key_changed, clock=clock, counters=counters, log=log
        )
        self._inbox = Inbox(
            identity,
            keys.device,
            social=social,
            pins=self.directory.pins,
            on_drop=self._dropped,
            limits=limits,
            on_envelope=on_envelope,
        )
        self._listening = Hearing(
            graph,
            control,
            self._inbox,
            self.directory,
            social=social,
            user_id=identity.fingerprint,
            clock=clock,
            on_incoming=self._received,
        ).listening
        self._card_key = ""
        self._arrivals = Arrivals(memory, on_signal, clock, log)
        self._errands = Errands(log)
        epoch = random.bytes(8).hex()
        outbox = Outbox(identity, keys.device, epoch=epoch, random=random, on_envelope=on_envelope)
        self.delivery = Delivery(
            graph, control, outbox, self._inbox.ignore, clock=clock, errands=self._errands
        )

    @property
    def device(self) -> str:
        """The id of this device among those of the user."""
        return self._keys.device

    async def start(self) -> None:
        """Begins to listen and publishes the key card; needs no relay to be connected yet.

        Raises LocalError if the identity's two keys do not belong together.
        """
        check_pair(self._identity)
        self._inbox.replay.restore(self._memory.nonces(), 0)  # whose clock may be wrong until a relay is met
        await self.directory.start()
        self.refresh()
        self._errands.run(follow_time(self._clock, self._roll))

    async def stop(self) -> None:
        """Ends every subscription and task. What was handed to the graph stays in its outbox."""
        self.delivery.stop()
        await self._errands.stop()
        self._listening.stop()

    def follow_contacts(self) -> None:
        """Our social copy has changed: from now on new contacts are listened to and their key cards read,
        removed and blocked ones no longer."""
        self.directory.follow_contacts()
        self._errands.run(self._listen_to_contacts())

    async def relation(self, user_id: str) -> Relation:
        """What we know of a user, asking the graph for the key card of an unknown one.

        Raises UnavailableError if that needs a relay and none answers.
        """
        return await self.directory.relation(user_id)

    async def send(
        self,
        *,
        call_id: str,
        user_id: str,
        kind: Kind,
        body: AnyBody,
        gen: int,
        session: str | None,
        ttl_s: float,
        device: str | None = None,
        room_id: str | None = None,
        domain_id: str | None = None,
    ) -> None:
        """Signs, seals and sends one signal; returns once the other side or a relay has it, for one device at
        least.

        ``device`` None means every device of the user, ``session`` None the user's inbox. Raises DeniedError
        (a blocked user, ourselves), LocalError ``too-large``, and UnavailableError if no key is known or no
        relay took it in time; the graph's outbox goes on trying then.
        """
        if kind is Kind.INVITE:
            self._graph.wake()
        recipient = await self.directory.recipient(user_id, parting=kind in (Kind.END, Kind.CANCEL))
        message = Message(call_id, kind, body, gen, ttl_s, session, device, room_id, domain_id)
        if kind is Kind.ACCEPT:
            self._inbox.taken(user_id)
        self._log.info("signal sent", kind=kind.value, call_id=call_id, gen=gen)
        self._count("signal.sent")
        await self.delivery.send(message, recipient)

    def prefetch(self, user_id: str) -> None:
        """Fetches the key cards of a user who will probably be called, if none is known."""
        if not self.directory.pins.cards(user_id, self._clock.network_ms()):
            self._errands.run(self.directory.fetch(user_id))

    def devices(self, user_id: str) -> tuple[str, ...]:
        """A user's devices whose cards are known and have not run out."""
        return tuple(card.device for card in self.directory.pins.cards(user_id, self._clock.network_ms()))

    def join_session(self, call_id: str, session: str, user_id: str) -> None:
        """Reads the session of a call, and takes what this user writes there."""
        self._listening.join(call_id, session, user_id)

    def leave_session(self, call_id: str) -> None:
        """Stops reading the session of a call; unknown calls are ignored."""
        self._listening.leave(call_id)

    def refresh(self) -> None:
        """Brings everything that depends on network time up to date: box keys, key card, souls to read."""
        now_ms = self._clock.network_ms()
        own = self._keys.box_keys(now_ms)
        self._inbox.set_box_keys((*own, boxkeys.of_identity(self._identity.seed)))
        card = self._keys.card(self._identity, now_ms)
        if card.key != self._card_key:
            self._card_key = card.key
            leaf = Leaf(layout.keys_soul(self._identity.fingerprint), card.key, card.text)
            self._errands.run(self.delivery.put([leaf]))
        self._listening.refresh(now_ms)

    async def _listen_to_contacts(self) -> None:
        await self.directory.agree()
        self._listening.refresh(self._clock.network_ms())

    def _roll(self) -> None:
        try:
            self.refresh()
        except SidecarError as error:  # a full disk must not stop the clock: the next bucket tries again
            self._log.warning("keys could not be rotated", code=error.code.value)

    def _received(self, incoming: Incoming) -> None:
        signal = incoming.signal
        self._log.info("signal received", kind=signal.kind.value, call_id=signal.call_id, gen=signal.gen)
        self._count("signal.received")
        self.delivery.answered(signal.call_id)
        if incoming.contact and isinstance(signal.body, InviteBody):
            self._errands.run(self._give_receipt(incoming, signal.body.session))
        self._arrivals.take(incoming)

    async def _give_receipt(self, incoming: Incoming, session: str) -> None:
        signal = incoming.signal
        await self.send(
            call_id=signal.call_id,
            user_id=incoming.user_id,
            device=signal.sender.device,
            kind=Kind.RECEIPT,
            body=EmptyBody(),
            gen=signal.gen,
            session=session,
            ttl_s=RECEIPT_TTL_S,
        )

    def _dropped(self, reason: str) -> None:
        self._count("signal.duplicate" if reason == "duplicate" else f"signal.dropped.{reason}")
        self._log.debug("signal dropped", reason=reason)

    def _count(self, name: str) -> None:
        self._counters[name] = self._counters.get(name, 0) + 1
