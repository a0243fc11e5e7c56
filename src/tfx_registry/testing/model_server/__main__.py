"""Runs the emulator with TensorFlow Serving's options, until it is interrupted."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

from tfx_registry.testing.model_server import (
    ModelServerEmulator,
    ModelServerStartError,
    TensorFlowLoader,
    ValidatingLoader,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the emulator.

    Args:
        arguments: The arguments; None means those of the process.

    Returns:
        0 after an interrupt, 1 where a model server would not have started.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tfx_registry.testing.model_server",
        description="An emulator of TensorFlow Serving's model server. It is not TensorFlow "
        "Serving: for tests and demonstrations only.",
    )
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path")
    parser.add_argument("--model_config_file")
    parser.add_argument("--model_config_file_poll_wait_seconds", type=float, default=0.0)
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0)
    parser.add_argument("--rest_api_port", type=int, default=8501)
    parser.add_argument("--max_num_load_retries", type=int, default=5)
    parser.add_argument("--load_retry_interval_micros", type=int, default=60_000_000)
    parser.add_argument(
        "--allow_version_labels_for_unavailable_models",
        type=lambda text: text.lower() in ("1", "true"), nargs="?", const=True, default=False,
    )  # fmt: skip
    parser.add_argument("--load", choices=("validate", "tensorflow"), default="validate",
                        help="check versions only, or load them and answer :predict")  # fmt: skip
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    # Also where whoever started this has switched interrupts off, as shells do in the background.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        with ModelServerEmulator(
            model_name=options.model_name,
            model_base_path=options.model_base_path,
            model_config_file=options.model_config_file,
            rest_api_port=options.rest_api_port,
            loader=TensorFlowLoader() if options.load == "tensorflow" else ValidatingLoader(),
            max_num_load_retries=options.max_num_load_retries,
            load_retry_interval_seconds=options.load_retry_interval_micros / 1e6,
            file_system_poll_wait_seconds=options.file_system_poll_wait_seconds,
            model_config_file_poll_wait_seconds=options.model_config_file_poll_wait_seconds,
            allow_version_labels_for_unavailable_models=(
                options.allow_version_labels_for_unavailable_models
            ),
        ) as server:
            logging.getLogger(__name__).info("emulated REST API at %s", server.url)
            server.start().wait()
    except ModelServerStartError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    except KeyboardInterrupt:  # by either signal
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
