import os
from collections.abc import Iterator

import pytest

from tests.go_toolchain import GoError
from tests.vendor_allocation.library import MODULE, VendorLibrary


@pytest.fixture(scope="session")
def library() -> Iterator[VendorLibrary]:
    """NVIDIA's library, built at first use."""
    try:
        program = MODULE.build("vendor-allocation")
    except GoError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"go-gpuallocator cannot be built here: {error}")
    with VendorLibrary(program) as library:
        yield library
