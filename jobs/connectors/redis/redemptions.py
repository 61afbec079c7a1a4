"""Redemptions of price locks in Redis: reserved and confirmed by Lua scripts, rebuilt from Kafka.

=========================  ====== =================================================================
``{redemptions}:ready``    string ``ready <epoch> <run id>``, or ``rebuilding <epoch> <run id>``
``{redemptions}:locks``    hash   lock id → ``p`` (reserved) or ``c`` (confirmed), then the answer as JSON
``{redemptions}:expiry``   zset   lock id by the run time at which the entry is removed, epoch ms
=========================  ====== =================================================================

The run id is Redis' own and changes when its process restarts. A Redis that came back with an old copy of its data
is therefore not ready, like one that came back empty. No key has a TTL, since the run's clock may be simulated;
each reservation removes a few entries whose time has passed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from jobs.connectors.redis.price_tables import REDIS_UNREACHABLE, client_options
from jobs.locks.history import KEPT_AFTER_EXPIRY_MS
from jobs.locks.redemption import Reservation, ReservationState, UnreachableError

READY_KEY, LOCKS_KEY, EXPIRY_KEY = "{redemptions}:ready", "{redemptions}:locks", "{redemptions}:expiry"
_KEYS = [READY_KEY, LOCKS_KEY, EXPIRY_KEY]
REMOVED_PER_RESERVATION = 16
"""Most expired entries that one reservation removes: more than it adds."""
FILL_CHUNK = 500

_RUN = "local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')\n"
_EPOCH = _RUN + (
    "local state = redis.call('GET', KEYS[1]) or ''\n"
    "local epoch, of = string.match(state, '^ready (%S+) (%x+)$')\n"
    "if of ~= run then epoch = false end\n"
)
RESERVE_LUA = (
    _EPOCH
    + """
if not epoch then return {'not_ready', '', ''} end
local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[5], 'LIMIT', 0, ARGV[7])
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end
local held = redis.call('HGET', KEYS[2], ARGV[1])
if not held then
  if ARGV[6] ~= '1' then return {'absent', epoch, ''} end
  redis.call('HSET', KEYS[2], ARGV[1], 'p' .. ARGV[3])
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
  return {'reserved', epoch, ARGV[3]}
end
local answer = string.sub(held, 2)
if cjson.decode(answer).order_id ~= ARGV[2] then return {'taken', epoch, ''} end
if string.sub(held, 1, 1) == 'c' then return {'confirmed', epoch, answer} end
return {'reserved', epoch, answer}
"""
)
"""KEYS: ready, locks, expiry. ARGV: lock id, order id, answer, removal time, now, may reserve (1/0), removals."""
CONFIRM_LUA = (
    _EPOCH
    + """
if epoch ~= ARGV[3] then return 0 end
local held = redis.call('HGET', KEYS[2], ARGV[1])
if not held then return 0 end
local answer = string.sub(held, 2)
if cjson.decode(answer).order_id ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], 'c' .. answer)
return 1
"""
)
"""KEYS: ready, locks. ARGV: lock id, order id, epoch."""
BEGIN_LUA = (
    _RUN
    + """
redis.call('SET', KEYS[1], 'rebuilding ' .. ARGV[1] .. ' ' .. run)
redis.call('DEL', KEYS[2], KEYS[3])
"""
)
"""KEYS: ready, locks, expiry. ARGV: epoch."""
_REBUILDING = _RUN + "if redis.call('GET', KEYS[1]) ~= 'rebuilding ' .. ARGV[1] .. ' ' .. run then return 0 end\n"
FILL_LUA = (
    _REBUILDING
    + """
for i = 2, #ARGV, 3 do
  redis.call('HSET', KEYS[2], ARGV[i], 'c' .. ARGV[i + 1])
  redis.call('ZADD', KEYS[3], ARGV[i + 2], ARGV[i])
