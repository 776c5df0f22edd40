"""Migrations on a simulated clock and network: the real code, under every kind of trouble."""

from aiostore.testing.simulation.run import Verdict, simulate
from aiostore.testing.simulation.scenarios import SCENARIOS, Plan, plan_of

__all__ = ["SCENARIOS", "Plan", "Verdict", "plan_of", "simulate"]
