"""Builders for tests of calls: signals, events, and calls driven to any state at either end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.facts import CALLEE_GEN, CALLER_GEN, digest
from sidecar.calls.rules import Rules
from sidecar.calls.states import Side, State
from sidecar.calls.switchboard import Switchboard
from sidecar.calls.table import Trigger
from sidecar.schema import CallType, EndReason, MediaTrackKind, MediaWarningCode
from sidecar.signaling.messages import (
    AcceptBody,
    AnswerBody,
    AnyBody,
    EmptyBody,
    InviteBody,
    Kind,
    OfferBody,
    Party,
    ReasonBody,
    Signal,
)

ALICE, BOB, CAROL = "a" * 16, "b" * 16, "c" * 16
CALL = "call_one"
SESSION = "5e" * 16
OFFER, ANSWER = "v=0 offer", "v=0 answer"
T0 = 1000.0
WALL_MS = 1_700_000_000_000

E = TypeVar("E", bound=f.Effect)


def only(effects: Sequence[f.Effect], kind: type[E]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def one(effects: Sequence[f.Effect], kind: type[E]) -> E:
    found = only(effects, kind)
    assert len(found) == 1, f"{len(found)} {kind.__name__} in {effects}"
    return found[0]


def events_of(effects: Sequence[f.Effect]) -> list[str]:
    return [effect.event for effect in only(effects, f.Notify)]


def shown(effects: Sequence[f.Effect]) -> list[str]:
    """The states that ``aleph:callStateChange`` told, in order."""
    return [n.data.state.value for n in only(effects, f.Notify) if n.event == "aleph:callStateChange"]


def said(effects: Sequence[f.Effect]) -> list[tuple[str, str | None]]:
    """The signals sent, each with its reason if it has one."""
    return [(s.kind.value, getattr(s.body, "reason", None)) for s in only(effects, f.SendSignal)]


def signal(
    kind: Kind,
    body: AnyBody | None = None,
    *,
    call_id: str = CALL,
    device: str = "peer-device",
    gen: int = 0,
    epoch: str = "epoch",
    issued_ms: int = WALL_MS,
) -> Signal:
    return Signal(
        kind=kind,
        call_id=call_id,
        sender=Party(pub="peer key", device=device),
        recipient=Party(pub="our key"),
        body=EmptyBody() if body is None else body,
        epoch=epoch,
        gen=gen,
        seq=0,
        issued_at_ms=issued_ms,
        expires_at_ms=issued_ms + 60_000,
        nonce="nonce",
    )


def arrived(
    sent: Signal, *, user_id: str = BOB, contact: bool = True, name: str | None = "Peer", late_ms: int = 0
) -> e.SignalArrived:
    return e.SignalArrived(
        signal=sent,
        user_id=user_id,
        contact=contact,
        at_ms=WALL_MS + late_ms,
        network_ms=WALL_MS + late_ms,
        display_name=name,
    )


def invite(
    *,
    call_id: str = CALL,
    sdp: str | None = OFFER,
    user_id: str = BOB,
    contact: bool = True,
    late_ms: int = 0,
    call_type: str = "video",
    name: str | None = "Peer",
    issued_ms: int = WALL_MS,
) -> e.SignalArrived:
    body = InviteBody(call_type=call_type, session=SESSION, display_name="Claim", sdp=sdp)
    sent = signal(Kind.INVITE, body, call_id=call_id, issued_ms=issued_ms)
    return arrived(sent, user_id=user_id, contact=contact, late_ms=late_ms, name=name)


def initiate(
    *,
    call_id: str = CALL,
    user_id: str = BOB,
    relation: e.Relation = e.Relation.CONTACT,
    call_type: CallType = CallType.VIDEO,
    devices: tuple[str, ...] = ("peer-device",),
) -> e.Initiate:
    return e.Initiate(
        devices=devices,
        call_id=call_id,
        user_id=user_id,
        display_name="Peer",
        call_type=call_type,
        relation=relation,
        session=SESSION,
        at_ms=WALL_MS,
    )


def says(kind: Kind, reason: EndReason, *, device: str = "peer-device") -> e.SignalArrived:
    return arrived(signal(kind, ReasonBody(reason=reason.value), device=device))


def accept_answer(offer: str = OFFER, *, device: str = "peer-device") -> e.SignalArrived:
    body = AcceptBody(sdp=ANSWER, sdp_type="answer", offer_digest=digest(offer))
    return arrived(signal(Kind.ACCEPT, body, device=device, gen=CALLER_GEN))


def accept_offer(*, device: str = "peer-device") -> e.SignalArrived:
    body = AcceptBody(sdp="v=0 callee's offer", sdp_type="offer")
    return arrived(signal(Kind.ACCEPT, body, device=device, gen=CALLEE_GEN))


def answered(offer: str = OFFER) -> e.SignalArrived:
    body = AnswerBody(sdp=ANSWER, offer_digest=digest(offer))
    return arrived(signal(Kind.ANSWER, body, gen=CALLEE_GEN))


def described(kind: str, *, gen: int = CALLER_GEN, sdp: str | None = None) -> e.LocalDescription:
    text = sdp or (OFFER if kind == "offer" else ANSWER)
    return e.LocalDescription(call_id=CALL, user_id=BOB, gen=gen, type=kind, sdp=text)


def connected(*, gen: int = CALLER_GEN) -> e.PeerConnected:
    return e.PeerConnected(call_id=CALL, user_id=BOB, gen=gen)


def broken(reason: EndReason = EndReason.CONNECTION_LOST, *, gen: int = CALLER_GEN) -> e.PeerFailed:
    return e.PeerFailed(call_id=CALL, user_id=BOB, gen=gen, reason=reason.value)


def judged(level: e.Level, *, gen: int = CALLER_GEN) -> e.PeerLiveness:
    return e.PeerLiveness(call_id=CALL, user_id=BOB, gen=gen, level=level)


def lost(*, gen: int = CALLER_GEN) -> e.PeerLiveness:
    return judged(e.Level.LOST, gen=gen)


def offered(sdp: str = "v=0 next offer", *, gen: int = 1) -> e.SignalArrived:
    return arrived(signal(Kind.OFFER, OfferBody(sdp=sdp), gen=gen))


def board(rules: Rules | None = None) -> Switchboard:
    return Switchboard(rules or Rules(), ALICE, "Alice", public_key="our key", device="our-device")


def at(
    side: Side,
    state: State,
    *,
    offered: bool = True,
    rules: Rules | None = None,
    devices: tuple[str, ...] = ("peer-device",),
) -> Switchboard:
    """A switchboard whose only call is in that state at that end, at T0, with Bob at the other end."""
    made = board(rules)
    gen = CALLER_GEN if offered else CALLEE_GEN
    if side is Side.CALLER:
        relation = e.Relation.CONTACT if offered else e.Relation.STRANGER
        path: list[tuple[State, e.Event]] = [
            (State.PREPARING if offered else State.INVITING, initiate(relation=relation, devices=devices))
        ]
        if offered:
            path.append((State.INVITING, described("offer")))
        if state is State.ALERTING:
            path.append((State.ALERTING, arrived(signal(Kind.RINGING))))
        if offered and state is not State.ANSWERING:
            path.append((State.CONNECTING, accept_answer()))
        else:
            gen = CALLEE_GEN
            path += [(State.ANSWERING, accept_offer()), (State.CONNECTING, described("answer", gen=gen))]
    else:
        path = [
            (State.RINGING, invite(sdp=OFFER if offered else None)),
            (State.ANSWERING, e.Accept(call_id=CALL)),
            (State.CONNECTING, described("answer" if offered else "offer", gen=gen)),
        ]
    if state is State.BROKEN:
        path.append((State.BROKEN, broken(gen=gen)))
    path.append((State.ACTIVE, connected(gen=gen)))
    path.append((State.RECONNECTING, judged(e.Level.RECONNECTING, gen=gen)))
    path.append((State.ENDED, e.End(call_id=CALL)))
    for reached, event in path:
        made.handle(event, T0)
        if reached is state:
            return made
    raise AssertionError(f"a {side.value} is never {state.value}")


def state_of(made: Switchboard, call_id: str = CALL) -> State:
    return made._calls[call_id].state


def event_for(trigger: Trigger, *, gen: int = CALLER_GEN, makes: str = "answer") -> e.Event | None:
    """An event that is this trigger and names the call, its connection and its offer. None: the deadline."""
    return {
        Trigger.ACCEPT: e.Accept(call_id=CALL),
        Trigger.REJECT: e.Reject(call_id=CALL),
        Trigger.END: e.End(call_id=CALL),
        Trigger.HOLD: e.Hold(call_id=CALL),
        Trigger.RESUME: e.Resume(call_id=CALL),
        Trigger.MUTE: e.Mute(call_id=CALL, kind=MediaTrackKind.AUDIO, muted=True),
        Trigger.USE: e.UseMedia(call_id=CALL),
        Trigger.INVITE: invite(),
        Trigger.RECEIPT: arrived(signal(Kind.RECEIPT)),
        Trigger.ALERT: arrived(signal(Kind.RINGING)),
        Trigger.ACCEPT_ANSWER: accept_answer(),
        Trigger.ACCEPT_OFFER: accept_offer(),
        Trigger.ANSWER: answered(),
        Trigger.REJECTED: says(Kind.REJECT, EndReason.DECLINED),
        Trigger.BUSY: says(Kind.BUSY, EndReason.BUSY),
        Trigger.ONE_BUSY: says(Kind.BUSY, EndReason.BUSY),
        Trigger.OFFER: offered(),
        Trigger.RESTART: arrived(signal(Kind.RESTART)),
        Trigger.CANCELLED: says(Kind.CANCEL, EndReason.CANCELLED),
        Trigger.REMOTE_END: says(Kind.END, EndReason.LOCAL_HANGUP),
        Trigger.DELIVERED: e.SignalDelivered(call_id=CALL, kind=Kind.INVITE),
        Trigger.DELAYED: e.SignalUndeliverable(call_id=CALL, kind=Kind.INVITE, retrying=True),
        Trigger.UNDELIVERABLE: e.SignalUndeliverable(call_id=CALL, kind=Kind.INVITE, retrying=False),
        Trigger.DESCRIPTION: described(makes, gen=gen),
        Trigger.CONNECTED: connected(gen=gen),
        Trigger.PATH_CHANGED: judged(e.Level.SUSPECT, gen=gen),
        Trigger.PATH_LOST: lost(gen=gen),
        Trigger.PEER_BROKEN: broken(gen=gen),
        Trigger.PEER_REFUSED: broken(EndReason.SECURITY, gen=gen),
        Trigger.REMOTE_STATE: e.RemoteState(
            call_id=CALL, user_id=BOB, gen=gen, audio=True, video=False, screen=False
        ),
        Trigger.LINE: e.LineChanged(call_id=CALL, kind=MediaTrackKind.SCREEN, on=True),
        Trigger.RECORDING: e.RecordingChanged(call_id=CALL, recording_id="r1", on=True, path="/r1"),
        Trigger.WARNING: e.MediaWarned(call_id=CALL, code=MediaWarningCode.NO_MEDIA),
        Trigger.MEDIA_LOST: e.MediaLost(),
        Trigger.GLARE: e.Superseded(call_id=CALL, reason=EndReason.GLARE),
        Trigger.REPLACED: e.Superseded(call_id=CALL, reason=EndReason.REPLACED),
        Trigger.SHUTDOWN: e.Shutdown(app_gone=False),
        Trigger.TIMEOUT: None,
    }[trigger]
