"""Public clients against ``xplain serve``: the same question by each, and the same numbers.

    xplain serve demo=xplain/demo/textures.onnx --port 8000 &
    python -m venv clients && clients/bin/pip install 'tritonclient[http]' kserve
    python -m venv ml && ml/bin/pip install 'mlserver>=1.7'
    clients/bin/python benchmarks/serve/clients.py http://127.0.0.1:8000 demo     # and ml/bin/python ...

They are installed apart, for they pin versions that xplain does not, and that do not fit each other. tritonclient asks
V2 with binary tensors, KServe's client V1 and V2, MLServer's codecs make and read the V2 messages. What each is told
must be what the plain route tells.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import urllib.request

import numpy as np

METHOD = "grad-cam"


def plain(url: str, model: str, x: np.ndarray) -> np.ndarray:
    """What the plain route tells."""
    body = json.dumps({"model": model, "method": METHOD, "instances": x.tolist()}).encode()
    asked = urllib.request.Request(f"{url}/api/explain", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        told = json.load(answer)
    return np.asarray([item["explanations"][0]["values"] for item in told["items"]], np.float32)


def by_triton(url: str, model: str, name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """tritonclient: health, metadata, binary infer, the classification extension."""
    import tritonclient.http as triton

    client = triton.InferenceServerClient(url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert client.get_model_metadata(f"{model}.{METHOD}")["outputs"][0]["name"] == "saliency"
    given = triton.InferInput(name, list(x.shape), "FP32")
    given.set_data_from_numpy(x, binary_data=True)
    wanted = [triton.InferRequestedOutput("saliency", binary_data=True)]
    map_ = client.infer(f"{model}.{METHOD}", [given], outputs=wanted).as_numpy("saliency")
    best = client.infer(model, [given], outputs=[triton.InferRequestedOutput("scores", class_count=2)])
    scores = client.infer(model, [given]).as_numpy("scores")
    first = [int(row[0].decode().split(":")[1]) for row in best.as_numpy("scores")]
    assert first == scores.argmax(1).tolist()
    return {"tritonclient, V2 binary": map_}


async def by_kserve(url: str, model: str, name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """KServe's own client: V1 explain, V2 infer, readiness."""
    from kserve import InferenceRESTClient, InferInput, InferRequest
    from kserve.inference_client import RESTConfig

    first = InferenceRESTClient(RESTConfig(protocol="v1"))
    told = await first.explain(url, model, {"instances": x.tolist(), "parameters": {"method": METHOD}})
    second = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await second.is_server_ready(url)
    assert await second.is_model_ready(url, model)
    given = InferInput(name, list(x.shape), "FP32")
    given.set_data_from_numpy(x, binary_data=False)
    answer = await second.infer(url, InferRequest(f"{model}.{METHOD}", [given]), model_name=f"{model}.{METHOD}")
    map_ = next(one for one in answer.outputs if one.name == "saliency").as_numpy()
    return {
        "kserve, V1 explain": np.asarray([one["values"] for one in told["explanations"]], np.float32),
        "kserve, V2": map_,
    }


def by_mlserver(url: str, model: str, name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """MLServer's types and codecs."""
    from mlserver.codecs import NumpyCodec
    from mlserver.types import InferenceRequest, InferenceResponse

    request = InferenceRequest(inputs=[NumpyCodec.encode_input(name, x)])
    text = request.model_dump_json() if hasattr(request, "model_dump_json") else request.json()
    asked = urllib.request.Request(f"{url}/v2/models/{model}.{METHOD}/infer", text.encode())
    with urllib.request.urlopen(asked) as answer:
        response = InferenceResponse(**json.load(answer))
    found = next(one for one in response.outputs if one.name == "saliency")
    return {"mlserver's codecs, V2": NumpyCodec.decode_output(found)}


def main() -> int:
    """Ask by every client; how far each is from the plain route."""
    url, model = sys.argv[1:3]
    with urllib.request.urlopen(f"{url}/v2/models/{model}") as answer:
        told = json.load(answer)["inputs"][0]
    shape = [2, *(n if n > 0 else 32 for n in told["shape"][1:])]
    x = np.random.default_rng(0).random(shape, np.float32)
    expected = plain(url, model, x)
    found: dict[str, np.ndarray] = {}
    for package, ask in (("tritonclient", by_triton), ("kserve", by_kserve), ("mlserver", by_mlserver)):
        if importlib.util.find_spec(package) is None:
            print(f"{package}: not in this environment")
            continue
        answer = ask(url, model, told["name"], x)
        found |= asyncio.run(answer) if asyncio.iscoroutine(answer) else answer
    for who, map_ in found.items():
        same = np.array_equal(np.asarray(map_, np.float32).reshape(expected.shape), expected)
        print(f"{who}: {'the same bits' if same else 'OTHER NUMBERS'}")
    return 0 if all(np.array_equal(np.reshape(m, expected.shape), expected) for m in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
