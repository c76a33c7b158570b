"""Rules of the schema file, and the floor under it: everything the original design of the feature names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.errors import Code
from tests.unit.schema_files import CHANNEL_NODES, DEFS, ENUMS, EVENT_NODES, OBJECTS, SCHEMA, type_name

# Every type of the original design: its members, optional ones with "?"; enums by their values.
FLOOR_ENUMS = {
    "CallType": "audio video",
    "CallState": "initiating ringing connecting active on-hold ended failed",
    "ParticipantState": "invited ringing connecting connected disconnected declined",
    "MediaTrackKind": "audio video screen",
    "VideoResolution": "360p 480p 720p 1080p",
    "DeviceKind": "audioinput videoinput audiooutput",
    "Permission": "media:camera media:microphone media:screen network:webrtc",
}
FLOOR_TYPES = {
    "CallParticipant": "userId:UserId displayName:string state:ParticipantState audioEnabled:boolean"
    " videoEnabled:boolean screenSharing:boolean joinedAt?:integer leftAt?:integer",
    "CallSession": "id:CallId type:CallType state:CallState initiatorId:UserId participants:CallParticipant[]"
    " roomId?:RoomId domainId?:DomainId createdAt:integer startedAt?:integer endedAt?:integer"
    " maxParticipants:integer recording:boolean metadata?:object",
    "CallOffer": "callId:CallId fromUserId:UserId fromDisplayName:string type:CallType roomId?:RoomId"
    " timestamp:integer",
    "ICEServerConfig": "urls:string|string[] username?:string credential?:string",
    "CallSettings": "defaultCallType:CallType iceServers:ICEServerConfig[] videoBandwidthKbps:integer"
    " audioBandwidthKbps:integer enableNoiseSuppression:boolean enableEchoCancellation:boolean"
    " enableAutoGainControl:boolean defaultVideoResolution:VideoResolution maxConferenceParticipants:integer",
    "MediaDeviceInfo": "deviceId:string kind:DeviceKind label:string groupId:string",
}
FLOOR_CHANNELS = {
    "call:initiate": ("userId:UserId type:CallType roomId?:RoomId", "CallSession"),
    "call:accept": ("callId:CallId", "CallSession"),
    "call:reject": ("callId:CallId reason?:string", "rejected:boolean"),
    "call:end": ("callId:CallId", "ended:boolean"),
    "call:get": ("callId:CallId", "CallSession"),
    "call:list-active": ("", "CallSession[]"),
    "call:mute-audio": ("callId:CallId muted:boolean", "muted:boolean"),
    "call:mute-video": ("callId:CallId muted:boolean", "muted:boolean"),
    "call:share-screen": ("callId:CallId enabled:boolean", "sharing:boolean"),
    "call:set-device": ("callId:CallId kind:DeviceKind deviceId:string", "set:boolean"),
    "conference:create": ("roomId:RoomId type:CallType", "CallSession"),
    "conference:join": ("callId:CallId", "CallSession"),
    "conference:leave": ("callId:CallId", "left:boolean"),
    "conference:invite": ("callId:CallId userId:UserId", "invited:boolean"),
    "rtc:send-offer": ("callId:CallId targetUserId:UserId sdp:string", "Void"),
    "rtc:send-answer": ("callId:CallId targetUserId:UserId sdp:string", "Void"),
    "rtc:send-ice": ("callId:CallId targetUserId:UserId candidate:string", "Void"),
    "media:get-devices": ("", "MediaDeviceInfo[]"),
    "media:get-settings": ("", "CallSettings"),
    "media:update-settings": ("defaultCallType?:CallType", "CallSettings"),
}
FLOOR_EVENTS = {
    "aleph:callOffer": FLOOR_TYPES["CallOffer"],
    "aleph:callStateChange": "callId:CallId state:CallState participant?:CallParticipant",
    "aleph:rtcOffer": "callId:CallId fromUserId:UserId sdp:string",
    "aleph:rtcAnswer": "callId:CallId fromUserId:UserId sdp:string",
    "aleph:rtcIceCandidate": "callId:CallId fromUserId:UserId candidate:string",
    "aleph:participantJoined": "callId:CallId participant:CallParticipant",
    "aleph:participantLeft": "callId:CallId userId:UserId",
    "aleph:mediaStateChange": "callId:CallId userId:UserId audioEnabled:boolean videoEnabled:boolean"
    " screenSharing:boolean",
}
# What the design of this product adds.
ADDED_CHANNELS = """
call:hold call:resume call:history call:stats call:record-start call:record-stop call:watch call:unwatch
call:watch-frames call:set-volume conference:peek conference:decline conference:mute-request conference:remove
rtc:attach rtc:report rtc:get-ice-servers media:get-screen-sources media:get-permissions social:sync
social:block social:unblock system:hello system:health system:shutdown system:web-url events
"""
ADDED_EVENTS = """
callRequest rtcStart devicesChanged speaking networkQuality reconnecting recording mediaWarning pathChanged
callSummary keyChanged permissionNeeded
"""
END_REASONS = """
local-hangup remote-hangup declined busy cancelled no-answer answered-elsewhere declined-elsewhere glare
replaced unreachable connect-failed connection-lost media-failed policy-denied security app-gone shutdown
internal-error
"""


def nodes(value: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the file with its place."""
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from nodes(item, f"{path}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nodes(item, f"{path}/{index}")


def spelled(node: dict[str, Any]) -> str:
    """A member's type in the notation of the floor."""
    if "anyOf" in node:
        return "|".join(spelled(part) for part in node["anyOf"])
    if node.get("type") == "array":
        return spelled(node["items"]) + "[]"
    return type_name(node) if "$ref" in node else str(node["type"])


def members(definition: dict[str, Any]) -> set[str]:
    required = definition.get("required", [])
    return {
        f"{name}{'' if name in required else '?'}:{spelled(node)}"
        for name, node in definition["properties"].items()
    }


def test_nothing_stands_beside_a_reference() -> None:
    assert [path for path, node in nodes(SCHEMA) if "$ref" in node and len(node) > 1] == []


def test_every_reference_leads_somewhere() -> None:
    wrong = [node["$ref"] for _, node in nodes(SCHEMA) if "$ref" in node and type_name(node) not in DEFS]
    assert wrong == []


def test_every_definition_is_used() -> None:
    used = {type_name(node) for _, node in nodes(SCHEMA) if "$ref" in node}
    assert set(DEFS) - used == {"ErrorInfo"}, "the shape of an error answer belongs to no channel"


def test_objects_are_definitions() -> None:
    """Only a free map may stand inside another type."""
    for path, node in nodes(SCHEMA):
        if node.get("type") == "object" and path.count("/") > 2:
            assert set(node) == {"type", "description", "additionalProperties"}, path


@pytest.mark.parametrize("name", DEFS)
def test_definitions_say_what_they_are(name: str) -> None:
    node = DEFS[name]
    assert node["title"] == name
    assert node["description"].strip() == node["description"] != ""
    assert node["x-since"]


@pytest.mark.parametrize("name", ENUMS)
def test_every_value_of_an_enum_is_described(name: str) -> None:
    node = ENUMS[name]
    assert list(node["x-enumDescriptions"]) == node["enum"]
    assert all(node["x-enumDescriptions"].values())


def test_params_are_closed_and_all_else_is_open() -> None:
    closed = {name for name, node in OBJECTS.items() if node.get("additionalProperties") is False}
    assert closed == {name for name in OBJECTS if name.endswith("Params")} | {"SocialSelf", "SocialRemoved"}


@pytest.mark.parametrize("name", CHANNEL_NODES)
def test_channels_say_what_they_are(name: str) -> None:
    node = CHANNEL_NODES[name]
    assert set(node) <= {
        "description", "x-since", "params", "result", "x-stream", "x-permission", "x-errors"
    }  # fmt: skip
    assert node["description"]
    assert node["x-since"]
    common = SCHEMA["x-commonErrors"]
    assert len(set(node["x-errors"])) == len(node["x-errors"])
    assert set(node["x-errors"]) <= set(DEFS["ErrorCode"]["enum"]) - set(common)
    assert set(common) <= set(DEFS["ErrorCode"]["enum"])
    if "x-permission" in node:
        assert node["x-permission"] in DEFS["Permission"]["enum"]
        assert "policy.permission-missing" in node["x-errors"]


def test_params_are_named_after_their_channel() -> None:
    for name, node in CHANNEL_NODES.items():
        title = "".join(word[0].upper() + word[1:] for word in name.replace("-", ":").split(":"))
        assert type_name(node["params"]) in (title + "Params", "Void")


@pytest.mark.parametrize("name", EVENT_NODES)
def test_events_say_what_they_are(name: str) -> None:
    assert set(EVENT_NODES[name]) == {"description", "x-since", "data"}
    assert type_name(EVENT_NODES[name]["data"]) in OBJECTS


def test_media_and_network_events_say_which_call() -> None:
    without = {"aleph:keyChanged"}
    for name in EVENT_NODES.keys() - without:
        assert "callId" in OBJECTS[type_name(EVENT_NODES[name]["data"])]["properties"], name


def test_times_are_integers() -> None:
    for _, node in nodes(SCHEMA):
        for name, member in node.get("properties", {}).items():
            if name.endswith(("At", "durationMs", "silentMs")) or name in ("ts", "timestamp", "before"):
                assert member["type"] == "integer", name


def test_update_settings_takes_what_settings_hold() -> None:
    update, settings = OBJECTS["MediaUpdateSettingsParams"], OBJECTS["CallSettings"]
    assert update["properties"] == settings["properties"]
    assert "required" not in update


def test_error_codes_are_those_of_the_error_tree() -> None:
    assert DEFS["ErrorCode"]["enum"] == [code.value for code in Code]


@pytest.mark.parametrize("name", FLOOR_ENUMS)
def test_floor_enums(name: str) -> None:
    assert ENUMS[name]["enum"] == FLOOR_ENUMS[name].split()


@pytest.mark.parametrize("name", FLOOR_TYPES)
def test_floor_types(name: str) -> None:
    floor = set(FLOOR_TYPES[name].split())
    assert floor <= members(OBJECTS[name])
    assert all("?" in member for member in members(OBJECTS[name]) - floor), "additions are optional"


@pytest.mark.parametrize("name", FLOOR_CHANNELS)
def test_floor_channels(name: str) -> None:
    params, result = FLOOR_CHANNELS[name]
    node = CHANNEL_NODES[name]
    if not params:
        assert type_name(node["params"]) == "Void"
    else:
        assert set(params.split()) <= members(OBJECTS[type_name(node["params"])])
        additions = members(OBJECTS[type_name(node["params"])]) - set(params.split())
        assert all("?" in member for member in additions)
    answer = type_name(node["result"])
    assert (answer == result) if ":" not in result else (members(OBJECTS[answer]) == {result})


@pytest.mark.parametrize("name", FLOOR_EVENTS)
def test_floor_events(name: str) -> None:
    data = members(OBJECTS[type_name(EVENT_NODES[name]["data"])])
    floor = set(FLOOR_EVENTS[name].split())
    assert floor <= data
    assert all("?" in member for member in data - floor)


def test_channels_and_events_are_exactly_the_designed_ones() -> None:
    assert set(CHANNEL_NODES) == {*FLOOR_CHANNELS, *ADDED_CHANNELS.split()}
    assert set(EVENT_NODES) == {*FLOOR_EVENTS, *(f"aleph:{name}" for name in ADDED_EVENTS.split())}
    assert {name for name, node in CHANNEL_NODES.items() if node.get("x-stream")} == {
        "events",
        "call:watch-frames",
    }


def test_end_reasons_are_the_designed_ones() -> None:
    assert ENUMS["EndReason"]["enum"] == END_REASONS.split()
