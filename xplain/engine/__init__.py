"""The only place where methods and models meet: batching, packing, memory of answers, budget, progress, cost."""

from xplain.engine.drive import drive
from xplain.engine.plan import Plan, plan
from xplain.engine.schedule import batch_rows
from xplain.engine.sentinel import Sentinel, probe
from xplain.engine.settings import Progress, Settings
from xplain.engine.store import Store

__all__ = ["Plan", "Progress", "Sentinel", "Settings", "Store", "batch_rows", "drive", "plan", "probe"]
