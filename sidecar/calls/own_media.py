"""What this node itself sends in a call, whatever kind of call it is: lines, mutes, hold, recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.schema import (
    CallParticipant,
    MediaStateChange,
    MediaTrackKind,
    MediaWarning,
    Recording,
    Value,
)

from . import effects as f
from . import events as e
from .people import Person


class OwnMedia:
    """One call's share of this node. ``own`` takes what its user and its media say about that."""

    def __init__(self, call_id: str, me: Person) -> None:
        self.call_id = call_id
        self.me = me
        self.owner: str | None = None
        """The front end that has the media (D7); None: the sidecar."""
        self.opened = False
        """Whether sources were made."""
        self.recordings: dict[str, str] = {}
        """Where each recording of ours goes, by id."""

    def own(self, event: e.Event) -> list[f.Effect] | None:
        """Does what the event asks for; None if it is about something else."""
        action = _ACTIONS.get(type(event))
        return action(self, event) if action else None

    def open_call(self) -> f.OpenCall:
        self.opened = True
        return f.OpenCall(
            call_id=self.call_id,
            kinds=tuple(sorted(self.me.lines)),
            muted=tuple(sorted(MediaTrackKind if self.me.held else self.me.muted)),
            owner=self.owner,
        )

    def notify(self, name: str, data: Value) -> f.Notify:
        return f.Notify(call_id=self.call_id, event=name, data=data)

    def media_state(
        self, person: Person, lines: frozenset[MediaTrackKind], muted: frozenset[MediaTrackKind]
    ) -> list[f.Effect]:
        before = person.view()
        person.lines, person.muted = lines, muted
        return self.media_told(person, before)

    def media_told(self, person: Person, before: CallParticipant) -> list[f.Effect]:
        """Tells what somebody sends now, if that differs from ``before``."""
        after = person.view()
        if before == after:
            return []
        data = MediaStateChange(
            call_id=self.call_id,
            user_id=person.user_id,
            audio_enabled=after.audio_enabled,
            video_enabled=after.video_enabled,
            screen_sharing=after.screen_sharing,
        )
        return [self.notify("aleph:mediaStateChange", data)]

    def heard_state(self, person: Person, event: e.RemoteState) -> list[f.Effect]:
        """What a peer says that it sends."""
        said = {
            MediaTrackKind.AUDIO: event.audio,
            MediaTrackKind.VIDEO: event.video,
            MediaTrackKind.SCREEN: event.screen,
        }
        lines = frozenset(kind for kind, on in said.items() if on)
        return self.media_state(person, lines, frozenset())

    def recordings_lost(self) -> list[f.Effect]:
        """Recordings die with the media process; they are never left looking alive."""
        lost, self.recordings = self.recordings, {}
        return [self._recording(recording_id, path, False) for recording_id, path in lost.items()]

    def _mute(self, event: e.Mute) -> list[f.Effect]:
        muted = self.me.muted | {event.kind} if event.muted else self.me.muted - {event.kind}
        if muted == self.me.muted:
            return []
        told = self.media_state(self.me, self.me.lines, muted)
        if not self.opened or self.me.held:
            return told
        return [f.SetMuted(call_id=self.call_id, kind=event.kind, muted=event.muted), *told]

    def _hold(self, _: e.Hold) -> list[f.Effect]:
        return self._set_held(True)

    def _resume(self, _: e.Resume) -> list[f.Effect]:
        return self._set_held(False)

    def _set_held(self, held: bool) -> list[f.Effect]:
        """On hold every line is silent; what the user muted by hand stays so afterwards."""
        if self.me.held == held:
            return []
        before, self.me.held = self.me.view(), held
        out: list[f.Effect] = [
            f.SetMuted(call_id=self.call_id, kind=kind, muted=held or kind in self.me.muted)
            for kind in MediaTrackKind
        ]
        return [*out, *self.media_told(self.me, before)]

    def _line_changed(self, event: e.LineChanged) -> list[f.Effect]:
        lines = self.me.lines | {event.kind} if event.on else self.me.lines - {event.kind}
        return self.media_state(self.me, lines, self.me.muted)

    def _recording_changed(self, event: e.RecordingChanged) -> list[f.Effect]:
        if event.on:
            self.recordings[event.recording_id] = event.path
        else:
            del self.recordings[event.recording_id]
        return [self._recording(event.recording_id, event.path, event.on, event.duration_ms)]

    def _recording(self, recording_id: str, path: str, on: bool, duration_ms: int | None = None) -> f.Effect:
        data = Recording(
            call_id=self.call_id,
            user_id=self.me.user_id,
            recording=on,
            recording_id=recording_id,
            path=path,
            duration_ms=duration_ms,
        )
        return self.notify("aleph:recording", data)

    def _warned(self, event: e.MediaWarned) -> list[f.Effect]:
        data = MediaWarning(call_id=event.call_id, code=event.code, user_id=event.user_id)
        return [self.notify("aleph:mediaWarning", data)]


_ACTIONS: Mapping[type[Any], Callable[[OwnMedia, Any], list[f.Effect]]] = {
    e.Hold: OwnMedia._hold,
    e.Resume: OwnMedia._resume,
    e.Mute: OwnMedia._mute,
    e.LineChanged: OwnMedia._line_changed,
    e.RecordingChanged: OwnMedia._recording_changed,
    e.MediaWarned: OwnMedia._warned,
}
