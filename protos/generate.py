"""Generates callboard.wire.v1 from callboard/v1/*.proto; with ``--check``, compares instead.

Runs in the environment of requirements/proto.txt. protoc derives Python's imports from the
protos' paths, so it would put the code at ``callboard.v1``; the code belongs to the wire package.
Only module names are rewritten: files and messages keep their protobuf names.
"""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
TARGET = PROTOS.parent / "services" / "callboard" / "wire" / "v1"
PACKAGE = '"""Generated from protos/callboard/v1 by `make proto`: change those, not these."""\n'


def generate() -> dict[str, str]:
    """Return the text of each generated file by its name."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={files('grpc_tools') / '_proto'}",  # google/protobuf/*.proto
            f"--python_out={out}",
            f"--pyi_out={out}",
            *sorted(str(proto) for proto in PROTOS.glob("callboard/v1/*.proto")),
        ]
        if protoc.main(arguments) != 0:
            sys.exit("generate.py: protoc refused the protos")
        modules = Path(out, "callboard", "v1").iterdir()
        return {"__init__.py": PACKAGE} | {path.name: move(path.read_text()) for path in modules}


def move(code: str) -> str:
    """Rename ``callboard.v1`` where it is a module: in imports and in ``__module__``."""
    return code.replace("from callboard.v1 import", "from callboard.wire.v1 import").replace(
        "DESCRIPTOR, 'callboard.v1.", "DESCRIPTOR, 'callboard.wire.v1."
    )


def main() -> None:
    """Write the files that differ, or say which they are."""
    fresh = generate()
    present = {path.name: path.read_text() for path in TARGET.glob("*.py*")}
    stale = sorted(
        name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name)
    )
    if "--check" in sys.argv[1:]:
        sys.exit(f"not as `make proto` generates it: {', '.join(stale)}" if stale else 0)
    TARGET.mkdir(exist_ok=True)
    for name in stale:
        if name in fresh:
            (TARGET / name).write_text(fresh[name])
        else:
            (TARGET / name).unlink()


if __name__ == "__main__":
    main()
