"""The fixed layout and the sanitiser: what is taken over, what is refused, what never gets through."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import RemoteError
from sidecar.media.core.sdp import MAX_CANDIDATES, MAX_SDP_BYTES, compact, sanitise
from tests.unit.media_sdp_samples import DIGEST, offer


def candidates_of(sdp: str) -> list[str]:
    return [line for line in sdp.split("\r\n") if line.startswith("a=candidate:")]


def test_a_valid_offer_keeps_what_the_layout_needs_and_nothing_else() -> None:
    clean = sanitise(offer(), "offer")
    assert clean.fingerprint == DIGEST
    assert clean.ufrag == "94Z3"
    assert (clean.candidates, clean.dropped) == (2, 0)
    for gone in ("VP9", "red/", "goog-remb", "raddr", "useinbandfec", "127.0.0.1", "msid"):
        assert gone not in clean.sdp
    assert clean.sdp.count("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n") == 2
    assert clean.sdp.count("a=end-of-candidates") == 4
    assert "a=ssrc-group:FID 1002 1003" in clean.sdp


def test_what_was_sanitised_is_sanitised_to_itself() -> None:
    once = sanitise(offer(), "offer")
    assert sanitise(once.sdp, "offer") == once


def test_candidates_are_said_once_by_us_and_understood_from_any_section() -> None:
    clean = sanitise(offer(), "offer").sdp
    assert len(candidates_of(clean)) == 8
    short = compact(clean)
    assert len(candidates_of(short)) == 2
    assert sanitise(short, "offer").sdp == clean


def test_attributes_of_the_session_are_defaults() -> None:
    text = offer()
    for line in ("a=ice-ufrag:94Z3", "a=ice-pwd:KzWDJsote9UI6wYmgVlbd5", f"a=fingerprint:sha-256 {DIGEST}"):
        text = text.replace(line + "\r\n", "")
        text = text.replace("t=0 0\r\n", f"t=0 0\r\n{line}\r\n", 1)
    assert sanitise(text, "offer").sdp == sanitise(offer(), "offer").sdp


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("v=0\r\n", "", "not a session"),
        ("m=video 9", "m=audio 9", "m-lines"),
        ("m=audio 9", "m=audio 0", "rejected"),
        ("m=audio 9", "m=audio 99999", "rejected"),
        ("m=audio 9", "m=audio x", "malformed m-line"),
        ("SAVPF 111", "SAVP 111", "profile"),
        ("a=rtcp-mux\r\n", "", "rtcp-mux"),
        ("a=sendrecv\r\n", "a=recvonly\r\n", "sendrecv"),
        ("a=mid:1\r\n", "a=mid:0\r\n", "mid"),
        ("a=mid:1\r\n", "", "mid"),
        ("a=mid:1\r\n", "a=mid:1\r\na=mid:1\r\n", "mid"),
        ("BUNDLE 0 1 2 3", "BUNDLE 0 1 2", "BUNDLE"),
        ("BUNDLE 0 1 2 3", "BUNDLE 3 2 1 0", "BUNDLE"),
        ("a=ice-ufrag:94Z3\r\n", "", "ice-ufrag"),
        ("a=ice-ufrag:94Z3", "a=ice-ufrag:94Z", "ice-ufrag"),
        ("a=ice-ufrag:94Z3", "a=ice-ufrag:94Z3 evil", "ice-ufrag"),
        ("a=ice-pwd:KzWDJsote9UI6wYmgVlbd5", "a=ice-pwd:short", "ice-pwd"),
        ("a=setup:actpass", "a=setup:holdconn", "setup"),
        ("sha-256 3F", "md5 3F", "fingerprint"),
        (":3F\r\n", ":3F:3F\r\n", "fingerprint"),
        ("a=sctp-port:5000", "a=sctp-port:0", "sctp-port"),
        ("a=sctp-port:5000", "a=sctp-port:99999", "sctp-port"),
        ("webrtc-datachannel", "webrtc-other", "data channel"),
        ("a=ssrc:1004", "a=ssrc:1001", "ssrc"),
        ("a=ssrc:1004", "a=ssrc:99999999999", "ssrc"),
        ("a=sendrecv\r\n", "a=sendrecv\r\na=x:\x00\r\n", "characters"),
        ("a=sendrecv\r\n", "a=sendrecv\ra=inactive\r\n", "bad line"),
        ("a=sendrecv\r\n", f"a=sendrecv\r\na=x:{'y' * 2000}\r\n", "bad line"),
    ],
)
def test_M01_damage_is_refused_by_name(old: str, new: str, says: str) -> None:
    assert old in offer()
    with pytest.raises(RemoteError) as caught:
        sanitise(offer().replace(old, new, 1) if "mid" in says else offer().replace(old, new), "offer")
    assert caught.value.reason == "bad-sdp"
    assert says in str(caught.value)


def test_M01_sizes_are_bounded() -> None:
    for text in (
        "v=0\r\n" + "a" * MAX_SDP_BYTES,
        "v=0\n" * 601,
        offer() + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    ):
        with pytest.raises(RemoteError):
            sanitise(text, "offer")


def test_two_different_fingerprints_or_transports_are_refused() -> None:
    for old, new in (
        (f"sha-256 {DIGEST}", f"sha-256 {DIGEST.replace('3F', '40', 1)}"),
        ("a=ice-ufrag:94Z3", "a=ice-ufrag:94Z4"),
    ):
        with pytest.raises(RemoteError):
            sanitise(offer().replace(old, new, 1), "offer")


def test_an_answer_chooses_a_role_and_an_offer_may() -> None:
    with pytest.raises(RemoteError):
        sanitise(offer(), "answer")
    assert "a=setup:active" in sanitise(offer(setup="active"), "answer").sdp
    assert "a=setup:passive" in sanitise(offer(setup="passive"), "offer").sdp


def test_M06_no_common_codec_has_its_own_reason() -> None:
    for old in ("opus/48000", "VP8/90000"):
        with pytest.raises(RemoteError) as caught:
            sanitise(offer().replace(old, "other/1"), "offer")
        assert caught.value.reason == "no-common-codec"


@pytest.mark.parametrize(
    "candidate",
    [
        "1 1 udp 2130706431 example.org 50000 typ host",
        "1 1 udp 2130706431 4f7c.local 50000 typ host",
        "1 1 udp 2130706431 fe80::1%eth0 50000 typ host",
        "1 1 udp 2130706431 fe80::1 50000 typ host",
        "1 1 udp 2130706431 0.0.0.0 50000 typ host",
        "1 1 udp 2130706431 :: 50000 typ host",
        "1 1 udp 2130706431 224.0.0.1 50000 typ host",
        "1 1 udp 2130706431 ff02::1 50000 typ host",
        "1 1 udp 2130706431 255.255.255.255 50000 typ host",
        "1 1 udp 2130706431 169.254.169.254 50000 typ host",
        "1 1 udp 2130706431 127.0.0.1 50000 typ host",
        "1 1 udp 2130706431 ::1 50000 typ host",
        "1 1 udp 2130706431 ::ffff:127.0.0.1 50000 typ host",
        "1 1 udp 2130706431 2002:7f00:1:: 50000 typ host",
        "1 1 udp 2130706431 192.0.2.1 0 typ host",
        "1 1 udp 2130706431 192.0.2.1 65536 typ host",
        "1 1 udp 0 192.0.2.1 50000 typ host",
        "1 1 udp 4294967296 192.0.2.1 50000 typ host",
        "1 1 udp -1 192.0.2.1 50000 typ host",
        "1 1 tcp 2130706431 192.0.2.1 50000 typ host tcptype active",
        "1 2 udp 2130706431 192.0.2.1 50000 typ host",
        "1 1 udp 2130706431 192.0.2.1 50000 typ evil",
        "1 1 udp 2130706431 192.0.2.1 50000 host",
        "1 1 udp 2130706431 192.0.2.1",
        "é 1 udp 2130706431 192.0.2.1 50000 typ host".replace("é", "!"),
    ],
)
def test_M02_candidates_that_are_not_allowed_are_dropped_and_counted(candidate: str) -> None:
    clean = sanitise(offer(f"a=candidate:{candidate}"), "offer")
    assert (clean.candidates, clean.dropped) == (0, 1)
    assert candidates_of(clean.sdp) == []


def test_M02_loopback_candidates_only_where_loopback_is_gathered() -> None:
    text = offer("a=candidate:1 1 UDP 2130706431 127.0.0.1 50000 typ host")
    assert sanitise(text, "offer", loopback=True).candidates == 1
    assert sanitise(text, "offer", loopback=False).candidates == 0


def test_M02_candidates_are_bounded() -> None:
    many = "\n".join(f"a=candidate:{n} 1 udp 99 192.0.2.1 {n + 1} typ host" for n in range(100))
    clean = sanitise(offer(many), "offer")
    assert (clean.candidates, clean.dropped) == (MAX_CANDIDATES, 100 - MAX_CANDIDATES)


@given(st.text(max_size=2000))
def test_any_text_is_refused_or_understood(text: str) -> None:
    with pytest.raises(RemoteError):
        sanitise(text, "offer")


@settings(max_examples=300)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_damaged_offers_never_raise_anything_else(source: random.Random, damages: int) -> None:
    text = list(offer())
    for _ in range(damages):
        at = source.randrange(len(text))
        action = source.randrange(3)
        if action == 0:
            text[at] = chr(source.randrange(256))
        elif action == 1:
            del text[at : at + source.randrange(60)]
        else:
            text[at:at] = text[at : at + source.randrange(60)]
    with suppress(RemoteError):
        clean = sanitise("".join(text), "offer")
        assert sanitise(clean.sdp, "offer").sdp == clean.sdp
