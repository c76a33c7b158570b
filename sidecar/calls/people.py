"""The two people of a call, as this node sees them."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.schema import CallParticipant, MediaTrackKind, ParticipantState


@dataclass(slots=True)
class Person:
    """One participant. ``lines`` have a source, ``muted`` ones send silence or black all the same."""

    user_id: str
    display_name: str
    state: ParticipantState
    lines: frozenset[MediaTrackKind]
    muted: frozenset[MediaTrackKind] = frozenset()
    held: bool = False
    joined_ms: int | None = None
    left_ms: int | None = None

    def sends(self, kind: MediaTrackKind) -> bool:
        """Whether others get something to see or hear on that line."""
        return kind in self.lines and kind not in self.muted and not self.held

    def view(self) -> CallParticipant:
        """The schema's participant."""
        return CallParticipant(
            user_id=self.user_id,
            display_name=self.display_name,
            state=self.state,
            audio_enabled=self.sends(MediaTrackKind.AUDIO),
            video_enabled=self.sends(MediaTrackKind.VIDEO),
            screen_sharing=self.sends(MediaTrackKind.SCREEN),
            joined_at=self.joined_ms,
            left_at=self.left_ms,
        )
