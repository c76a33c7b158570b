"""The ``aleph:rtc*`` events about one connection, made of what the machines want of it."""

from __future__ import annotations

from sidecar.app.services.renderer_link import RendererLink
from sidecar.media import messages as m
from sidecar.schema import (
    CallSession,
    ICEServerConfig,
    IceTransportPolicy,
    MediaStateChange,
    RtcAnswer,
    RtcOffer,
    RtcRole,
    RtcStart,
)


def own_state(session: CallSession | None, user_id: str) -> MediaStateChange | None:
    """What our user, whose id is given, sends in a call."""
    me = next((p for p in session.participants if p.user_id == user_id), None) if session else None
    if session is None or me is None:
        return None
    return MediaStateChange(
        call_id=session.id,
        user_id=user_id,
        audio_enabled=me.audio_enabled,
        video_enabled=me.video_enabled,
        screen_sharing=me.screen_sharing,
    )


def start(opening: m.OpenPeer) -> RtcStart:
    """What a front end needs to make the connection."""
    peer = opening.peer
    servers = [
        ICEServerConfig(urls=server.urls, username=server.username, credential=server.credential)
        for server in opening.ice_servers
    ]
    return RtcStart(
        call_id=peer.call_id,
        user_id=peer.user_id,
        gen=peer.gen,
        role=RtcRole(opening.role.value),
        ice_servers=servers,
        policy=IceTransportPolicy.RELAY if opening.relay_only else IceTransportPolicy.ALL,
    )


def offer(link: RendererLink, device: str | None) -> RtcOffer | None:
    """The offer that the connection has to answer, if it is not its own."""
    if link.remote_sdp is None:
        return None
    peer = link.peer
    return RtcOffer(
        call_id=peer.call_id,
        from_user_id=peer.user_id,
        sdp=link.remote_sdp,
        gen=peer.gen,
        device=device,
        offer_digest=link.offer_digest,
    )


def answer(peer: m.PeerRef, sdp: str, device: str | None) -> RtcAnswer:
    """The answer to the connection's own offer."""
    return RtcAnswer(call_id=peer.call_id, from_user_id=peer.user_id, sdp=sdp, gen=peer.gen, device=device)
