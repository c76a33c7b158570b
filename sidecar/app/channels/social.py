"""``social:sync``, ``social:block``, ``social:unblock``: params to the social service, no decisions."""

from __future__ import annotations

import msgspec

from sidecar.app.services.social import SocialService
from sidecar.ipc.registry import Client, Registry
from sidecar.schema import (
    SocialBlockParams,
    SocialBlockResult,
    SocialCounts,
    SocialSyncParams,
    SocialSyncResult,
    SocialUnblockParams,
    SocialUnblockResult,
)


def register(registry: Registry, social: SocialService) -> None:
    """Each answers once what it changed is on disk."""

    async def sync(_: Client, params: SocialSyncParams) -> SocialSyncResult:
        return SocialSyncResult(counts=SocialCounts(**await social.sync(msgspec.to_builtins(params))))

    async def block(_: Client, params: SocialBlockParams) -> SocialBlockResult:
        await social.block(params.user_id)
        return SocialBlockResult(blocked=True)

    async def unblock(_: Client, params: SocialUnblockParams) -> SocialUnblockResult:
        await social.unblock(params.user_id)
        return SocialUnblockResult(blocked=False)

    registry.channel("social:sync", sync)
    registry.channel("social:block", block)
    registry.channel("social:unblock", unblock)
