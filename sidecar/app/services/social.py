"""Our copy of the social facts while the node lives: merged, stored, and told to those who depend on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from sidecar.errors import LocalError, UnavailableError
from sidecar.log import Logger
from sidecar.storage.database import OnDone
from sidecar.trust.social import Change, Fact, SocialState

_OF_CONTACTS = frozenset({Fact.FRIEND, Fact.BLOCKED})


class Store(Protocol):
    """Where the facts outlive the process."""

    def save_facts(self, changes: Iterable[Change], on_done: OnDone) -> None: ...


class SocialChange(NamedTuple):
    """What others should know of a change."""

    contacts: bool
    """Friends or blocks have changed."""
    blocked: frozenset[str]
    """Users who are blocked now and were not."""


class SocialService:
    """Changes hold at once; a caller hears of success once they are on disk."""

    def __init__(
        self,
        state: SocialState,
        store: Store,
        user_id: str,
        *,
        configured: Mapping[str, Any],
        on_change: Callable[[SocialChange], None],
        log: Logger,
    ) -> None:
        """``configured`` is merged at once. Needs a running event loop. Raises LocalError naming the member
        of ``configured`` that cannot be used."""
        self.state = state
        self._store = store
        self._user_id = user_id
        self._on_change = on_change
        self._log = log
        self._unsaved: dict[tuple[Fact, str], Change] = {}
        self._save(state.merge(configured, "social"))

    async def sync(self, document: Mapping[str, Any]) -> dict[str, int]:
        """Merges the object of ``social:sync``; how many of each list are known now.

        Raises LocalError naming the member that cannot be used (then nothing has changed), UnavailableError
        if the changes hold, but could not be stored.
        """
        if self._user_id in (document.get("blocked") or ()):
            raise _oneself("blocked")
        await self._take(self.state.merge(document))
        return self.state.counts()

    async def block(self, user_id: str) -> None:
        """Nothing of this user gets through any more, live calls end. Raises as :meth:`sync` does."""
        if user_id == self._user_id:
            raise _oneself("userId")
        await self._take(self.state.block(user_id))

    async def unblock(self, user_id: str) -> None:
        """Lifts a block. Raises as :meth:`sync` does."""
        await self._take(self.state.unblock(user_id))

    async def _take(self, changes: tuple[Change, ...]) -> None:
        if changes:
            self._on_change(
                SocialChange(
                    contacts=any(change.fact in _OF_CONTACTS for change in changes),
                    blocked=frozenset(
                        change.fact_id for change in changes if change.fact is Fact.BLOCKED and change.value
                    ),
                )
            )
        if not await self._save(changes):
            raise UnavailableError("this holds until the end of this process, but could not be written")

    def _save(self, changes: tuple[Change, ...]) -> asyncio.Future[bool]:
        """Writes these changes and those that could not be written before; whether it succeeded."""
        self._unsaved |= {(change.fact, change.fact_id): change for change in changes}
        saving = dict(self._unsaved)
        result = asyncio.get_running_loop().create_future()

        def saved(stored: bool) -> None:
            if not stored:
                self._log.warning("social facts could not be written")
            for at, change in saving.items() if stored else ():
                if self._unsaved.get(at) is change:
                    del self._unsaved[at]
            if not result.done():
                result.set_result(stored)

        if saving:
            self._store.save_facts(saving.values(), saved)
        else:
            result.set_result(True)
        return result


def _oneself(field: str) -> LocalError:
    return LocalError(f"{field}: nobody can block himself", details={"field": field})
