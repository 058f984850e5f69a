"""CRI's image service: every image is there already, and empty."""

import time
from typing import Any

from tests.kubelet.runtime.cri import messages


class ImageService:
    """An image is its name. Which one a container has makes no difference."""

    async def list_images(self, _: Any) -> Any:
        """None that the kubelet could clean up."""
        return messages.ListImagesResponse()

    async def image_status(self, request: Any) -> Any:
        """The image asked for."""
        name = request.image.image
        return messages.ImageStatusResponse(image=messages.Image(id=name, repo_tags=[name], size=1))

    async def pull_image(self, request: Any) -> Any:
        """Nothing to do."""
        return messages.PullImageResponse(image_ref=request.image.image)

    async def remove_image(self, _: Any) -> Any:
        """Nothing to do."""
        return messages.RemoveImageResponse()

    async def image_fs_info(self, _: Any) -> Any:
        """A disk that is next to empty."""
        usage = messages.FilesystemUsage(
            timestamp=time.time_ns(),
            fs_id=messages.FilesystemIdentifier(mountpoint="/"),
            used_bytes=messages.UInt64Value(value=1),
            inodes_used=messages.UInt64Value(value=1),
        )
        return messages.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])
