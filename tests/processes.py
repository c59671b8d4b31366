"""How several processes share the tests (`pytest -n 2`, as `make test` does): by files, the browser's all together.

A file stays whole, so that what its tests share is made once. The browser's tests wait for real servers and real
training, so they never run beside each other; as they take longest they come first, and the other files fill up.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

BROWSER = "tests/e2e"


class WholeFiles(LoadScopeScheduling):
    def __init__(self, config: pytest.Config, log: object = None) -> None:
        config.option.loadscopereorder = False  # else by the number of tests, which says little of their time
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return BROWSER if nodeid.startswith(f"{BROWSER}/") else nodeid.partition("::")[0]


def browser_first(item: pytest.Item) -> tuple[bool, bool]:
    """Sorts the main job to the front, which draws Blooms as a newcomer does, for others to find; then its kind."""
    return "/test_main_job.py" not in item.nodeid, not item.nodeid.startswith(f"{BROWSER}/")
