"""The socket policy file that Adobe's Flash Player asks for before it opens a socket.

It connects to the port, sends C{<policy-file-request/>} and a NUL (L{wsproxy.frontend.sniff} knows the
request), reads this answer up to its own NUL, and connects again.
"""

from __future__ import annotations

__all__ = ["policyFile"]


def policyFile(port: int) -> bytes:
    """
    @param port: the one TCP port that the policy opens, to the pages of any domain.
    @return: the policy in Adobe's cross-domain format, with its closing NUL.
    """
    policy = f'<cross-domain-policy><allow-access-from domain="*" to-ports="{port}"/></cross-domain-policy>\0'
    return policy.encode("ascii")
