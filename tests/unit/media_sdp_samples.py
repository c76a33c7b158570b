"""Session descriptions to test with: ours as the engine makes it, and Chromium's shape."""

from __future__ import annotations

DIGEST = ":".join(["3F"] * 32)
TRANSPORT = f"""a=ice-ufrag:94Z3
a=ice-pwd:KzWDJsote9UI6wYmgVlbd5
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass"""


def rtp(kind: str, mid: str, body: str, ssrc: int, payloads: str, transport: str = TRANSPORT) -> str:
    return f"""m={kind} 9 UDP/TLS/RTP/SAVPF {payloads}
c=IN IP4 0.0.0.0
a=sendrecv
a=mid:{mid}
a=rtcp-mux
a=ssrc:{ssrc} cname:x
{body}
{transport}"""


AUDIO = "a=rtpmap:111 opus/48000/2\na=fmtp:111 minptime=10;useinbandfec=1\na=rtpmap:63 red/48000/2"
VIDEO = """a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 goog-remb
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:98 VP9/90000
a=fmtp:98 profile-id=0"""
DATA = f"""m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:3
a=sctp-port:5000
a=max-message-size:262144
{TRANSPORT}"""
CANDIDATES = """a=candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host
a=candidate:2 1 udp 1694498815 198.51.100.9 50001 typ srflx raddr 192.0.2.7 rport 50000"""


def offer(candidates: str = CANDIDATES, setup: str = "actpass") -> str:
    """A valid description with ``candidates`` in its first section."""
    sections = [
        rtp("audio", "0", AUDIO + "\n" + candidates, 1001, "111 63"),
        rtp("video", "1", VIDEO + "\na=ssrc:1003 cname:x\na=ssrc-group:FID 1002 1003", 1002, "96 97 98"),
        rtp("video", "2", VIDEO, 1004, "98 96 97"),
        DATA,
    ]
    head = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1 2 3\na=msid-semantic: WMS *\n"
    text = head + "\n".join(sections) + "\n"
    return text.replace("a=setup:actpass", f"a=setup:{setup}").replace("\n\n", "\n").replace("\n", "\r\n")
