"""llama.cpp's own server, from the xllamacpp wheel: `python llama_server.py MODEL ALIAS [API_KEY]`; prints READY URL."""

import signal
import sys
import threading

import xllamacpp


def main(model: str, alias: str, api_key: str = "") -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {alias}
    params.n_ctx, params.n_parallel, params.n_gpu_layers, params.port = 1024, 1, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.endpoint_props = params.endpoint_slots = True
    params.warmup, params.use_jinja = False, True
    if api_key:
        params.api_keys = [api_key]
    server = xllamacpp.Server(params)
    sys.stdout.write(f"READY {server.listening_address}\n")
    sys.stdout.flush()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while not stop.wait(0.5):
        continue


if __name__ == "__main__":
    main(*sys.argv[1:])
