"""What each effect of the machines does in a simulated world: exactly one performer per effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sidecar.calls import effects as cf
from sidecar.calls import events as ce
from sidecar.conference import effects as f
from sidecar.conference import events as e
from sidecar.conference.lease import KEY, Lease, soul

if TYPE_CHECKING:
    from .nodes import Node

DELIVERED_AFTER_S = 0.01


def perform(node: Node, effects: list[cf.Effect]) -> None:
    """In their order; what a performer causes comes later, through the agenda."""
    shared = node.shared
    for effect in effects:
        shared.promises.done(node, effect)
        performer = _PERFORM.get(type(effect))
        if performer is not None:
            performer(node, effect)
        shared.on_effect(node, effect)
    shared.promises.held(node)


def send(node: Node, effect: cf.SendSignal) -> None:
    """Over the control channel where there is one, and into the graph; a relay takes it at once."""
    shared = node.shared
    shared.counts["signals"] += 1
    shared.counts[f"signal {effect.kind.value}"] += 1
    node.door.send(effect, shared.media.far_end(node.name, effect.call_id, effect.user_id))
    fate = ce.SignalDelivered(call_id=effect.call_id, kind=effect.kind)
    node.later(shared.agenda.now + DELIVERED_AFTER_S, fate)


def _moved(node: Node, effect: cf.Moved) -> None:
    why = f" {effect.reason}" if effect.reason else ""
    node.shared.note(f"{node.name} {effect.call_id[-8:]} {effect.old} -> {effect.new} ({effect.cause}){why}")


def _ended(node: Node, effect: cf.CallEnded) -> None:
    node.shared.counts[f"ended {effect.record.end_reason.value}"] += 1


def _opened(node: Node, effect: cf.OpenCall) -> None:
    node.shared.media.captured.add((node.name, effect.call_id))


def _closed(node: Node, effect: cf.CloseCall) -> None:
    node.shared.media.close_call(node.name, effect.call_id)


def _open_peer(node: Node, effect: cf.OpenPeer) -> None:
    node.shared.media.open_peer(node.name, effect)


def _apply(node: Node, effect: cf.ApplyAnswer) -> None:
    node.shared.media.apply_answer(node.name, effect)


def _close_peer(node: Node, effect: cf.ClosePeer) -> None:
    node.shared.media.close_peer(node.name, effect)


def _join(node: Node, effect: cf.JoinSession) -> None:
    node.door.join(effect.call_id, effect.session, effect.user_id)


def _leave(node: Node, effect: cf.LeaveSession) -> None:
    node.door.leave(effect.call_id)


def _put_lease(node: Node, effect: f.PutLease) -> None:
    node.shared.counts["leases"] += 1
    info = effect.info
    node.shared.graph.put(node.name, soul(info.lease), KEY, Lease(info, effect.others))


def _watch(node: Node, effect: f.WatchLease) -> None:
    _unwatch(node, effect)
    node.watches[effect.call_id, effect.user_id] = effect.lease
    seen = partial(_lease_seen, node, effect.call_id, effect.user_id)
    node.shared.graph.watch(node.name, soul(effect.lease), seen)


def _unwatch(node: Node, effect: f.WatchLease | f.UnwatchLease) -> None:
    lease = node.watches.pop((effect.call_id, effect.user_id), None)
    if lease is not None:
        node.shared.graph.unwatch(node.name, soul(lease))


def _lease_seen(node: Node, call_id: str, user_id: str, _: str, lease: Lease) -> None:
    now_ms = node.clock.network_ms()
    node.hear(
        e.LeaseSeen(call_id=call_id, user_id=user_id, info=lease.info, others=lease.others, network_ms=now_ms)
    )


def _gossip(node: Node, effect: f.SendGossip) -> None:
    shared = node.shared
    far = shared.media.far_end(node.name, effect.call_id, effect.user_id)
    if far is not None:
        shared.counts["gossip"] += 1
        heard = partial(_gossip_arrives, shared.nodes[far], node.user_id, effect)
        shared.agenda.at(shared.agenda.now + shared.dice.path_delay(), heard)


def _gossip_arrives(node: Node, user_id: str, effect: f.SendGossip) -> None:
    node.hear(
        e.Gossip(
            call_id=effect.call_id,
            user_id=user_id,
            ages_ms=effect.ages_ms,
            members=effect.members,
            invited=effect.invited,
            network_ms=node.clock.network_ms(),
        )
    )


_PERFORM: Mapping[type[cf.Effect], Callable[[Node, Any], None]] = {
    cf.Moved: _moved,
    cf.CallEnded: _ended,
    cf.OpenCall: _opened,
    cf.CloseCall: _closed,
    cf.OpenPeer: _open_peer,
    cf.ApplyAnswer: _apply,
    cf.ClosePeer: _close_peer,
    cf.JoinSession: _join,
    cf.LeaveSession: _leave,
    cf.SendSignal: send,
    f.PutLease: _put_lease,
    f.WatchLease: _watch,
    f.UnwatchLease: _unwatch,
    f.SendGossip: _gossip,
}
"""What is not here has no effect on others: what front ends are shown, mutes, send plans."""
