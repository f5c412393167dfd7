"""What Prometheus reads: KServe's names where it has them, seconds, and no label that a caller can choose."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from xplain.serve.desk import Desk
from xplain.serve.job import Job

__all__ = ["Figures"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Figures:
    """The server's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ["model_name"]

        def seconds(name: str, text: str, labels: list[str]) -> Histogram:
            return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)

        self.preprocess = seconds("request_preprocess_seconds", "Reading and checking a request", names)
        self.predict = seconds("request_predict_seconds", "Asking for scores alone", names)
        self.explain = seconds("request_explain_seconds", "Asking for an explanation", [*names, "method"])
        self.postprocess = seconds("request_postprocess_seconds", "Writing an answer", names)
        self.waited = seconds("xplain_queue_seconds", "Waiting in the queue", names)
        self._depth = Gauge("xplain_queue_depth", "Requests that wait", registry=self.registry)
        self.queries = Counter("xplain_queries_total", "Model evaluations and sweeps", names, registry=self.registry)
        self.rejected = Counter("xplain_rejected_total", "Requests turned away", ["reason"], registry=self.registry)
        self.money = Counter("xplain_cost_total", "Money spent at endpoints", ["currency"], registry=self.registry)

    def watch(self, desk: Desk) -> None:
        """Show how long a desk's queue is."""
        self._depth.set_function(lambda: desk.depth)

    def ended(self, job: Job) -> None:
        """Count a job that has ended."""
        if not job.started:
            return
        model, asked = job.asked.served.name, job.asked
        self.waited.labels(model).observe(job.started - job.created)
        took = job.ended - job.started
        if asked.method is None:
            self.predict.labels(model).observe(took)
        else:
            self.explain.labels(model, asked.name).observe(took)
        if job.answer is None:
            return
        for item in job.answer.results:
            for one in item:
                self.queries.labels(model).inc(one.cost.queries + one.cost.sweeps)
                if one.cost.money:
                    self.money.labels(one.cost.currency).inc(one.cost.money)

    def page(self) -> bytes:
        """The figures as Prometheus reads them."""
        return generate_latest(self.registry)
