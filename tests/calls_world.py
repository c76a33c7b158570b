"""Nodes, a bag of signals between them, and media that follows the descriptions: a world to search.

Nothing here has a clock: ``now`` moves when a timer is let run. Every choice (which signal arrives next, is
lost or doubled, what a user does, when media reports) is made from outside, by ``step``. Broken promises
raise ``AssertionError`` at once; ``settle`` runs a world to its end without further faults and checks that
both ends agree.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from sidecar.calls import effects as f
from sidecar.calls import events as e
from sidecar.calls.machine import Call
from sidecar.calls.rules import Rules
from sidecar.calls.states import ESTABLISHED, State
from sidecar.calls.switchboard import Switchboard
from sidecar.errors import SidecarError
from sidecar.schema import CallType, EndReason
from sidecar.signaling.messages import EmptyBody, Kind, Party, ReasonBody, Signal
from tests.calls_lab import T0, WALL_MS
from tests.calls_node import Media, Node, device_at, fork_node, name_of, node_key, user

PAIR = {"alice": "bob", "bob": "alice"}
"""Whom each node calls."""
DEVICES = PAIR | {"bob/2": "alice"}
"""Bob has two devices."""
TRIANGLE = {"alice": "bob", "bob": "carol", "carol": "alice"}
REACH = 3
"""By how many later signals a signal may be overtaken."""
PEER_CAUSES = {"signal reject", "signal busy", "signal cancel", "signal end", "signal invite"}
"""What a peer has said, by the cause of the move."""
MIRROR = {EndReason.LOCAL_HANGUP: EndReason.REMOTE_HANGUP}
ELSEWHERE = frozenset({EndReason.ANSWERED_ELSEWHERE, EndReason.DECLINED_ELSEWHERE})
COMMANDS: dict[str, Callable[..., e.Event]] = {
    "accept": e.Accept, "reject": e.Reject, "end": e.End, "hold": e.Hold, "resume": e.Resume,
}  # fmt: skip
FORGOTTEN_S = 1000.0
"""Longer than an ended call is remembered."""
REST_MAX = 200
"""Steps after which a world that is left alone has come to rest."""
Action = tuple[str, ...]


class World:
    """``step`` does one action of ``actions``; a world can be forked."""

    def __init__(
        self,
        *,
        relation: e.Relation = e.Relation.CONTACT,
        calls: Mapping[str, str] = PAIR,
        talk: bool = False,
    ) -> None:
        """``calls``: the nodes, and which user each calls. ``talk``: nobody hangs up, so unless something is
        lost two calls that cross become one."""
        rules = Rules(strangers_ring=relation is e.Relation.STRANGER)
        self.relation = relation
        self.calls = calls
        self.talk = talk
        self.now = T0
        self.nodes = {
            name: Node(Switchboard(rules, user(name), name, public_key=user(name), device=f"{name}-device"))
            for name in calls
        }
        self.said: Counter[str] = Counter()
        self.bag: list[tuple[str, Signal]] = []
        self.budget: Counter[str] = Counter()
        self.serial = 0
        self.lossy = False
        self.touched = set(self.nodes)
        """The nodes that no other world shares."""

    def touch(self, name: str) -> Node:
        """A node to be changed."""
        if name not in self.touched:
            self.touched.add(name)
            self.nodes[name] = fork_node(self.nodes[name])
        self.nodes[name].key = None
        return self.nodes[name]

    def fork(self) -> World:
        """A twin that shares every node until one of the two changes it (``touch``)."""
        twin = copy.copy(self)
        twin.nodes, self.touched, twin.touched = dict(self.nodes), set(), set()
        twin.bag = list(self.bag)
        twin.budget = self.budget.copy()
        twin.said = self.said.copy()
        return twin

    # --- choices ---

    def actions(self) -> Iterator[Action]:
        """Everything that may happen next."""
        for name, node in self.nodes.items():
            if node.dead:
                continue
            if node.media.waiting:
                yield ("media", name)
            if self.budget[f"crash {name}"] > 0:
                yield ("crash", name)
            for fault in ("fail", "silence"):
                if self.budget[f"{fault} {name}"] > 0 and node.media.connected:
                    yield (fault, name)
            for command in ("initiate", *COMMANDS):
                if self.budget[f"{command} {name}"] > 0 and (command == "initiate" or node.board._calls):
                    yield (command, name)
        for index in self._next():
            yield ("deliver", str(index))
            if self.budget["drop"] > 0:
                yield ("drop", str(index))
            if self.budget["double"] > 0:
                yield ("double", str(index))
        if self.budget["tick"] > 0 and self.next_tick() is not None:
            yield ("tick",)

    def _next(self) -> Iterator[int]:
        """The signals that may arrive next: no more than ``REACH`` older ones of the same way are overtaken;
        of two that are alike one is enough."""
        older: Counter[tuple[str, str]] = Counter()
        for index, (to, signal) in enumerate(self.bag):
            way = (to, signal.sender.pub)
            older[way] += 1
            if older[way] <= REACH + 1 and self.bag.index((to, signal)) == index:
                yield index

    def step(self, action: Action) -> None:
        what, *rest = action
        if what in ("drop", "double", "tick"):
            self.budget[what] -= 1
        match what:
            case "media":
                self.take_media(rest[0])
            case "deliver":
                self.deliver(*self.bag.pop(int(rest[0])))
            case "double":
                self.deliver(*self.bag[int(rest[0])])
            case "drop":
                self.bag.pop(int(rest[0]))
                self.lossy = True
            case "tick":
                self.tick()
            case "crash":
                self.budget[f"crash {rest[0]}"] -= 1
                self.crash(rest[0])
            case "fail" | "silence":
                self.budget[f"{what} {rest[0]}"] -= 1
                (self._fail if what == "fail" else self._silence)(rest[0])
            case _:
                self.budget[f"{what} {rest[0]}"] -= 1
                self._command(what, rest[0])
        self.check()

    def crash(self, name: str) -> None:
        """Kills a node without a word: the other end's media notices that it falls silent."""
        node = self.touch(name)
        node.dead, node.media = True, Media()
        for far_name, far in list(self.nodes.items()):
            for (call_id, gen), stage in far.media.open.items():
                if stage == f"up with {name}":
                    silent = e.PeerLiveness(call_id=call_id, user_id=user(name), gen=gen, level=e.Level.LOST)
                    self.touch(far_name).media.waiting.append(silent)

    def _fail(self, name: str) -> None:
        """The connection of a node dies at both ends, before or after they hear that it is up."""
        key, far = self.nodes[name].media.connected[-1]
        for end, other in ((name, far), (far, name)):
            media = self.touch(end).media
            media.open[key] = "dead"
            up = e.PeerConnected(call_id=key[0], user_id=user(other), gen=key[1])
            died = e.PeerFailed(call_id=key[0], user_id=user(other), gen=key[1], reason="connection-lost")
            media.waiting = [*(event for event in media.waiting if event != up), died]

    def _silence(self, name: str) -> None:
        """A node hears nothing any more over its connection."""
        key, far = self.nodes[name].media.connected[-1]
        level = e.Level.RECONNECTING
        report = e.PeerLiveness(call_id=key[0], user_id=user(far), gen=key[1], level=level)
        self.touch(name).media.waiting.append(report)

    def alive(self) -> Iterator[tuple[str, Node]]:
        return ((name, node) for name, node in self.nodes.items() if not node.dead)

    def next_tick(self) -> float | None:
        due = [node.board.next_deadline() for _, node in self.alive() if node.board._live]
        return min((at for at in due if at is not None), default=None)

    def tick(self) -> None:
        """Lets the next timer run, at its time."""
        due = self.next_tick()
        if due is None:
            return
        self.now = max(self.now, due)
        for name, node in list(self.alive()):
            if (at := node.board.next_deadline()) is not None and at <= self.now:
                self._perform(name, self.touch(name).board.handle_timer(self.now))

    # --- doing ---

    def handle(self, name: str, event: e.Event) -> None:
        self._perform(name, self.touch(name).board.handle(event, self.now))

    def _command(self, what: str, name: str) -> None:
        callee = self.calls[name]
        if what == "initiate":
            self.serial += 1
            event: e.Event = e.Initiate(
                call_id=f"call_{name}_{self.serial}",
                user_id=callee,
                display_name=callee,
                call_type=CallType.VIDEO,
                relation=self.relation,
                session=f"{self.serial:032x}",
                at_ms=self._unix_ms(),
                devices=tuple(f"{device}-device" for device in self._devices(callee)),
            )
        else:
            call_id = list(self.nodes[name].board._calls)[-1]
            event = COMMANDS[what](call_id=call_id)
            if what == "accept":
                self.touch(name).accepted |= {call_id}
        before = self._states(name)
        try:
            self.handle(name, event)
        except SidecarError:
            assert self._states(name) == before, "a refused command changed a call"

    def _devices(self, of: str) -> list[str]:
        return [name for name in self.nodes if user(name) == of]

    def _states(self, name: str) -> list[State]:
        return [call.state for call in self.nodes[name].board._calls.values()]

    def _unix_ms(self) -> int:
        return WALL_MS + round((self.now - T0) * 1000)

    def deliver(self, to: str, signal: Signal) -> None:
        if self.nodes[to].dead:
            return
        call = self.touch(to).board._live.get(signal.call_id)
        arrived = e.SignalArrived(
            signal=signal,
            user_id=signal.sender.pub,
            contact=self.relation is e.Relation.CONTACT,
            at_ms=self._unix_ms(),
            network_ms=self._unix_ms(),
            display_name=signal.sender.pub,
        )
        if signal.kind is Kind.INVITE and arrived.contact:
            self._give_receipt(to, signal)
        self.handle(to, arrived)
        if call is not None and isinstance(signal.body, ReasonBody):
            assert call.ended or not self._final(to, call, signal), "a hang-up that arrives ends the call"

    def _final(self, to: str, call: Call, hangup: Signal) -> bool:
        """Not if another device has the call, or may still take it."""
        spared = isinstance(hangup.body, ReasonBody) and hangup.body.device == f"{to}-device"
        elsewhere = call.peer_device not in (None, hangup.sender.device)
        one_busy = hangup.kind is Kind.BUSY and len(self._devices(hangup.sender.pub)) > 1
        return not (spared or elsewhere or one_busy)

    def _give_receipt(self, name: str, invitation: Signal) -> None:
        """What signaling does as soon as it has opened an invitation of a contact."""
        receipt = msgspec.structs.replace(
            invitation,
            kind=Kind.RECEIPT,
            sender=Party(pub=user(name), device=f"{name}-device"),
            recipient=invitation.sender,
            body=EmptyBody(),
        )
        self.bag.append((device_at(invitation.sender.device), receipt))

    def _perform(self, name: str, effects: list[f.Effect]) -> None:
        for effect in effects:
            _PERFORM.get(type(effect), World._ignore)(self, name, self.touch(name), effect)

    def _ignore(self, name: str, node: Node, effect: f.Effect) -> None:
        assert isinstance(effect, f.Notify | f.SetMuted), effect

    def _joined(self, name: str, node: Node, effect: f.JoinSession) -> None:
        assert effect.call_id not in node.sessions
        node.sessions |= {effect.call_id}

    def _left(self, name: str, node: Node, effect: f.LeaveSession) -> None:
        assert effect.call_id in node.sessions, "left a session twice or never joined it"
        node.sessions -= {effect.call_id}

    def _sent(self, name: str, node: Node, effect: f.SendSignal) -> None:
        if self.relation is e.Relation.STRANGER and effect.call_id not in node.accepted:
            caller = effect.call_id.startswith(f"call_{name}")
            assert caller or effect.kind is Kind.REJECT or _has_called(node), (
                "a stranger learnt something before the user acted"
            )
        self.said[name] += 1
        signal = Signal(
            kind=effect.kind,
            call_id=effect.call_id,
            sender=Party(pub=user(name), device=f"{name}-device"),
            recipient=Party(pub=effect.user_id, device=effect.device),
            body=effect.body,
            epoch="epoch",
            gen=effect.gen,
            seq=0,
            issued_at_ms=self._unix_ms() + self.said[name],
            expires_at_ms=self._unix_ms() + round(effect.ttl_s * 1000),
            nonce="",
        )
        meant = self._devices(effect.user_id) if effect.device is None else [device_at(effect.device)]
        self.bag += [(device, signal) for device in meant]
        if effect.kind is Kind.INVITE:
            node.media.waiting.append(e.SignalDelivered(call_id=effect.call_id, kind=effect.kind))

    def _rang(self, name: str, node: Node, effect: f.Ring) -> None:
        node.rings[effect.call_id] += 1
        assert node.rings[effect.call_id] == 1, "it rang twice"

    def _ended(self, name: str, node: Node, effect: f.CallEnded) -> None:
        node.records[effect.call_id] += 1
        assert node.records[effect.call_id] == 1, "a call was recorded twice"
        assert effect.record.end_reason is node.ends[effect.call_id][0]

    def _moved(self, name: str, node: Node, effect: f.Moved) -> None:
        assert effect.old != State.ENDED.value, "ended is final"
        if effect.new == State.ENDED.value:
            reason = EndReason(effect.reason)
            own = reason in (EndReason.BUSY, EndReason.GLARE) and effect.cause == "signal invite"
            node.ends[effect.call_id] = (reason, effect.cause in PEER_CAUSES and not own)

    def _opened(self, name: str, node: Node, effect: f.OpenCall) -> None:
        outgoing = effect.call_id.startswith(f"call_{name}")
        assert outgoing or effect.call_id in node.accepted or _has_called(node), "capture before accept"
        assert effect.call_id not in node.media.captured
        node.media.captured |= {effect.call_id}

    def _closed(self, name: str, node: Node, effect: f.CloseCall) -> None:
        assert effect.call_id in node.media.captured, "closed what was never opened"
        node.media.captured -= {effect.call_id}
        for key in [key for key in node.media.open if key[0] == effect.call_id]:
            self._hang(name, node, key)

    def _peer(self, name: str, node: Node, effect: f.OpenPeer) -> None:
        key = (effect.call_id, effect.gen)
        assert effect.call_id in node.media.captured
        assert key not in node.media.open
        kind = "offer" if effect.remote_sdp is None else "answer"
        node.media.open[key] = kind
        node.media.waiting.append(
            e.LocalDescription(
                call_id=effect.call_id,
                user_id=effect.user_id,
                gen=effect.gen,
                type=kind,
                sdp=f"{kind} {name} {effect.call_id} {effect.gen}",
            )
        )

    def _peer_closed(self, name: str, node: Node, effect: f.ClosePeer) -> None:
        self._hang(name, node, (effect.call_id, effect.gen))

    def _hang(self, name: str, node: Node, key: tuple[str, int]) -> None:
        """Closing is seen at the other end at once, as a connection that died."""
        stage = node.media.open.pop(key)
        node.media.waiting = [
            event
            for event in node.media.waiting
            if not (isinstance(event, e.PeerEvent) and _key(event) == key)
        ]
        far = stage.removeprefix("up with ") if stage.startswith("up with ") else None
        if far is not None and self.nodes[far].media.open.get(key) == f"up with {name}":
            died = e.PeerFailed(call_id=key[0], user_id=user(name), gen=key[1], reason="connection-lost")
            self.touch(far).media.waiting.append(died)

    def _applied(self, name: str, node: Node, effect: f.ApplyAnswer) -> None:
        key = (effect.call_id, effect.gen)
        assert node.media.open[key] == "offer", "an answer was applied twice, or to an answer"
        answerer = effect.sdp.split()[1]
        far = self.touch(answerer).media
        if far.open.get(key) != "answer":
            node.media.open[key] = "half"
            return
        for media, other in ((node.media, answerer), (far, name)):
            media.open[key] = f"up with {other}"
            media.waiting.append(e.PeerConnected(call_id=key[0], user_id=user(other), gen=key[1]))

    def take_media(self, name: str) -> None:
        self.handle(name, self.touch(name).media.waiting.pop(0))

    # --- promises ---

    def check(self) -> None:
        """What holds after every step."""
        for _, node in self.alive():
            live = node.board._live
            peers = [call.facts.peer_id for call in live.values()]
            assert len(peers) == len(set(peers)), "two live calls of a pair"
            assert len(node.board._talking()) <= 1, "in two conversations at once"
            for call_id, call in node.board._calls.items():
                assert (call_id in live) == (not call.ended)
                assert (call_id in node.ends) == call.ended
                if call.state not in ESTABLISHED:
                    assert (call.deadline is None) == call.ended
                assert call.opened == (call_id in node.media.captured) or call.ended
                if call.ended:
                    assert call.reason is node.ends[call_id][0]
                    assert call_id not in node.media.captured, "ended with an open microphone"

    def settle(self, settled: set[int]) -> None:
        """No more faults and nobody touches anything: everything on its way arrives, every timer runs, and
        the ends agree. ``settled``: hashes of worlds that are known to; those on the way join them."""
        end, way = self.fork(), set[int]()
        while (now := hash(end.left_alone())) not in settled:
            assert len(way) < REST_MAX, "this world does not come to rest"
            way.add(now)
            if not end.move_on():
                end.agree()
                break
            end.check()
        settled |= way

    def move_on(self) -> bool:
        """The next thing that happens by itself; False if nothing will."""
        waiting = [name for name, node in self.nodes.items() if node.media.waiting]
        if self.bag:
            self.deliver(*self.bag.pop(0))
        elif waiting:
            self.take_media(waiting[0])
        elif self.next_tick() is not None:
            self.tick()
        else:
            return False
        return True

    def agree(self) -> None:
        """Both ends of every call: together in it or together out of it, and with one story about why."""
        calls: dict[str, dict[str, Call]] = {}
        for name, node in self.alive():
            for call_id, call in node.board._calls.items():
                calls.setdefault(call_id, {})[name] = call
        inside = 0
        for call_id, ends in calls.items():
            assert {call.state for call in ends.values()} <= {State.ACTIVE, State.ENDED}, call_id
            talking = [name for name, call in ends.items() if not call.ended]
            assert len(talking) in (0, 2), f"{talking} are in a call"
            assert len(set(map(user, talking))) == len(talking), "a user is in a call with himself"
            inside += len(talking)
            if not talking:
                self._agree_why(call_id)
        callers = {call_id.split("_")[1] for call_id in calls}
        if self.talk and not self.lossy and callers == set(self.calls):
            assert inside, "two wanted to talk, nothing was lost, and they do not"
        for name, node in self.alive():
            self._is_over(name, node)

    def _is_over(self, name: str, node: Node) -> None:
        """When all calls have ended and are forgotten, nothing is left to wait for."""
        if node.board._live:
            return
        board = fork_node(node).board
        board.handle_timer(self.now + FORGOTTEN_S)
        assert board.next_deadline() is None, f"{name} has a timer left"
        assert not board._calls, f"{name} has not forgotten a call"

    def _agree_why(self, call_id: str) -> None:
        """Who was told of the end says what the one who told it says."""
        ends = {name: node.ends[call_id] for name, node in self.alive() if call_id in node.ends}
        caller = call_id.split("_")[1]
        if caller not in ends:
            return
        mine, told = ends.pop(caller)
        theirs = [reason for reason, _ in ends.values() if reason not in ELSEWHERE]
        for reason, was_told in ends.values():
            assert not was_told or reason in ELSEWHERE or _same(mine, reason), (mine, reason)
        if told and theirs and len(ends) == len(self._devices(self.calls[caller])):
            assert any(_same(mine, reason) for reason in theirs), (mine, theirs)

    def key(self) -> Any:
        """Worlds with the same key have the same future."""
        return self.left_alone(), frozenset(self.budget.items())

    def left_alone(self) -> Any:
        """Worlds that are equal in this come to the same end when nobody touches anything. It leaves
        nothing out but counters, what never changes, and what follows from the rest."""
        bag = tuple(sorted((to, name_of(signal)) for to, signal in self.bag))
        return tuple(map(node_key, self.nodes.values())), bag, self.now, self.lossy


def _same(one: EndReason, other: EndReason) -> bool:
    return MIRROR.get(one, one) == other or MIRROR.get(other, other) == one


def _has_called(node: Node) -> bool:
    """A call of our own that crossed the peer's: the peer is welcome, and no accept is needed (C01)."""
    return any(reason is EndReason.GLARE for reason, _ in node.ends.values())


def _key(event: e.PeerEvent) -> tuple[str, int]:
    return event.call_id, event.gen


_PERFORM: dict[type[f.Effect], Callable[[World, str, Node, Any], None]] = {
    f.JoinSession: World._joined,
    f.LeaveSession: World._left,
    f.SendSignal: World._sent,
    f.Ring: World._rang,
    f.CallEnded: World._ended,
    f.Moved: World._moved,
    f.OpenCall: World._opened,
    f.CloseCall: World._closed,
    f.OpenPeer: World._peer,
    f.ClosePeer: World._peer_closed,
    f.ApplyAnswer: World._applied,
}