end
return 1
"""
)
"""KEYS: ready, locks, expiry. ARGV: epoch, then lock id, answer, time of removal, …"""
FINISH_LUA = (
    _REBUILDING
    + """
redis.call('SET', KEYS[1], 'ready ' .. ARGV[1] .. ' ' .. run)
return 1
"""
)
"""KEYS: ready. ARGV: epoch."""


class AsyncRedemptions:
    """Reservations of the edge.

    Parameters
    ----------
    url : Redis URL.
    timeout_s : seconds for one call, including the connection and a second attempt.
    """

    def __init__(self, url: str, timeout_s: float = 2.0) -> None:
        options = client_options() | {"socket_timeout": 2 * timeout_s, "socket_connect_timeout": 2 * timeout_s}
        options["retry"] = Retry(NoBackoff(), 1)
        self._redis = redis.asyncio.Redis.from_url(url, **options)
        self._timeout_s = timeout_s
        self._reserve = self._redis.register_script(RESERVE_LUA)
        self._confirm = self._redis.register_script(CONFIRM_LUA)

    async def reserve(
        self, lock_id: str, order_id: str, answer: str, *, expires_ms: int, now_ms: int, new: bool
    ) -> Reservation:
        """Reserve a lock for an order if no order has it (:class:`jobs.locks.redemption.Reservations`)."""
        removal_ms = expires_ms + KEPT_AFTER_EXPIRY_MS
        args = [lock_id, order_id, answer, removal_ms, now_ms, "1" if new else "0", REMOVED_PER_RESERVATION]
        state, epoch, kept = await self._call(self._reserve, args)
        return Reservation(ReservationState(state), epoch, kept)

    async def confirm(self, lock_id: str, order_id: str, epoch: str) -> bool:
        """Mark a reservation as logged (:class:`jobs.locks.redemption.Reservations`)."""
        return bool(await self._call(self._confirm, [lock_id, order_id, epoch]))

    async def _call(self, script: Any, args: list[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await script(keys=_KEYS, args=args)
        except REDIS_UNREACHABLE as error:
            raise UnreachableError(f"Redis does not answer: {type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()  # type: ignore[attr-defined]


class RedemptionStore:
    """The same data for a rebuild and for health checks, outside an event loop.

    A rebuild that another one has replaced cannot write: every step names its epoch.
    """

    def __init__(self, url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(url, **client_options())
        self._begin = self._redis.register_script(BEGIN_LUA)
        self._fill = self._redis.register_script(FILL_LUA)
        self._finish = self._redis.register_script(FINISH_LUA)
        self._epoch = self._redis.register_script(_EPOCH + "return epoch")

    def ready(self) -> str | None:
        """Return the epoch of redemptions; None if Redis has lost them."""
        return cast("str | None", self._epoch(keys=_KEYS))

    def begin(self, epoch: str) -> None:
        """Refuse redemptions, and delete those that Redis holds."""
        self._begin(keys=_KEYS, args=[epoch])

    def fill(self, epoch: str, used: Mapping[str, Mapping[str, Any]]) -> bool:
        """Write redemptions by lock; return False if this rebuild is not the present one."""
        locks = sorted(used)
        for start in range(0, len(locks), FILL_CHUNK):
            args: list[Any] = [epoch]
            for lock_id in locks[start : start + FILL_CHUNK]:
                answer = used[lock_id]
                args += [lock_id, json.dumps(answer), int(answer["expires_ms"]) + KEPT_AFTER_EXPIRY_MS]
            if not self._fill(keys=_KEYS, args=args):
                return False
        return self.is_rebuilding(epoch)

    def is_rebuilding(self, epoch: str) -> bool:
        """Return whether this rebuild is the present one."""
        return bool(self._fill(keys=_KEYS, args=[epoch]))

    def finish(self, epoch: str) -> bool:
        """Accept redemptions; return False if this rebuild is not the present one."""
        return bool(self._finish(keys=_KEYS, args=[epoch]))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
