"""The ladder of a call as text: a column for us, one for each user whom it was with, an arrow an envelope."""

from __future__ import annotations

from datetime import UTC, datetime

from sidecar.app.tools.explain import DIGEST_CHARS, Explanation, Step
from sidecar.schema import CallRecord
from sidecar.trust.names import claimed

GAP = 22
"""Characters between two columns: the longest kind and its arrow."""
LEFT = 12
"""For the time before the first column."""


def ladder(told: Explanation) -> str:
    """Several lines, without a newline at the end."""
    peers = list(dict.fromkeys(step.peer for step in told.steps if step.peer))
    names = _names(told.record)
    head = [*_headline(told), f"  why: {told.why}", ""]
    if not told.steps:
        return "\n".join([*head, "  No envelopes of it are kept."])
    head += [f"  [{number}] {_who(peer, names)}" for number, peer in enumerate(peers, 1)]
    titles = ["us", *(f"[{number}]" for number in range(1, len(peers) + 1))]
    columns = " " * LEFT + "".join(title.ljust(GAP) for title in titles)
    start = told.steps[0].at
    rows = [_row(step, step.at - start, peers) for step in told.steps]
    return "\n".join([*head, "", columns.rstrip(), *rows, "", _verdict(told)])


def _headline(told: Explanation) -> list[str]:
    record = told.record
    if record is None:
        return [told.call_id]
    begun = datetime.fromtimestamp(record.created_at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    talked = "never connected"
    if record.started_at is not None:
        talked = f"connected for {(record.ended_at - record.started_at) / 1000:.1f} s"
    lines = [f"{told.call_id}: {record.direction.value} {record.type.value} call, {begun}, {talked}"]
    for person in record.stats.participants if record.stats else ():
        rtt = f"{person.rtt_ms:.0f} ms, " if person.rtt_ms is not None else ""
        path = person.path.value if person.path is not None else "unknown path"
        lines.append(f"  media: {person.user_id} over {path}, {rtt}{100 * (person.loss or 0):.1f} % lost")
    return lines


def _names(record: CallRecord | None) -> dict[str, str]:
    return {person.user_id: claimed(person.display_name) for person in record.participants} if record else {}


def _who(user_id: str, names: dict[str, str]) -> str:
    name = names.get(user_id)
    return f"{name} ({user_id})" if name else user_id


def _row(step: Step, after_ms: int, peers: list[str]) -> str:
    """An arrow between our column and the peer's; an envelope that cannot be read has none."""
    time = f"{after_ms / 1000:+.3f} s".rjust(LEFT - 2) + "  "
    lanes = list("".join("|".ljust(GAP) for _ in range(len(peers) + 1)))
    if step.peer:
        end = GAP * (peers.index(step.peer) + 1)
        lanes[1:end] = _arrow(step, end - 1)
    drawn = "".join(lanes).rstrip()
    return f"{time}{drawn}  {_note(step)}".rstrip()


def _arrow(step: Step, length: int) -> str:
    label = f" {step.kind} "
    if step.sent:
        return label.center(length - 1, "-") + ">"
    return "<" + label.center(length - 1, "-")


def _note(step: Step) -> str:
    body = step.body
    parts = [f"gen {step.gen}"] if "sdp" in body or step.kind == "restart" else []
    if "sdp" in body:
        parts.append(f"sdp {body['sdp']['chars']} characters {body['sdp']['sha256'][:DIGEST_CHARS]}")
    if "offerDigest" in body:
        parts.append(f"answers {body['offerDigest'][:DIGEST_CHARS]}")
    if "members" in body:
        parts.append(f"{body['members']} members" + (", rings" if body.get("ring") else ""))
    parts += [str(body[name]) for name in ("callType", "reason") if name in body]
    parts += [f'"{body["detail"]}"'] if "detail" in body else []
    device = step.recipient_device if step.sent else step.sender_device
    parts += [f"device {device[:4]}"] if device else []
    if not step.verified:
        parts.append(f"NOT VERIFIED: {step.problem}")
    return ", ".join(parts)


def _verdict(told: Explanation) -> str:
    count = len(told.steps)
    if told.problems:
        return f"  {told.problems} of {count} envelopes could NOT be verified."
    return f"  All signatures verified: {count} of {count}."
