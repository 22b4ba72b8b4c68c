"""`seetell env`: versions, device and threads, which a report of a fault needs and a measurement should state."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("seetell", "torch", "transformers", "tokenizers", "safetensors", "pillow", "numpy")


def env() -> None:
    """Prints one fact a line, as `name: value`."""
    for name, value in facts().items():
        print(f"{name}: {value}")


def facts() -> dict[str, str]:
    """What figures depend on, by name."""
    import torch  # here because importing a verb must be cheap

    from seetell.model.threads import busy_cores, usable_cores

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    found |= {name: metadata.version(name) for name in PACKAGES}
    usable, busy = usable_cores(), busy_cores()
    found["cores"] = f"{usable}, {max(0, usable - round(busy))} of them free"
    found["threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        found["device"] = "cuda: " + ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
    else:
        found["device"] = "mps" if torch.backends.mps.is_available() else "cpu"
    return found
