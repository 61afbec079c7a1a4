"""The Lua scripts by which edges read and write the quotes that sessions keep (:mod:`schemas.session_quotes`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

MAX_QUOTES = 256
"""Most quotes that a session keeps: more than a request has lines."""
MAX_TTL_MS = 86_400_000
"""Longest wall time for which a key stays in Redis: the longest window, by the wall clock."""

READ_LUA = """
local found = {}
for i, key in ipairs(KEYS) do
  local quotes = redis.pcall('HGETALL', key)
  found[i] = quotes.err and {} or quotes
end
return found
"""
"""KEYS: sessions' keys. Returns field, value, field, … of each; nothing of a key that holds no hash."""

KEEP_LUA = """
local most, now, ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local writes = cjson.decode(ARGV[4])
local function ends(text) return tonumber(string.match(text, '"until_ms":(%d+)') or '0') end
local answers = {}
for i, key in ipairs(KEYS) do
  local field, value, replaced = unpack(writes[i])
  local held = redis.call('HGET', key, field)
  answers[i] = ''
  if held and held ~= replaced and ends(held) > now then
    answers[i] = held
  else
    if not held and redis.call('HLEN', key) >= most then
      local all = redis.call('HGETALL', key)
      for j = 1, #all, 2 do
        if ends(all[j + 1]) <= now then redis.call('HDEL', key, all[j]) end
      end
    end
    if held or redis.call('HLEN', key) < most then
      redis.call('HSET', key, field, value)
      if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
    end
  end
end
return answers
"""
"""Keep the first quote of each session and field, or the one that replaces it.

KEYS: sessions' keys. ARGV: most quotes of a session, now and TTL in ms; then as one JSON text, since an argument
costs the client more than its content, a list of field, value and replaced value for each key. Returns the value
of another edge that stays, or an empty text.
"""


class KeptWrite(NamedTuple):
    """A quote to keep.

    ``replaced``: the value that this edge found and dropped, empty if it found none; any other value of a window
    that has not ended stays.
    """

    key: str
    scope: str
    text: str
    replaced: str


def keep_arguments(writes: Sequence[KeptWrite], now_ms: int, ttl_ms: int) -> tuple[list[str], list[int | bytes]]:
    """Return KEYS and ARGV of ``KEEP_LUA``."""
    values = orjson.dumps([(write.scope, write.text, write.replaced) for write in writes])
    return [write.key for write in writes], [MAX_QUOTES, now_ms, ttl_ms, values]


def ttl_of(window_ms: int, speed: float) -> int:
    """Return the TTL of a key in wall ms for a window of the run's clock.

    >>> ttl_of(1_800_000, 1.0), ttl_of(1_800_000, 60.0), ttl_of(1_800_000, 1e-9)
    (1800000, 30000, 86400000)
    """
    return max(1, min(MAX_TTL_MS, math.ceil(window_ms / speed)))


def pairs(flat: Sequence[str]) -> Mapping[str, str]:
    """Return the fields of a hash that a script returned as one list.

    >>> pairs(["a", "1", "b", "2"])
    {'a': '1', 'b': '2'}
    """
    return dict(zip(flat[::2], flat[1::2], strict=True))
