"""The part of `/readyz` about points."""

from council import health
from gamification import reconciliation

SAMPLE_MEMBERS = 50


@health.register("ledger", kept_seconds=300)
def ledger_figures() -> str | None:
    """Compare the figures of a few members with the ledger. They are drawn at random every five minutes."""
    return "differs" if reconciliation.compare(reconciliation.draw(SAMPLE_MEMBERS)) else None
