"""End-to-end encryption for Matrix: the protocol, with its state safe on disk.

Wherever JSON goes in, pass a dict or list, or its JSON text; what comes out are dicts and lists. The shapes are
those of the Matrix specification. Errors are `E2eeError.Replay`, `E2eeError.NotFound` and so on, all of
them subclasses of `E2eeError`. Whatever `json.loads` has read ends in one of these, and never in a
`TypeError`, which is for mistakes of the program itself.

`matrixe2ee.raw` has the same objects with JSON as text on both sides.
"""

from . import raw
from ._handles import (
    Account,
    E2eeError,
    InboundMegolmSession,
    OlmChannel,
    OutboundMegolmSession,
    Store,
    broken_store_rules,
    canonical_json,
    keys_claim_request,
    read_keys_claim_response,
    verify_signed_json,
    version,
)
from .raw import Clock, StoreBackend, StoreChange, StoreEntry, StoreOpener

__all__ = [
    "Account",
    "Clock",
    "E2eeError",
    "InboundMegolmSession",
    "OlmChannel",
    "OutboundMegolmSession",
    "Store",
    "StoreBackend",
    "StoreChange",
    "StoreEntry",
    "StoreOpener",
    "broken_store_rules",
    "canonical_json",
    "keys_claim_request",
    "raw",
    "read_keys_claim_response",
    "verify_signed_json",
    "version",
]
__version__ = version()
