"""One of our hosts until SIGTERM: python serving_host.py process|ray SETTINGS PORT."""

from __future__ import annotations

import sys

from alphaloop.settings.settings import Settings

if __name__ == "__main__":
    if sys.argv[1] == "ray":
        from serving.hosts.ray import RayHost as Host
    else:
        from serving.hosts.process import ProcessHost as Host  # type: ignore[assignment]
    Host(Settings.model_validate_json(sys.argv[2]), int(sys.argv[3])).run_forever()
