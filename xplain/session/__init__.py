"""One run: items are read once, aimed at their targets, asked about by methods, and told as results.

    source ->  read  ->  aim  ->  flows  ->  drive  ->  results
               Part      scores              engine     Attribution
               (Items,   asked once,
               one memo) kept by the part

Every public function (``xplain.explain``, ``plan``, ``predict``, ``compile``, ``measure``) and every verb of the
command line is a way into this::

    with Session(model, Request({"grad-cam": {}, "lrp": {"rule": "epsilon"}}, cache="answers")) as session:
        part = session.read(["cat.jpg", "dog.jpg"])      # every file once, whatever the number of methods
        for name in session.methods:
            print(session.explain(part, name)[0])        # the scores of the untouched items are asked once
        for one in Stream(session, many_paths):           # memory of one part, however many there are
            print(one.place, one.method, one.results)
"""

from xplain.engine import Plan, Progress, Sentinel, Store
from xplain.engine.memo import Memo
from xplain.engine.sentinel import Spread
from xplain.session.fitting import called, methods
from xplain.session.part import Part
from xplain.session.request import Cache, Request
from xplain.session.run import Session, load
from xplain.session.stream import Explained, Stream

__all__ = [
    "Cache",
    "Explained",
    "Memo",
    "Part",
    "Plan",
    "Progress",
    "Request",
    "Sentinel",
    "Session",
    "Spread",
    "Store",
]
__all__ += ["Stream", "called", "load", "methods"]
