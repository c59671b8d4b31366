"""What went wrong, in words and of a kind."""

import errno
import os

import pytest

from finetune_core import places
from finetune_core.errors import UserError
from finetune_core.runs.work import failures


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_refuses_is_told_as_that(number: int) -> None:
    error = OSError(number, os.strerror(number), "somewhere")
    with pytest.raises(UserError) as told, places.writing("the checkpoint"):
        raise error
    for each in (error, told.value):
        assert (failures.told(each).kind, failures.told(each).state) == ("disk", "failed")
