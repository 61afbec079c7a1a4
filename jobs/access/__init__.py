"""Access: keys, roles, claims, sessions of the console, and signatures of commands. Pure, except for key files.

A key names its holder, one tenant (or every tenant) and a role; a role has permissions. Every request to the quote
port and the operator port presents a key, or a session that a key or a provider's claims began. Records of keys
hold hashes alone.
"""

from __future__ import annotations

from jobs.access.keys import EVERY_TENANT, KeyRing, Principal, issue_key
from jobs.access.roles import Permission, Role

__all__ = ["EVERY_TENANT", "KeyRing", "Permission", "Principal", "Role", "issue_key"]
