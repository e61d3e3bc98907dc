"""``python -m milvue_async`` and the command ``milvue-async``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; one clear line where its extra is not installed."""
    try:
        from milvue_async.cli import run  # noqa: PLC0415  its libraries are an extra
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        sys.exit(run(sys.argv[1:]))
    sys.stderr.write(f"milvue-async: {missing} is not installed: pip install 'milvue-async[all]'\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
