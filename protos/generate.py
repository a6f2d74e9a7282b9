"""Generates code from the protos into callboard.wire; with ``--check``, compares instead.

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
WIRE = PROTOS.parent / "services" / "callboard" / "wire"
PACKAGES = {"callboard.v1": "v1", "callboard.autogen.v1": "autogen_v1"}
"""The packages of the protos, and where in `WIRE` their code belongs."""


def generate() -> dict[str, str]:
    """Return the text of each generated file by its path in `WIRE`."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={files('grpc_tools') / '_proto'}",  # google/protobuf/*.proto
            f"--python_out={out}",
            f"--pyi_out={out}",
            *sorted(str(proto) for name in PACKAGES for proto in folder(PROTOS, name).iterdir()),
        ]
        if protoc.main(arguments) != 0:
            sys.exit("generate.py: protoc refused the protos")
        fresh = {}
        for name, place in PACKAGES.items():
            fresh[f"{place}/__init__.py"] = (
                f'"""Generated from protos/{name.replace(".", "/")} by `make proto`: '
                'change those, not these."""\n'
            )
            for path in folder(Path(out), name).iterdir():
                if path.is_file():
                    fresh[f"{place}/{path.name}"] = move(path.read_text())
        return fresh


def folder(root: Path, package: str) -> Path:
    """Where protoc expects, and puts, what is of a package."""
    return root.joinpath(*package.split("."))


def move(code: str) -> str:
    """Rename the packages where they are modules: in imports and in ``__module__``."""
    for name, place in PACKAGES.items():
        code = code.replace(f"from {name} import", f"from callboard.wire.{place} import").replace(
            f"DESCRIPTOR, '{name}.", f"DESCRIPTOR, 'callboard.wire.{place}."
        )
    return code


def main() -> None:
    """Write the files that differ, or say which they are."""
    fresh = generate()
    present = {
        f"{place}/{path.name}": path.read_text()
        for place in PACKAGES.values()
        for path in (WIRE / place).glob("*.py*")
    }
    stale = sorted(
        name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name)
    )
    if "--check" in sys.argv[1:]:
        sys.exit(f"not as `make proto` generates it: {', '.join(stale)}" if stale else 0)
    for name in stale:
        if name in fresh:
            (WIRE / name).parent.mkdir(exist_ok=True)
            (WIRE / name).write_text(fresh[name])
        else:
            (WIRE / name).unlink()


if __name__ == "__main__":
    main()
