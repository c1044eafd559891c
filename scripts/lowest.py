"""Print the lowest version of each dependency that pyproject.toml allows, as constraints of pip."""

import re
import tomllib
from pathlib import Path

FACTS = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def lowest(requirement: str) -> str:
    """Return ``name==version`` for a requirement ``name>=version``."""
    found = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+).*", requirement)
    if found is None:
        raise SystemExit(f"{requirement}: a dependency needs a lowest version, as in name>=1.2")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    wanted = FACTS["dependencies"]
    print("\n".join(sorted(map(lowest, wanted))))
