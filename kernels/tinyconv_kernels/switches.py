"""Switches that change how kernels compute, not what: read at every call, set by ``tinyconv.use_winograd``."""

import os

switches = {"winograd": os.environ.get("TINYCONV_WINOGRAD", "1") != "0"}
