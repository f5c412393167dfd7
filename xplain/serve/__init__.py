"""Explanations over HTTP: a door on ``session``, with no business of its own.

    uvicorn -> guard -> routes ---> Asked -> Desk -> Session -> Attribution -> JSON, tensors
               token    v1, v2,             a bounded queue;
               Host     plain, jobs         requests that fit together are asked as one

| file | holds |
|---|---|
| ``served`` | a model under its name, and how what came over the wire becomes its items |
| ``asked`` | one request, checked before it waits |
| ``job`` | it on its way: how far it is, what came of it |
| ``desk`` | the queues, whose turn it is, what is packed together |
| ``running`` | one pack of requests through a session; what is known of an answer before it is whole |
| ``telling`` | explanations and predictions as JSON |
| ``guard`` | tokens, Host, Origin, sizes, time, headers, the log |
| ``v1``, ``v2``, ``plain`` | the protocols; ``openapi`` describes the last |
| ``pages``, ``page/`` | the page: plain HTML, CSS and modules, no build step |
| ``figures`` | what Prometheus reads |
| ``app`` | all of it as one application: begin here |
| ``site``, ``live/`` | a page that needs none of this: the model runs in the browser |
"""
