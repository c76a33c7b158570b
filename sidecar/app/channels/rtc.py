"""The ``rtc:`` channels: what a front end says of the connections that it makes itself (DESIGN D7)."""

from __future__ import annotations

from sidecar.app.services.renderer_media import RendererMedia
from sidecar.ipc.registry import Client, Registry
from sidecar.schema import (
    RtcAttachParams,
    RtcReportParams,
    RtcSendAnswerParams,
    RtcSendIceParams,
    RtcSendOfferParams,
    RtcStart,
)


def register(registry: Registry, renderers: RendererMedia) -> None:
    """A client speaks for its own calls only."""

    def attach(client: Client, params: RtcAttachParams) -> list[RtcStart]:
        return renderers.attach(client.id, params.call_id)

    def describe(client: Client, params: RtcSendOfferParams | RtcSendAnswerParams) -> None:
        renderers.describe(client.id, params)

    def send_ice(client: Client, params: RtcSendIceParams) -> None:
        renderers.add_candidate(client.id, params)

    def report(client: Client, params: RtcReportParams) -> None:
        renderers.report(client.id, params)

    registry.channel("rtc:attach", attach)
    registry.channel("rtc:send-offer", describe)
    registry.channel("rtc:send-answer", describe)
    registry.channel("rtc:send-ice", send_ice)
    registry.channel("rtc:report", report)
