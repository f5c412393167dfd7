"""How far an explanation can be trusted: one file per family, each metric a function that the registry offers.

| file | asks | judges |
|---|---|---|
| ``sparsity`` | nothing | how few positions count |
| ``truth``, ``localisation`` | nothing | whether the map lies where the object is |
| ``agreement`` | nothing | whether two methods say the same |
| ``curves``, ``regions``, ``road`` | scores | whether the score follows the order of positions |
| ``faithfulness`` | scores | whether it follows their values |
| ``stability`` | maps | whether like items have like maps |
| ``randomisation`` | maps | whether the map depends on what the model has learnt |

``baselines`` are maps that know nothing, beside which a metric is read; ``intervals`` says how sure a mean is;
``sampling`` draws the items that are judged. ``xplain.session.measures.grading`` runs them.
"""

from xplain.metrics.sampling import Precision, plan_sample, power_table

__all__ = ["Precision", "plan_sample", "power_table"]
