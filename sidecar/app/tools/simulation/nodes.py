"""One node of a simulation: the real Exchange behind a door, in virtual time."""

from __future__ import annotations

from functools import partial

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.calls.switchboard import Switchboard
from sidecar.conference.accounts import signer
from sidecar.conference.exchange import Exchange
from sidecar.conference.facts import Self
from sidecar.conference.hall import Hall
from sidecar.errors import SidecarError
from sidecar.ids import hex_id
from sidecar.signaling.messages import EmptyBody, Incoming, InviteBody, Kind

from .accounts import NodeClock, Owner
from .doors import Around, Door, PlainDoor
from .performing import perform, send
from .sealed_door import SealedDoor
from .shared import Shared

RECEIPT_TTL_S = 60.0


class Node:
    """One device of a user. A restart keeps the device and its nonces, and nothing else."""

    def __init__(self, shared: Shared, owner: Owner) -> None:
        self.shared = shared
        self.owner = owner
        self.exchange: Exchange
        self.door: Door
        self.dead = True
        self.watches: dict[tuple[str, str], str] = {}
        """Lease watched, by call and user."""
        self._thaws_at = 0.0
        self._wake_at: float | None = None

    @property
    def name(self) -> str:
        return self.owner.name

    @property
    def user_id(self) -> str:
        return self.owner.account.user_id

    @property
    def clock(self) -> NodeClock:
        return self.owner.clock

    @property
    def runs(self) -> bool:
        """Whether there is a process that does not stand still."""
        return not self.dead and self.shared.agenda.now >= self._thaws_at

    # --- life ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process: another epoch, empty machines, and the past to be read."""
        shared, owner = self.shared, self.owner
        self.dead = False
        owner.restart(hex_id(shared.random.bytes(8)))
        pub, name = owner.account.identity.pub, owner.account.name
        board = Switchboard(shared.rules, self.user_id, name, public_key=pub, device=owner.device)
        me = Self(self.user_id, pub, owner.device, signer(owner.account.identity))
        hall = Hall(shared.conference_rules, me, name)
        hall.rooms = shared.rooms
        self.exchange = Exchange(board, hall, lambda _: self.new_lease())
        self.door = self._door()
        self.watches, self._wake_at = {}, None
        shared.promises.started(self)
        self.door.open()

    def _door(self) -> Door:
        shared = self.shared
        around = Around(
            owner=self.owner,
            users=shared.users,
            graph=shared.graph,
            agenda=shared.agenda,
            random=shared.random,
            counts=shared.counts,
            on_signal=self._signal,
        )
        return SealedDoor(around) if shared.sealed else PlainDoor(around)

    def crash(self) -> None:
        """kill -9."""
        self.dead = True
        self.shared.note(f"{self.name} crashes")
        self.door.close()
        self.shared.graph.forget(self.name)
        self.shared.media.kill(self.name)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP: everything waits, and its peers hear nothing of it."""
        self.shared.note(f"{self.name} stands still for {seconds:.1f} s")
        self._thaws_at = self.shared.agenda.now + seconds
        self.shared.graph.freeze(self.name, self._thaws_at)
        self.shared.media.cut(self.name, seconds)

    def new_lease(self) -> str:
        """The public key of a space made for a session."""
        return f"{self.name}.{hex_id(self.shared.random.bytes(8))}"

    # --- what happens ------------------------------------------------------------------------------------

    def tell(self, event: ce.Event) -> bool:
        """Our user's word; whether it was taken."""
        if not self.runs:
            return False
        shared, what = self.shared, type(event).__name__
        shared.promises.asked(self, event)
        try:
            effects = self.exchange.handle(event, shared.agenda.now)
        except SidecarError as error:
            shared.note(f"{self.name} {what}: {error.code.value}")
            shared.counts[f"refused {error.code.value}"] += 1
            return False
        shared.note(f"{self.name} {what}")
        self._perform(effects)
        return True

    def hear(self, event: ce.Event) -> None:
        """Anything else; a process that stands still hears it when it goes on."""
        if self.dead:
            return
        if self.runs:
            self._perform(self.exchange.handle(event, self.shared.agenda.now))
        else:
            self.later(self._thaws_at, event)

    def later(self, at: float, event: ce.Event) -> None:
        """Hears it then, unless the process has died."""
        epoch = self.owner.epoch
        self.shared.agenda.at(at, lambda: self.hear(event) if self.owner.epoch == epoch else None)

    def _signal(self, incoming: Incoming) -> None:
        signal = incoming.signal
        self.owner.remember(signal)
        arrived = ce.SignalArrived(
            signal=signal,
            user_id=incoming.user_id,
            contact=incoming.contact,
            at_ms=self.clock.wall_ms(),
            network_ms=self.clock.network_ms(),
            display_name=incoming.verified_name,
        )
        if incoming.contact and isinstance(signal.body, InviteBody):
            self._send_receipt(incoming, signal.body.session)
        self.hear(arrived)

    def _send_receipt(self, incoming: Incoming, session: str) -> None:
        """What signaling says as soon as it has opened an invitation of a contact."""
        signal = incoming.signal
        receipt = cf.SendSignal(
            call_id=signal.call_id,
            user_id=incoming.user_id,
            device=signal.sender.device,
            kind=Kind.RECEIPT,
            body=EmptyBody(),
            gen=0,
            session=session,
            ttl_s=RECEIPT_TTL_S,
        )
        send(self, receipt)

    def _perform(self, effects: list[cf.Effect]) -> None:
        perform(self, effects)
        self._wake()

    # --- time ------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        due = self.exchange.next_deadline()
        if due is not None and (self._wake_at is None or due < self._wake_at):
            self._wake_at = due
            self.shared.agenda.at(due, partial(self._timer, self.owner.epoch, due))

    def _timer(self, epoch: str, due: float) -> None:
        if self.dead or self.owner.epoch != epoch or self._wake_at != due:
            return
        if not self.runs:
            self.shared.agenda.at(self._thaws_at, partial(self._timer, epoch, due))
            return
        self._wake_at = None
        self._perform(self.exchange.handle_timer(self.shared.agenda.now))
