"""Who calls, and what they may do.

principals.py  the answer: a Principal
gate.py        from a request to its Principal, as auth.mode says
cookies.py     sessions of browsers
oidc.py        tokens of an OpenID provider; keyring.py has its keys
"""

from .gate import Gate
from .principals import EVERYTHING, Principal

__all__ = ["EVERYTHING", "Gate", "Principal"]
